//go:build !race

package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// squeeze is M-01: a broker with little memory, clients who make it keep more than there
// is, and those who must not notice.
type squeeze struct {
	t         *testing.T
	b         *testkit.Broker
	port      int
	generated string // the user's password
	others    string // and that of another
	strangers string // and that of those who come in between
	cage      cage

	bytes    int64         // of the cgroup
	sleepers int           // sessions of clients who are away, each with all messages it may have
	devices  int           // over TLS, who are there before and must stay
	halves   int           // clients who begin a packet of 1 MiB and do not end it
	laggards int           // subscribers who do not read
	sources  int           // publishers for them
	most     time.Duration // for the recovery

	stop  chan struct{}
	wait  sync.WaitGroup
	conns []net.Conn
	busy  atomic.Int64 // new clients who were told 0x89
	sent  atomic.Int64 // bytes of publishes that the broker has read
}

// cage is a cgroup of its own, where one can be made.
type cage struct{ dir string }

// newCage makes a cgroup of version 1 or 2. On a machine that does not let us, dir stays
// empty: the limit is limits.memory then, and what the process has resident is judged.
func newCage(t *testing.T, bytes int64) cage {
	name := fmt.Sprintf("redoubt-test-%d", os.Getpid())
	for _, c := range []struct{ root, limit string }{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}} {
		dir := filepath.Join(c.root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		_ = os.WriteFile(filepath.Join(dir, "memory.move_charge_at_immigrate"), []byte("3"), 0o644) // version 1
		if os.WriteFile(filepath.Join(dir, c.limit), []byte(strconv.FormatInt(bytes, 10)), 0o644) == nil {
			return cage{dir}
		}
	}
	return cage{}
}

// take puts a process into the cage.
func (c cage) take(pid int) error {
	return os.WriteFile(filepath.Join(c.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// number is a file of the cage; 0: there is none.
func (c cage) number(names ...string) int64 {
	for _, name := range names {
		if text, err := os.ReadFile(filepath.Join(c.dir, name)); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			return n
		}
	}
	return 0
}

// start starts the broker in its cage.
func (q *squeeze) start() {
	t := q.t
	q.stop, q.port, q.cage = make(chan struct{}), testkit.FreePort(t), newCage(t, q.bytes)
	memory := "auto"
	if q.cage.dir == "" {
		memory = fmt.Sprintf("%dMiB", q.bytes/4*3>>20)
	}
	defer func() { q.others, q.strangers = userAdded(t, q.b, other), userAdded(t, q.b, "newcomer") }()
	q.b, q.generated = startLean(t, testkit.Options{ListenerTCP: q.port, Config: "log: {level: debug}\nlimits: {memory: " + memory + ", connect_deadline: 60s, publish_rate: {messages: 0, bytes: 0}, connect_rate_per_prefix: {\"/24\": 100000}}\n"})
	if q.cage.dir == "" {
		t.Log("no cgroup can be made here: the limit is limits.memory, and what is resident is judged")
		return
	}
	if err := q.cage.take(q.b.Pid()); err != nil {
		t.Fatal(err)
	}
	logged := q.b.Stderr.Len()
	q.b.Signal(syscall.SIGHUP) // it finds its limit as at a start
	if _, ok := q.b.Stderr.WaitFor(patience, logged, "reloaded"); !ok {
		t.Fatalf("it does not reload:\n%s", q.b.Stderr)
	}
}

// client connects, and answers the reason of CONNACK.
func (q *squeeze) client(id string, from int, change ...func(*mqtt.Connect)) (net.Conn, *bufio.Reader, mqtt.ReasonCode, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(from), 1)}}
	conn, err := dialer.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", q.port))
	if err != nil {
		return nil, nil, 0, err
	}
	_ = conn.SetDeadline(time.Now().Add(3 * time.Minute))
	c := &mqtt.Connect{Version: mqtt.V5, ClientID: id, CleanStart: true, KeepAlive: 300, HasUsername: true, Username: user, HasPassword: true, Password: []byte(q.generated), ReceiveMaximum: 65535}
	for _, f := range change {
		f(c)
	}
	in := bufio.NewReaderSize(conn, 4<<10)
	if _, err = conn.Write(c.Append(nil, mqtt.V5, 0)); err == nil {
		var h mqtt.Header
		var body []byte
		if h, body, err = readPacket(in); err == nil && h.Type == mqtt.CONNACK {
			return conn, in, mqtt.ReasonCode(body[1]), nil
		}
	}
	_ = conn.Close()
	return nil, nil, 0, fmt.Errorf("%s: %w", id, err)
}

