package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is a broker that dies without a word and comes back to the same data
// directory, at the same addresses: what every promise about durable state is tried
// with.

// durableConfig takes away every limit that may drop a message for a good reason,
// so that a message which is missing was lost. Authentication, authorization and
// accounting stay on.
const durableConfig = `limits:
  publish_rate: {messages: 0, bytes: 0}
  mqueue_messages: 1000000
  mqueue_bytes: 1GiB
  mqueue_bytes_total: 8GiB
  identity_share: 100
  connect_deadline: 60s
  connect_rate_per_prefix: {"/24": 20000}
`

// killable is that broker. It belongs to the goroutine of its test.
type killable struct {
	*testkit.Broker // that runs now

	t       *testing.T
	options testkit.Options // of every start
	secret  string          // of user, whose own topics are devices/user/#
	spared  bool            // kill and again do nothing
	power   supply          // nil: a kill leaves the disk as it is
}

// supply is the power of a file system of the broker's own.
type supply interface {
	dir() string
	cut()   // what was not flushed is gone, and nothing can be written any more
	again() // it is there again
}

// faults runs a scripted test twice: with kills, and without. Clients do the same in
// both, so what fails with kills alone is theirs.
func faults(t *testing.T, people bool, f func(t *testing.T, k *killable)) {
	t.Parallel()
	for _, spared := range []bool{true, false} {
		t.Run(map[bool]string{true: "connection lost", false: "kill"}[spared], func(t *testing.T) {
			t.Parallel()
			k := newKillable(t, people)
			k.spared = spared
			f(t, k)
		})
	}
}

// newKillable starts one. people are the users of the suites, with the passwords
// that the helpers for other programs know; without them user has a generated
// secret, which is checked in no time: after a restart nobody's password is in the
// cache, and hashing would be most of what a crowd does.
func newKillable(t *testing.T, people bool, power ...supply) *killable {
	t.Helper()
	k := &killable{t: t, options: testkit.Options{Config: durableConfig, Repeats: true, Port: steadyPort(t), ListenerTCP: steadyPort(t)}}
	if len(power) > 0 {
		k.power = power[0]
		k.options.DataDir = filepath.Join(k.power.dir(), "data")
	}
	if people {
		k.Broker, k.secret = start(t, k.options), password
	} else {
		k.Broker = testkit.Start(t, k.options)
		k.secret = k.generate()
	}
	k.options.DataDir = k.DataDir
	return k
}

