package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestASessionWithManySubscriptionsLeavesInPortions: nobody waits for all of them (D-07). What others
// may have goes at once; the client that comes back has its own, and nothing of the old ones.
func TestASessionWithManySubscriptionsLeavesInPortions(t *testing.T) {
	const many = 3*leavePerTurn + 10
	d := newDesk(t, 1, func(s *Settings) {
		s.Subscriptions, s.WildcardSubscriptions, s.Exclusive = 10*many, 10*many, true
	})
	brief := func(by *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 }
	begin := func() seat {
		a := d.sit(0, "a", brief)
		for i := range many {
			a.subscribe(fmt.Sprintf("open/%d/+", i), 0)
		}
		return a
	}
	indexed := func() int { return d.b.index.Stats().Subscribers }
	a, pub, other := begin(), d.sit(0, "pub"), d.sit(0, "other")
	a.subscribe("$share/g/open/jobs", 0)
	other.subscribe("$share/g/open/jobs", 0)
	if rc := a.ask("$exclusive/open/mine", 0); rc != mqtt.Success {
		t.Fatalf("an exclusive filter: %v", rc)
	}
	had := indexed()
	a.h().Gone(d.now, a.ref)
	if a.h().at(a.ref) != nil {
		t.Fatal("the session has not ended")
	}
	if rc := other.ask("$exclusive/open/mine", 0); rc != mqtt.Success {
		t.Errorf("an exclusive filter of a session that has ended: %v", rc)
	}
	for i := range 4 {
		pub.publish("open/jobs", fmt.Sprint(i), 0, 0)
	}
	if got := other.payloads(); len(got) != 4 {
		t.Errorf("the member that is left has %v of 4 jobs", got)
	}
	if now := indexed(); now < had-10 {
		t.Errorf("%d of %d are left in the turn in which it ended: it took all of them", now, had)
	}
	a = begin() // in the place of the old one
	for turns := 0; len(d.homes[0].work.left.list) > 0; turns++ {
		before := indexed()
		d.turn()
		if gone := before - indexed(); gone > leavePerTurn || turns > many/leavePerTurn+1 {
			t.Fatalf("turn %d: %d went", turns, gone)
		}
	}
	if now, counted := indexed(), d.b.subscribed.Load(); now != many+2 || counted != many+2 || d.homes[0].work.left.many != 0 {
		t.Errorf("%d are left and %d counted, want the %d of the new session and 2 of the other; %d to go", now, counted, many, d.homes[0].work.left.many)
	}
	a.take()
	for i := range many {
		pub.publish(fmt.Sprintf("open/%d/x", i), "m", 0, 0)
	}
	if got := a.payloads(); len(got) != many {
		t.Errorf("the new session has %d of %d messages", len(got), many)
	}
}

// TestWhatEndedSessionsLeaveHasALimit: however much of it there is, a share of it goes each turn.
func TestWhatEndedSessionsLeaveHasALimit(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.Subscriptions, s.SubscriptionsTotal = 1_000_000, 0 })
	const many = leavePerTurn * leaveShare * 2
	a := d.sit(0, "a", func(by *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 })
	for i := range many {
		a.subscribe(fmt.Sprintf("open/%d", i), 0)
	}
	a.h().Gone(d.now, a.ref)
	before := d.b.index.Stats().Subscribers
	d.turn()
	if gone := before - d.b.index.Stats().Subscribers; gone != 2*leavePerTurn {
		t.Errorf("%d of %d went in a turn, want %d", gone, many, 2*leavePerTurn)
	}
}