// in is a client who must get in.
func (q *squeeze) in(id string, from int, change ...func(*mqtt.Connect)) (net.Conn, *bufio.Reader) {
	q.t.Helper()
	conn, in, rc, err := q.client(id, from, change...)
	if err != nil || rc != 0 {
		q.t.Fatalf("%s: %v, %v", id, rc, err)
	}
	q.conns = append(q.conns, conn)
	return conn, in
}

func readPacket(in *bufio.Reader) (h mqtt.Header, body []byte, err error) {
	first, err := in.ReadByte()
	if err != nil {
		return h, nil, err
	}
	head := []byte{first}
	for {
		b, err := in.ReadByte()
		if err != nil {
			return h, nil, err
		}
		if head = append(head, b); b < 0x80 {
			break
		}
	}
	h, _, err = mqtt.ReadHeader(head, mqtt.V5)
	if err != nil {
		return h, nil, err
	}
	body = make([]byte, h.Remaining)
	_, err = io.ReadFull(in, body)
	return h, body, err
}

func loadOf(topic string, payload []byte, q mqtt.QoS, id uint16) []byte {
	return (&mqtt.Publish{Topic: []byte(topic), Payload: payload, QoS: q, PacketID: id}).Append(nil, mqtt.V5)
}

func subscribeTo(conn net.Conn, in *bufio.Reader, filters ...mqtt.Subscription) error {
	if _, err := conn.Write((&mqtt.Subscribe{PacketID: 1, Filters: filters}).Append(nil, mqtt.V5, 0)); err != nil {
		return err
	}
	h, _, err := readPacket(in)
	if err == nil && h.Type != mqtt.SUBACK {
		err = fmt.Errorf("%v in place of SUBACK", h.Type)
	}
	return err
}

// steadily publishes at QoS 1 to a client who is there and to one who is away, all the
// time, and answers how many of the second kind were acknowledged, and the longest that
// one took until it was acknowledged and here.
func (q *squeeze) steadily(pub, sub net.Conn, pubIn, subIn *bufio.Reader) (acknowledged int, worst time.Duration, err error) {
	for i := 1; ; i++ {
		select {
		case <-q.stop:
			return acknowledged, worst, nil
		case <-time.After(20 * time.Millisecond):
		}
		begun := time.Now()
		b := loadOf("devices/"+user+"/here", []byte("x"), 1, 1)
		b = append(b, loadOf("devices/"+user+"/away", fmt.Append(nil, i), 1, 2)...)
		if _, err := pub.Write(b); err != nil {
			return acknowledged, worst, err
		}
		for range 2 {
			h, body, err := readPacket(pubIn)
			if err != nil || h.Type != mqtt.PUBACK || len(body) > 2 && body[2] >= 0x80 {
				return acknowledged, worst, fmt.Errorf("%v % x, want PUBACK: %w", h.Type, body, err)
			}
		}
		acknowledged = i
		h, body, err := readPacket(subIn)
		var p mqtt.Publish
		if err == nil && h.Type != mqtt.PUBLISH {
			err = fmt.Errorf("%v % x, want PUBLISH", h.Type, body)
		}
		if err == nil {
			err = mqtt.DecodePublishClient(body, h, mqtt.V5, mqtt.Limits{}, &p)
		}
		if err == nil {
			_, err = sub.Write((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: p.PacketID}).Append(nil, mqtt.V5, 0))
		}
		if err != nil {
			return acknowledged, worst, err
		}
		worst = max(worst, time.Since(begun))
	}
}

// asOther makes it the other user's client.
func (q *squeeze) asOther(c *mqtt.Connect) { c.Username, c.Password = other, []byte(q.others) }

