package conn

import (
	"testing"
	"testing/synctest"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A client id belongs to whoever connected with it: the same id of another user is
// another session, which neither cuts the first off nor gets what it was owed
// (A043, A058).
func TestASessionIsItsOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		durable := func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 100 }
		alice := r.connect(mqtt.V5, "alice/one", durable)
		alice.subscribe("own/alice/#", 1)
		bob, ack := r.tryConnect(mqtt.V5, "bob/one", durable)
		if ack.SessionPresent {
			t.Error("bob was given alice's session")
		}
		alice.publish("own/alice/x", "mine", 0, 0)
		alice.gets("own/alice/x", "mine")
		bob.silent()
		r.becomes("sessions", 2, r.sessions)
	})
}

// What is said of a connection that has gone must not reach the one that has its
// slot now.
func TestASlotIsNotItsFormerOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		type at struct {
			loop int
			slot uint32
		}
		where := func() map[at]broker.ConnRef {
			refs := make(map[at]broker.ConnRef)
			for _, l := range r.server.loops {
				done := make(chan struct{})
				l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
					defer close(done)
					for _, c := range l.conns {
						if c != nil {
							refs[at{l.id, c.ref.Slot}] = c.ref
						}
					}
				}})
				<-done
			}
			return refs
		}
		first := r.connect(mqtt.V5, "alice/same")
		old := where()
		_ = first.nc.Close()
		r.becomes("connections", 0, r.connections)
		second := r.connect(mqtt.V5, "alice/same") // the same home, so the same slot
		reused := 0
		for place, ref := range where() {
			stale, ok := old[place]
			if !ok {
				continue
			}
			reused++
			if stale.Gen == ref.Gen {
				t.Fatal("a slot was reused with its generation")
			}
			l := r.server.loops[place.loop]
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
				l.Send(stale, session.Packet(pingresp))
				l.Close(stale, nil, broker.CauseKicked)
			}})
		}
		if reused != 1 {
			t.Fatalf("%d slots were reused, want 1", reused)
		}
		second.silent()
		second.send([]byte{0xC0, 0})
		second.expect(mqtt.PINGRESP)
	})
}
