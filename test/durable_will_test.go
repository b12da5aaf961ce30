package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// willDelay is how long a will waits here, and sessionLife how long a session without
// a connection lives, where a test waits for either: whole seconds are the protocol's
// unit.
const (
	willDelay   = 2 * time.Second
	sessionLife = time.Second
)

// armed gives a CONNECT a will of QoS 1 about the client.
func armed(clientID string, delay time.Duration) func(*mqtt.Connect) {
	return func(c *mqtt.Connect) {
		c.Will = &mqtt.Will{Topic: mine("will/" + clientID), Payload: []byte("gone"), QoS: 1, DelaySeconds: uint32(delay / time.Second)}
	}
}

// shortLived gives a CONNECT a session that ends soon after its connection.
func shortLived(c *mqtt.Connect) { c.SessionExpiry = uint32(sessionLife / time.Second) }

// vanish ends a connection without DISCONNECT and waits until the broker knows.
func (k *killable) vanish(all ...*wire) (at time.Time) {
	k.t.Helper()
	s := &siege{b: k.Broker}
	gone := func() int { return int(sum(s.counters(k.t), closedFor("client_gone"))) }
	was := gone()
	at = time.Now()
	for _, w := range all {
		w.die()
	}
	if !soon(func() bool { return gone() >= was+len(all) }) {
		k.t.Fatal("the broker does not notice that connections ended")
	}
	return at
}

// witness makes a durable session that wants every will and is away: what it is given
// at the end is what was published, each once.
func (k *killable) witness(id string) {
	k.t.Helper()
	w, _ := k.enter(mqtt.V5, id)
	w.subscribe(mine("will/#"), 1)
	w.leave()
}

// testify is what a witness has to say: who is gone, in the order of their names. It
// speaks when somebody who leaves now is reported gone: what was due before that has
// been published, or will not be.
func (k *killable) testify(id string) (gone []string) {
	k.t.Helper()
	w := k.back(mqtt.V5, id)
	clock := "clock of " + id
	last, _ := k.enter(mqtt.V5, clock, armed(clock, time.Second))
	k.vanish(last)
	for {
		m := w.take()
		w.answer(mqtt.PUBACK, m.PacketID)
		name := strings.TrimPrefix(string(m.Topic), mine("will/"))
		if name == clock {
			w.leave()
			slices.Sort(gone)
			return gone
		}
		if !strings.HasPrefix(name, "clock of ") { // which is the other witness's
			gone = append(gone, name)
		}
	}
}

// TestKill9Will: a will that waits for its delay is published when its time comes, not
// earlier, though the broker has died meanwhile; and once, though it dies again. One
// whose client came back, or left in peace, is not.
func TestKill9Will(t *testing.T) { faults(t, false, keepWill) }

func keepWill(t *testing.T, k *killable) {
	k.witness("witness")
	watch, _ := k.enter(mqtt.V5, "watch")
	watch.subscribe(mine("will/#"), 1)
	gone, _ := k.enter(mqtt.V5, "gone", armed("gone", willDelay))
	waits, _ := k.enter(mqtt.V5, "waits", armed("waits", time.Hour))
	peace, _ := k.enter(mqtt.V5, "peace", armed("peace", willDelay))
	returns, _ := k.enter(mqtt.V5, "returns", armed("returns", time.Hour))
	peace.leave()
	at := k.vanish(gone, waits, returns)

	k.restart()
	k.back(mqtt.V5, "returns").leave()
	watch = k.back(mqtt.V5, "watch")
	m := watch.take()
	if took := time.Since(at); string(m.Topic) != mine("will/gone") || string(m.Payload) != "gone" || took < willDelay {
		t.Errorf("%s %q came %v after the client went, want its will after %v", m.Topic, m.Payload, took, willDelay)
	}

	k.restart()
	if got, want := k.testify("witness"), []string{"gone"}; !slices.Equal(got, want) {
		t.Errorf("wills of %q were published, want %q", got, want)
	}
}

// TestKill9Downtime: time goes on while the broker is dead. A will whose delay passes
// meanwhile is published at the start, and so is one whose session ended, whatever its
// delay; that session is gone, its neighbour's is not.
func TestKill9Downtime(t *testing.T) { faults(t, false, keepTime) }

func keepTime(t *testing.T, k *killable) {
	k.witness("first")
	k.witness("second")
	enter := func(v mqtt.Version, id string, change ...func(*mqtt.Connect)) *wire {
		w, _ := k.enter(v, id, change...)
		w.subscribe(mine("x"), 1)
		return w
	}
	due := enter(mqtt.V5, "due", armed("due", time.Second))
	ends := enter(mqtt.V5, "ends", shortLived, armed("ends", time.Hour))
	plain := enter(mqtt.V5, "plain", shortLived)
	keeps := enter(mqtt.V311, "keeps")
	enter(mqtt.V5, "stays", armed("stays", time.Hour)) // and is connected when the broker dies
	at := k.vanish(due, ends, plain, keeps)

	k.kill()
	<-time.After(time.Until(at.Add(sessionLife + 1500*time.Millisecond)))
	k.again()
	for _, c := range []struct {
		id   string
		v    mqtt.Version
		want bool
	}{{"due", mqtt.V5, true}, {"keeps", mqtt.V311, true}, {"stays", mqtt.V5, true}, {"ends", mqtt.V5, false}, {"plain", mqtt.V5, false}} {
		w, present := k.enter(c.v, c.id)
		if present != c.want {
			t.Errorf("session %s is present: %v, want %v", c.id, present, c.want)
		}
		w.leave()
	}
	want := []string{"due", "ends"}
	if got := k.testify("first"); !slices.Equal(got, want) {
		t.Errorf("wills of %q were published, want %q", got, want)
	}

	k.restart()
	if got := k.testify("second"); !slices.Equal(got, want) {
		t.Errorf("wills of %q were published in two starts, want %q", got, want)
	}
}
