package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Who takes a session over and has to wait for the disk keeps the place that the one before
// had among the clients of its identity; so does the next of that name, and whoever does not
// come in the end gives it back.
func TestAPlaceIsKeptWhileTheDiskIsWaitedFor(t *testing.T) {
	other := func(c *mqtt.Connect) { c.ClientID = "other" }
	for name, play := range map[string]func(k *keptDesk, g *guest) (in *guest){
		"the one that waits": func(k *keptDesk, g *guest) *guest {
			k.flush()
			g.enter()
			return g
		},
		"the next of its name": func(k *keptDesk, g *guest) *guest {
			next := k.knock("bob", cleanSeat)
			if !next.waits || g.refused == nil || g.refused.Reason != mqtt.ServerBusy {
				t.Errorf("the next waits %v, refused %v; the first is told %v", next.waits, next.refused, g.refused)
			}
			k.homes[0].GiveUp(&g.a)
			k.flush()
			next.enter()
			return next
		},
		"one that comes between the answer of the disk and the first": func(k *keptDesk, g *guest) *guest {
			k.flush()
			next := k.knock("bob")
			next.in()
			g.enter() // takes it over, and waits again
			k.turn()
			k.crowded(other, 1)
			k.flush()
			g.enter()
			return g
		},
		"nobody: it has gone": func(k *keptDesk, g *guest) *guest {
			k.homes[0].GiveUp(&g.a)
			k.homes[0].GiveUp(&g.a)
			k.flush()
			return nil
		},
		"nobody: it is refused": func(k *keptDesk, g *guest) *guest {
			k.flush()
			set := *k.b.Settings()
			set.SessionsTotal = 0
			k.b.Apply(&set)
			if g.enter(); g.refused == nil {
				t.Error("it is in")
			}
			set.SessionsTotal = 100
			k.b.Apply(&set)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeptDesk(t, 1, func(s *Settings) { s.Newcomers.Most = 1 })
			k.join(0, "bob")
			g := k.knock("bob", cleanSeat)
			if k.turn(); !g.waits {
				t.Fatalf("it does not wait: %v", g.refused)
			}
			k.crowded(other, 1)
			if in := play(k, g); in != nil {
				in.in()
				k.crowded(other, 1)
				in.cut()
			}
			if n := k.b.crowds.has(Hoarder{Identity: "bob"}); n != 0 || len(k.homes[0].seated) != 0 {
				t.Errorf("%d places are taken, %d arrivals wait with one", n, len(k.homes[0].seated))
			}
			k.knock("bob", other).in()
			k.crowded(nil, 1)
		})
	}
}

// crowded checks that bob has so many places taken and gets no more.
func (k *keptDesk) crowded(change func(*mqtt.Connect), places int) {
	k.t.Helper()
	third := func(c *mqtt.Connect) { c.ClientID = "third" }
	if change != nil {
		third = change
	}
	if g := k.knock("bob", third); g.refused == nil || g.refused.Reason != mqtt.QuotaExceeded {
		k.t.Errorf("one more: waits %v, refused %v", g.waits, g.refused)
	}
	if n := k.b.crowds.has(Hoarder{Identity: "bob"}); n != places {
		k.t.Errorf("%d places are taken, want %d", n, places)
	}
}