// generate adds user with a secret the broker makes.
func (k *killable) generate() string {
	k.t.Helper()
	r := k.Redoubt("", "user", "add", user, "-o", "json")
	var made struct {
		Password string `json:"generated_password"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &made); err != nil || made.Password == "" {
		k.t.Fatalf("user add: exit code %d, %v\n%s", r.Code, err, r.Text())
	}
	return made.Password
}

// kill ends the broker as a power cut would as far as the process goes: nothing of
// it gets to run any more.
func (k *killable) kill() {
	k.t.Helper()
	if k.spared {
		return
	}
	if k.power != nil {
		k.freeze() // who has no power does nothing about it
		k.power.cut()
	}
	k.Signal(killed)
	k.Wait(patience)
	if k.power != nil {
		k.power.again()
	}
}

// freeze stops every thread of the broker, and waits until they have stopped.
func (k *killable) freeze() {
	k.t.Helper()
	k.Signal(syscall.SIGSTOP)
	for until := time.Now().Add(patience); time.Now().Before(until); <-time.After(time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", k.Pid()))
		if _, state, _ := strings.Cut(string(text), ") "); strings.HasPrefix(state, "T") {
			return
		}
	}
	k.t.Fatal("the broker did not stop")
}

// again starts the broker anew and answers how long it took to say that it serves.
func (k *killable) again() time.Duration {
	k.t.Helper()
	if k.spared {
		return 0
	}
	begun := time.Now()
	k.Broker = testkit.Start(k.t, k.options)
	return time.Since(begun)
}

// stillborn starts the broker and kills it so soon after that it may not have come to
// serve: whoever reads a log must be able to die of it.
func (k *killable) stillborn(after time.Duration) {
	k.t.Helper()
	argv := append([]string{testkit.Command(k.t), "serve", "--config", k.Config, "--data-dir", k.DataDir}, testkit.AllowRoot()...)
	p := testkit.Go(k.t, "", argv...)
	<-time.After(after)
	p.Signal(killed)
	if r := p.Wait(patience); r.Code != -1 {
		k.t.Errorf("the broker ended by itself, with %d, when it was started after a kill\n%s", r.Code, r.Text())
	}
}

// restart is a kill and a start with nothing between.
func (k *killable) restart() {
	k.t.Helper()
	k.kill()
	k.again()
}

// steadyPort is a free port that keeps free while nobody listens on it. One that
// the kernel gives to outgoing connections does not: a client that tries to
// reconnect to it meanwhile can be given that very port, and talk to itself.
func steadyPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000) // below what any system gives out by itself
		if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// flushCalls are the numbers of fsync and fdatasync, by processor.
var flushCalls = map[string][]string{"amd64": {"74", "75"}, "arm64": {"82", "83"}}

// inFlush waits until a thread of the broker is within a flush of a file, for so
// long, and answers whether it was seen. Linux shows it; elsewhere the answer is no.
func (k *killable) inFlush(limit time.Duration) bool {
	end, pace := time.After(limit), time.NewTicker(100*time.Microsecond)
	defer pace.Stop()
	for {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", k.Pid()))
		for _, path := range threads {
			text, _ := os.ReadFile(path)
			number, _, _ := strings.Cut(string(text), " ")
			if slices.Contains(flushCalls[runtime.GOARCH], number) {
				return true
			}
		}
		select {
		case <-end:
			return false
		case <-pace.C:
		}
	}
}

// hello is a CONNECT of user with a session that outlives the connection.
func (k *killable) hello(v mqtt.Version, clientID string, change ...func(*mqtt.Connect)) []byte {
	return connectOf(v, clientID, func(c *mqtt.Connect) {
		lasting(c)
		c.Username, c.Password = user, []byte(k.secret)
		for _, f := range change {
			f(c)
		}
	})
}

// enter connects a bare client, and answers whether its session was there.
func (k *killable) enter(v mqtt.Version, clientID string, change ...func(*mqtt.Connect)) (w *wire, present bool) {
	k.t.Helper()
	conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", k.options.ListenerTCP), patience)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	w = &wire{t: k.t, conn: conn, in: newReader(conn), v: v}
	w.send(k.hello(v, clientID, change...))
	p := w.want(mqtt.CONNACK)
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(p.Body, p.Header, v, unlimited, &ack); err != nil || ack.Reason != mqtt.Success {
		k.t.Fatalf("%s: CONNACK %v, %v", clientID, ack.Reason, err)
	}
	return w, ack.SessionPresent
}

// back is enter for a client whose session must be there.
func (k *killable) back(v mqtt.Version, clientID string, change ...func(*mqtt.Connect)) *wire {
	k.t.Helper()
	w, present := k.enter(v, clientID, change...)
	if !present {
		k.t.Fatalf("the session of %s is gone", clientID)
	}
	return w
}

// mine is a topic of the load's user.
func mine(name string) string { return "devices/" + user + "/" + name }

// take is the next PUBLISH, decoded and not acknowledged.
func (w *wire) take() (m mqtt.Publish) {
	w.t.Helper()
	p, err := w.publish()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := mqtt.DecodePublishClient(p.Body, p.Header, w.v, unlimited, &m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// answer sends an acknowledgement.
func (w *wire) answer(typ mqtt.Type, id uint16) {
	w.t.Helper()
	w.send((&mqtt.Ack{Type: typ, PacketID: id}).Append(nil, w.v, 0))
}

// wantAck waits for an acknowledgement of this identifier that is no refusal.
func (w *wire) wantAck(typ mqtt.Type, id uint16) {
	w.t.Helper()
	p, ok := w.skipTo(typ)
	if !ok {
		w.t.Fatalf("closed in place of %v", typ)
	}
	var ack mqtt.Ack
	if err := mqtt.DecodeAck(p.Body, p.Header, w.v, unlimited, &ack); err != nil || ack.PacketID != id || ack.Reason.Failed() {
		w.t.Fatalf("%v %d %v, %v; want identifier %d", typ, ack.PacketID, ack.Reason, err, id)
	}
}
