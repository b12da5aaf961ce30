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
	const many = 3*leaveAtOnce + 10
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
	for turns := 0; d.homes[0].work.left.many > 0; turns++ {
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

// TestWhoComesBackHasRoomForWhatItHad: what its session before has left behind is no reason to refuse it.
func TestWhoComesBackHasRoomForWhatItHad(t *testing.T) {
	const many = 700
	d := newDesk(t, 1, func(s *Settings) { s.Subscriptions, s.SubscriptionsTotal = 10*many, 1000 })
	brief := func(by *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 }
	for range 3 {
		a := d.sit(0, "a", brief)
		for i := range many {
			if rc := a.ask(fmt.Sprintf("open/%d", i), 0); rc != mqtt.Success {
				t.Fatalf("subscription %d: %v", i, rc)
			}
		}
		a.h().Gone(d.now, a.ref)
	}
	if n := d.b.subscribed.Load(); n > 1000 {
		t.Errorf("%d subscriptions, more than limits.subscriptions_total", n)
	}
}

// TestManySessionsThatEndTogetherLeaveInPortions: it is what a turn takes in all, and not of each.
func TestManySessionsThatEndTogetherLeaveInPortions(t *testing.T) {
	d := newDesk(t, 1)
	const sessions, each = 20, 100
	var all []seat
	for i := range sessions {
		a := d.sit(0, "a", named(fmt.Sprint(i)), func(by *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 })
		for j := range each {
			a.subscribe(fmt.Sprintf("open/%d/%d", i, j), 0)
		}
		all = append(all, a)
	}
	for _, a := range all {
		a.h().Gone(d.now, a.ref)
	}
	if left := d.b.index.Stats().Subscribers; left < sessions*each-leaveAtOnce {
		t.Errorf("%d of %d are left in the turn in which they ended", left, sessions*each)
	}
	for range sessions*each/leavePerTurn + 1 {
		d.turn()
	}
	if left := d.b.index.Stats().Subscribers; left != 0 || d.homes[0].work.left.list != nil {
		t.Errorf("%d are left, want none", left)
	}
}

// TestTheOldestLeavesFirst: what somebody left behind does not wait for as long as others come and go.
func TestTheOldestLeavesFirst(t *testing.T) {
	d := newDesk(t, 1)
	end := func(who string, n int) {
		a := d.sit(0, who, func(by *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 })
		for j := range n {
			a.subscribe(fmt.Sprintf("open/%s/%d", who, j), 0)
		}
		a.h().Gone(d.now, a.ref)
	}
	const many = leaveAtOnce + 1
	end("bob", many)
	for range many/leavePerTurn + 1 {
		end("eve", many)
		d.turn()
	}
	if n := d.b.heardOf.Sum(d.b.heardOf.Place("bob")); n != 0 {
		t.Errorf("%d of bob's are counted after as many turns as they take", n)
	}
}

// TestWhatIsLeftIsSaidBeforeATurn: a loop lets others go ahead while something takes a part of each turn, and what is for other
// homes goes with them.
func TestWhatIsLeftIsSaidBeforeATurn(t *testing.T) {
	const many = leaveAtOnce + leavePerTurn + 1
	d := newDesk(t, 2, func(s *Settings) { s.Subscriptions = many })
	h := d.homes[0]
	a := d.sit(0, "a", func(_ *auth.Principal, c *mqtt.Connect) { c.SessionExpiry = 0 })
	for i := range many {
		a.subscribe(fmt.Sprintf("open/%d", i), 0)
	}
	if d.turn(); h.Heavy() {
		t.Error("there is nothing left, and it says so")
	}
	h.Gone(d.now, a.ref)
	turns := 0
	for ; h.Heavy() && turns < many; turns++ {
		d.turn()
	}
	if want := (many + leavePerTurn - 1) / leavePerTurn; turns != want {
		t.Errorf("%d turns for what it has left, want %d", turns, want)
	}

	pub, b := d.sit(0, "pub"), d.sit(0, "b")
	for i := range replayStep + 2 {
		pub.publish(fmt.Sprintf("open/kept/%d", i), "x", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
	}
	d.turn()
	b.subscribe("open/kept/+", 0)
	if d.turn(); !h.Heavy() {
		t.Error("retained messages are left for a later turn")
	}
	if d.turn(); h.Heavy() {
		t.Error("none are left")
	}

	far := d.sit(1, "far")
	far.subscribe("open/x", 0)
	pub.publish("open/x", "m", 0, 0)
	h.FlushLanes(d.now)
	if got := len(d.wires[1].inbox); got != 1 {
		t.Errorf("%d batches for the other home", got)
	}
}
