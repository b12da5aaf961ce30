package broker

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
)

// newParting is a group of a and of b, which was sent m1 and has not acknowledged it: the
// log knows that.
func newParting(t *testing.T) (k *keptDesk, a, b, pub seat) {
	k = newRescueDesk(t, 2)
	stays := func(c *mqtt.Connect) { c.SessionExpiry = 3000 }
	a, b, pub = k.join(0, "a", stays), k.join(1, "b", window(1)), k.join(1, "pub", stays)
	k.hears(b, jobs, 1)
	k.sayQ(pub, "open/jobs", 1, 1, 1)
	if got := b.got(1); got != "m1" {
		t.Fatalf("b was sent %q", got)
	}
	k.hears(a, jobs, 1)
	k.pass(time.Second)
	return k, a, b, pub
}

// refuse has the log refuse all that waits for it.
func (k *keptDesk) refuse() {
	k.turn()
	for k.log.fail(store.ErrFull, false) {
	}
	k.news()
}

// settled looks whether the end of b's session gave its group what b had not acknowledged,
// and nothing of that is kept any longer.
func (k *keptDesk) settled(what string, a seat) {
	k.t.Helper()
	k.pass(2 * time.Second)
	if got := k.drink(a); got != "m1" {
		k.t.Errorf("%s: a has %q", what, got)
	}
	k.pass(11 * time.Second)
	k.idle(what)
	k.forget()
	for _, h := range k.homes {
		if n := len(h.parting); n != 0 {
			k.t.Errorf("%s: %d sessions are on their way out", what, n)
		}
	}
	k.crash()
	k.rest()
	if _, present := k.arrive("b"); present {
		k.t.Errorf("%s: b's session is back", what)
	}
}

// The log refuses to hear that a member's session ends, and for a while nobody is there who
// wants what it had. What waits for that must stay, whichever way the log makes room.
func TestWhatARefusedEndLeavesStays(t *testing.T) {
	for _, rescue := range []bool{false, true} {
		k, a, b, _ := newParting(t)
		b.h().End(k.now, b.ref)
		k.refuse()
		k.rest()
		if rescue {
			if _, rescued := k.shed(); rescued != 1 {
				t.Errorf("%d messages were rescued", rescued)
			}
			if left := k.forget(); left != 1 {
				t.Errorf("%d rescued messages are wanted", left)
			}
		}
		sum := k.b.LineBehind()
		k.each(func(_ time.Time, h *Home) { sum = sum.Plus(h.Behind()) })
		list, err := AllWants(k.each, unknown).Find(k.view, 0, unknown)
		if err != nil || len(list) == 0 || sum.Oldest == 0 || sum.Oldest > list[0] {
			t.Errorf("the log is let go of below %d, and %v is wanted, %v", sum.Oldest, list, err)
		}
		k.settled("a refused end", a)
	}
}

// The client comes back before the log has heard of the end. It is not told that it has no
// session while a crash would bring that back.
func TestANewSessionWaitsForTheEndOfTheOldOne(t *testing.T) {
	for how, ends := range map[string]func(k *keptDesk, b seat) *guest{
		"ended": func(k *keptDesk, b seat) *guest {
			b.h().End(k.now, b.ref)
			return k.knock("b")
		},
		"a clean start":        func(k *keptDesk, _ seat) *guest { return k.knock("b", cleanSeat) },
		"a fleeting one":       func(k *keptDesk, _ seat) *guest { return k.knock("b", cleanSeat, fleeting) },
		"clean, after the cut": func(k *keptDesk, b seat) *guest { b.cut(); return k.knock("b", cleanSeat) },
		"with a will, and twice": func(k *keptDesk, _ seat) *guest {
			k.knock("b", cleanSeat)
			return k.knock("b", cleanSeat, will(mqtt.Will{Topic: "open/w", Payload: []byte("w")}))
		},
	} {
		t.Run(how, func(t *testing.T) {
			k, a, b, _ := newParting(t)
			g := ends(k, b)
			k.turn()
			if sent := g.w().sent[g.conn]; !g.waits || len(sent) > 0 {
				t.Fatalf("waits %v, and was sent %v", g.waits, sent)
			}
			k.crash()
			_, present := k.arrive("b")
			if !present {
				t.Error("nobody was told that the session has ended, and it is not there")
			}

			g = k.knock("b", cleanSeat)
			k.flush()
			if g.waits || g.refused != nil {
				t.Fatalf("waits %v, refused %v", g.waits, g.refused)
			}
			g.enter()
			if _, present = g.in(); present {
				t.Error("a clean start found a session")
			}
			k.rest()
			k.crash()
			if s, present := k.arrive("b"); !present || s.resident().s.Subscriptions() > 0 {
				t.Errorf("present %v, with what the session before had", present)
			}
			if got := k.drink(k.back("a")); got != "m1" {
				t.Errorf("a has %q", got)
			}
			_ = a
		})
	}
}

