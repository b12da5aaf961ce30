package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// quiet is a world in which nothing happens by itself: a listens to everything on node 0.
func quiet(t *testing.T) (w *world, a, b *client) {
	w = newWorld(t, 1)
	t.Cleanup(w.close)
	a, b = w.clients[0], w.clients[1]
	a.qos, b.qos, a.window, b.window = 1, 1, 8, 8
	a.arrive(w.nodes[0])
	w.settled()
	a.subscribe("open/#")
	w.settled()
	return w, a, b
}

// The will of a connection is published when another node takes its session over, once;
// one with a delay is not, because the session is resumed [MQTT-3.1.3-9].
func TestAWillIsPublishedByWhoTakesTheSessionOver(t *testing.T) {
	for _, delay := range []uint32{0, 5} {
		w, a, b := quiet(t)
		b.will = &mqtt.Will{Topic: "open/will", Payload: []byte("will"), QoS: 1, DelaySeconds: delay}
		b.arrive(w.nodes[1])
		w.settled()
		b.will = nil
		b.leave(false)
		b.arrive(w.nodes[2])
		w.settled()
		w.now = w.now.Add(time.Minute)
		w.settled()
		want := []string{"will"}
		if delay > 0 {
			want = nil
		}
		if !slices.Equal(a.got, want) || !b.online {
			t.Errorf("delay %d: %v arrived, want %v", delay, a.got, want)
		}
	}
}

// A connection of a session that another node took over is closed with 0x8E, and its node
// forgets the session without a word.
func TestWhoHadASessionClosesItsConnection(t *testing.T) {
	w, _, b := quiet(t)
	b.arrive(w.nodes[1])
	w.settled()
	old := b.conn
	b.leave(false)
	b.arrive(w.nodes[2])
	w.settled()
	if !old.link.closed || old.link.why != mqtt.SessionTakenOver {
		t.Errorf("closed %v, %v", old.link.closed, old.link.why)
	}
	w.judgeHomes()
	w.judgeViews()
}

// A session expires where it is, however often it moved.
func TestAMovedSessionExpires(t *testing.T) {
	w, a, _ := quiet(t)
	a.leave(true)
	w.settled()
	w.nodes[0].crash(w.rnd)
	w.nodes[0].start()
	w.settled()
	w.now = w.now.Add(2000 * time.Second)
	w.settled()
	if owners := w.owners(); len(owners["a"]) > 0 || w.nodes[1].view.Stats().Sessions > 0 {
		t.Errorf("the session is on %v, %d are in the log", owners["a"], w.nodes[1].view.Stats().Sessions)
	}
}

// What was published before a session moved waits where it went, also what its new node
// applied while it was read.
func TestABacklogMovesWithItsSession(t *testing.T) {
	w, a, b := quiet(t)
	b.arrive(w.nodes[1])
	w.settled()
	a.leave(true)
	w.settled()
	for range 3 {
		w.utter(b, "open/a", 1)
	}
	w.settled()
	a.arrive(w.nodes[2])
	for range 3 {
		w.utter(b, "open/b", 1)
	}
	w.settled()
	if want := []string{"b0", "b1", "b2", "b3", "b4", "b5"}; !slices.Equal(a.got, want) {
		t.Errorf("%v arrived, want %v", a.got, want)
	}
}