// knocking lets a new client come ten times a second.
func (q *squeeze) knocking() {
	for i := 0; ; i++ {
		select {
		case <-q.stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		conn, _, rc, err := q.client(fmt.Sprint("new-", i), 200+i%50, func(c *mqtt.Connect) {
			c.Username, c.Password = "newcomer", []byte(q.strangers) // the others are told that they have too many
		})
		if err == nil {
			_ = conn.Close()
		}
		if rc == mqtt.ServerBusy {
			q.busy.Add(1)
		}
	}
}

// source publishes to the laggards until it is stopped: half at QoS 0, half at QoS 1.
func (q *squeeze) source(i int) {
	conn, in := q.in(fmt.Sprint("source-", i), 100+i)
	q.wait.Go(func() { _, _ = io.Copy(io.Discard, in) })
	q.wait.Go(func() {
		payload := make([]byte, 60<<10)
		for n := i; ; n += q.sources {
			to := fmt.Sprintf("devices/%s/lag/%d", user, n%q.laggards)
			b := append(loadOf(to, payload, 0, 0), loadOf(to, payload, 1, uint16(n%20+1))...)
			if _, err := conn.Write(b); err != nil {
				return
			}
			q.sent.Add(int64(len(b)))
		}
	})
}

// The order of shedding, by what counts it.
var shedOrder = []string{
	`redoubt_overload_refused_total{reason="memory"}`, `redoubt_messages_dropped_total{reason="overload"}`,
	`redoubt_overload_closed_total{class="idle"}`, `redoubt_overload_closed_total{class="lagging"}`,
}

// runtimeTables is what Go keeps of its own, bytes: spans and bitmaps of the largest heap
// there was, which it never gives back: 7 MiB where it was 750.
func runtimeTables(page map[string]float64) int64 {
	return int64(page["go_memstats_mspan_sys_bytes"] + page["go_memstats_gc_sys_bytes"])
}

// play is all of it.
func (q *squeeze) play() {
	t := q.t
	q.start()
	away, awayIn := q.in("away", 1, func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 3600 })
	if err := subscribeTo(away, awayIn, mqtt.Subscription{Filter: "devices/" + user + "/away", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	_, _ = away.Write([]byte{0xE0, 0})
	pub, pubIn := q.in("pub", 2)
	sub, subIn := q.in("sub", 3)
	if err := subscribeTo(sub, subIn, mqtt.Subscription{Filter: "devices/" + user + "/here", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	idle, idleIn := q.in("idle", 4)
	q.conns = nil // those stay
	var acknowledged int
	var worst time.Duration
	var steady error
	var watched sync.WaitGroup
	watched.Go(func() { acknowledged, worst, steady = q.steadily(pub, sub, pubIn, subIn) })
	watched.Go(q.knocking)
	q.sleep()
	here := q.settle()
	<-time.After(time.Second)
	baseline, tables := private(t, q.b), runtimeTables(pageOf(t, q.b))

	half := loadOf("devices/"+user+"/half", make([]byte, 1<<20-200), 1, 1)
	for i := range q.halves {
		conn, _ := q.in(fmt.Sprint("half-", i), 10+i%50)
		if _, err := conn.Write(half[:len(half)*9/10]); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	for i := range q.laggards {
		conn, in := q.in(fmt.Sprint("lag-", i), 60+i%40)
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		if err := subscribeTo(conn, in, mqtt.Subscription{Filter: fmt.Sprintf("devices/%s/lag/%d", user, i), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(5500*time.Millisecond - time.Since(begun)) // who is silent for five seconds is idle
	for i := range q.sources {
		q.source(i)
	}
	peak, level, first := q.follow()
	flooded := time.Since(begun) - 5500*time.Millisecond
	for _, c := range q.conns {
		_ = c.Close()
	}
	over := time.Now()
	q.wait.Wait()
	well := until(q.most, func() bool {
		p := pageOf(t, q.b)
		most := baseline + baseline/10
		if q.devices == 0 { // what Go keeps is more than a tenth of a broker that has no clients
			most += heapLeast + runtimeTables(p) - tables
		}
		return p["redoubt_overload_level"] == 0 && p[`redoubt_alarms{alarm="memory_pressure"}`] == 0 && private(t, q.b) <= most
	})
	took := time.Since(over)
	close(q.stop)
	watched.Wait()
	here()
	t.Logf("%d devices; %d MiB of publishes in %.1f s into %d MiB; peak %d MiB (cgroup %d MiB), level %v, first seen %v; bystander's worst %v; %d new clients were told 0x89; baseline %d MiB, %d MiB %.1f s after",
		q.devices, q.sent.Load()>>20, flooded.Seconds(), q.bytes>>20, peak>>20, q.cage.number("memory.max_usage_in_bytes", "memory.peak")>>20, level, first, worst, q.busy.Load(), baseline>>20, private(t, q.b)>>20, took.Seconds())
	if q.b.Ended() {
		t.Fatalf("the broker has ended:\n%s", q.b.Stderr)
	}
	if peak > q.bytes {
		t.Errorf("%d MiB were resident, of %d", peak>>20, q.bytes>>20)
	}
	if !well {
		t.Errorf("%v after it: %d MiB, before %d; %v", q.most, private(t, q.b)>>20, baseline>>20, pageOf(t, q.b)["redoubt_overload_level"])
	}
	if steady != nil || worst > 5*time.Second {
		t.Errorf("the bystander: %v, worst %v", steady, worst)
	}
	if q.busy.Load() == 0 {
		t.Error("no new client was told that the broker is busy")
	}
	if _, err := idle.Write([]byte{0xC0, 0}); err != nil {
		t.Error(err)
	}
	if h, body, err := readPacket(idleIn); err != nil || h.Type != mqtt.PINGRESP {
		t.Errorf("who was only idle: %v % x %v", h.Type, body, err)
	}
	q.collects(acknowledged)
	q.wake()
}

// follow looks until the last class was shed, and answers the most that was resident, the
// highest level, and when each class was first seen.
func (q *squeeze) follow() (peak int64, level float64, first []string) {
	t := q.t
	begun := time.Now()
	seen := make([]bool, len(shedOrder))
	for until := begun.Add(30 * time.Second); time.Now().Before(until) && !q.b.Ended(); {
		page := pageOf(t, q.b)
		if page["redoubt_overload_level"] >= 2 { // whether anybody has knocked since or not
			page[shedOrder[0]] = 1
		}
		peak, level = max(peak, private(t, q.b)), max(level, page["redoubt_overload_level"])
		for i, series := range shedOrder {
			if page[series] > 0 && !seen[i] {
				seen[i] = true
				first = append(first, fmt.Sprintf("%s %.1f s", series[strings.IndexByte(series, '=')+1:], time.Since(begun).Seconds()))
			}
			if i > 0 && seen[i] && !seen[i-1] {
				t.Errorf("%s was shed before %s", series, shedOrder[i-1])
			}
		}
		if seen[len(seen)-1] && time.Since(begun) > 3*time.Second {
			return peak, level, first
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Errorf("not all classes were shed: %v", first)
	return peak, level, first
}

// collects lets the client who was away come for what was acknowledged.
func (q *squeeze) collects(acknowledged int) {
	t := q.t
	conn, in, rc, err := q.client("away", 1, func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 3600 })
	if err != nil || rc != 0 {
		t.Fatal(rc, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	last := max(0, acknowledged-queueOfOne)
	for last < acknowledged {
		h, body, err := readPacket(in)
		if err != nil || h.Type != mqtt.PUBLISH {
			t.Fatalf("%v % x after %d of %d: %v", h.Type, body, last, acknowledged, err)
		}
		var p mqtt.Publish
		if err := mqtt.DecodePublishClient(body, h, mqtt.V5, mqtt.Limits{}, &p); err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(p.Payload))
		if n > last+1 {
			t.Fatalf("%d after %d: what was acknowledged is missing", n, last)
		}
		last = max(last, n)
		if _, err := conn.Write((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: p.PacketID}).Append(nil, mqtt.V5, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOverloadAllocatesWithinItsLimit is M-01 in little: 256 MiB.
func TestOverloadAllocatesWithinItsLimit(t *testing.T) {
	q := squeeze{t: t, bytes: 256 << 20, halves: 30, laggards: 24, sources: 4, most: 30 * time.Second}
	q.play()
}