// While the log does not take the end, nobody gets a session of that name: not from what is
// left of the old one, and not beside it.
func TestNoSessionBesideOneThatCannotEnd(t *testing.T) {
	k, a, b, _ := newParting(t)
	b.h().End(k.now, b.ref)
	k.now = k.now.Add(time.Millisecond)
	first := k.knock("b")
	k.refuse()
	if first.refused == nil || first.refused.Reason != mqtt.QuotaExceeded {
		t.Fatalf("waits %v, refused %v", first.waits, first.refused)
	}
	second := k.knock("b", fleeting)
	if k.turn(); !second.waits {
		t.Errorf("refused %v before the end was said again", second.refused)
	}
	k.pass(2 * time.Second)
	second.enter()
	if s, present := second.in(); present || s.resident().s.Subscriptions() > 0 {
		t.Errorf("present %v, with what the session before had", present)
	}
	second.cut()
	k.settled("a session that came while the log refused", a)
}

// Whoever comes and goes while the disk hangs is remembered once.
func TestOneArrivalWaitsForAnEnd(t *testing.T) {
	k := newKeptDesk(t, 1)
	k.join(0, "c")
	var all []*guest
	for range 5 {
		all = append(all, k.knock("c", cleanSeat))
		k.turn()
	}
	for i, g := range all[:4] {
		if g.waits || g.refused == nil || g.refused.Reason != mqtt.ServerBusy {
			t.Errorf("arrival %d waits %v, refused %v", i, g.waits, g.refused)
		}
	}
	k.flush()
	all[4].enter()
	if _, present := all[4].in(); present {
		t.Error("a clean start found a session")
	}
}

// A log that has failed for good is not waited for.
func TestNoSessionWhereTheLogHasFailed(t *testing.T) {
	k, _, b, _ := newParting(t)
	b.h().End(k.now, b.ref)
	waiting := k.knock("b")
	k.turn()
	for k.log.fail(store.ErrFailed, false) {
	}
	k.news()
	late := k.knock("b")
	for what, g := range map[string]*guest{"who waited": waiting, "who came": late} {
		if g.waits || g.refused == nil || g.refused.Reason != mqtt.ImplementationSpecificError {
			t.Errorf("%s waits %v, refused %v", what, g.waits, g.refused)
		}
	}
}

// A war for a session goes on in the one that takes its place.
func TestAWarOutlivesACleanStart(t *testing.T) {
	k := newKeptDesk(t, 1, func(s *Settings) { s.Takeovers = 3 })
	k.join(0, "c")
	n := 0
	for i := range 10 {
		g := k.knock("c", cleanSeat)
		if i == 1 { // who waited has gone; somebody else comes
			k.flush()
			g = k.knock("c", cleanSeat)
		}
		if g.refused != nil {
			if g.refused.Reason != mqtt.ConnectionRateExceeded {
				t.Fatal(g.refused)
			}
			break
		}
		if g.waits {
			k.flush()
			g.enter()
		}
		g.in()
		n++
	}
	if n != 3 {
		t.Errorf("%d takeovers of 3", n)
	}
}

// A session ends right after a connection that the log did not take: the log ends it as
// what it knows.
func TestAnEndAfterARefusedClaim(t *testing.T) {
	k, a, b, _ := newParting(t)
	b.cut()
	k.rest()
	k.now = k.now.Add(time.Millisecond)
	b = k.back("b")
	k.turn()
	waiting := len(k.log.waiting)
	b.h().End(k.now, b.ref)
	k.turn()
	for range waiting {
		k.log.fail(store.ErrFull, false)
	}
	k.rest()
	if n := len(k.homes[1].work.ended); n != 1 {
		t.Errorf("%d ends are to be said again", n)
	}
	k.settled("an end after a claim that was refused", a)
}

// What a member was about to give back is its own again when the log refuses to hear of it.
// Whoever asked the members before that, and the groups after it, has not seen it.
func TestAGiftThatIsRefusedWhileItIsAskedFor(t *testing.T) {
	k, a, b, pub := newParting(t)
	b.take()
	b.ack(mqtt.PUBACK, 1)
	a.cut()
	k.rest()
	pub.publish("open/jobs", "m2", 1, 2)
	k.turn()
	b.cut()
	k.flush()
	k.turn()
	if n := b.resident().log.pledged; n != 1 {
		t.Fatalf("%d gifts are on their way", n)
	}
	asked := 0
	w := AllWants(func(fn func(now time.Time, h *Home)) {
		k.each(fn)
		if asked++; asked == 1 {
			k.refuse()
		}
	}, unknown)
	if list, err := w.Find(k.view, 0, unknown); err != nil || len(list) == 0 && !w.Unsure {
		t.Errorf("nobody wants what came, %v", err)
	}
	k.rest()
	if got := k.drink(k.back("b")); got != "m2" {
		t.Errorf("b has %q", got)
	}
}
