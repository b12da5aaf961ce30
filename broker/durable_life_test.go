package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
)

func long(c *mqtt.Connect) { c.SessionExpiry = 3600 }

// sessions is how many the log has.
func (k *keptDesk) sessions() int { return k.view.Stats().Sessions }

// A session goes on with its newest connection, whatever became of the others.
func TestATakeoverKeepsTheSession(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c"), k.join(0, "pub")
	k.hears(c, "open/#", 2)
	pub.publish("open/a", "m1", 2, 1)
	k.flush()
	second := k.back("c") // all in one turn
	third := k.back("c")
	if _, closed := second.closed(); !closed {
		t.Error("the second connection is still there")
	}
	k.rest()
	c.expect("")
	second.expect("")
	third.expect("m1 q2 #1")
	pub.publish("open/a", "m2", 1, 2)
	k.rest()
	third.expect("m2 q1 #2")
	if n := k.sessions(); n != 2 {
		t.Errorf("the log has %d sessions", n)
	}
}

// Clean Start ends what was: no subscription, no message, no identifier comes back, also
// after a crash in between.
func TestCleanStartLeavesNothing(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newKeptDesk(t, 1)
		c, pub := k.join(0, "c"), k.join(0, "pub")
		k.hears(c, "open/#", 2)
		c.publish("open/b", "own", 2, 9)
		pub.publish("open/a", "m1", 2, 1)
		k.rest()
		c.cut()
		c, present := k.arrive("c", cleanSeat)
		if present {
			t.Error("the session is said to be there")
		}
		k.rest()
		if crash {
			k.crash()
			c = k.back("c")
			k.rest()
		}
		if r := c.resident(); r.s.Subscriptions()+r.s.Inflight()+r.s.AwaitingRel()+len(r.log.subs) != 0 {
			t.Errorf("crash %v: something is left", crash)
		}
		k.seat("pub", pub).publish("open/a", "m2", 1, 2)
		k.rest()
		c.expect("")
		if len(k.b.filters.uses) != 0 {
			t.Errorf("crash %v: filters are left", crash)
		}
	}
}

// A session ends when its time has come, also when the broker was away then; its time
// counts from when its connection ended.
func TestExpiryOverACrash(t *testing.T) {
	short := func(c *mqtt.Connect) { c.SessionExpiry = 60 }
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c", short), k.join(0, "pub")
	k.hears(c, "open/#", 1)
	c.cut()
	k.rest()
	k.pass(30 * time.Second)
	k.crash()
	k.pass(29 * time.Second)
	if n := k.sessions(); n != 2 {
		t.Fatalf("%d sessions a second early", n)
	}
	k.pass(2 * time.Second)
	if n := k.sessions(); n != 1 {
		t.Errorf("%d sessions after it has expired", n)
	}
	k.join(0, "c", short)
	k.now = k.now.Add(time.Hour)
	k.crash() // it was connected when the process ended, and that is not long ago as far as anybody knows
	k.pass(61 * time.Second)
	if n := k.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	pub = k.back("pub")
	pub.publish("open/a", "m", 1, 1)
	k.rest()
	pub.expect("PUBACK #1 10")
}

// A will whose delay passed while the broker was away is published when every home has its
// sessions again, not when its own has: who waits for it may live in another.
func TestAWillDueAtTheStartFindsOtherHomes(t *testing.T) {
	k := newKeptDesk(t, 2)
	c, witness := k.join(0, "c", func(c *mqtt.Connect) {
		c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1, DelaySeconds: 60}
	}), k.join(1, "witness")
	k.hears(witness, "open/#", 1)
	witness.cut()
	c.cut()
	k.rest()
	k.now, k.slow = k.now.Add(61*time.Second), true
	k.crash()
	k.pass(2 * time.Second)
	witness = k.back("witness")
	k.rest()
	witness.expect("gone q1 #1")
}

// DISCONNECT may change how long the session lives: a shorter time, or none.
func TestDisconnectChangesTheExpiry(t *testing.T) {
	for _, seconds := range []uint32{0, 10} {
		k := newKeptDesk(t, 1)
		c := k.join(0, "c")
		k.hears(c, "open/#", 1)
		c.h().Disconnect(k.now, c.ref, &mqtt.Disconnect{SessionExpiry: &seconds})
		k.rest()
		k.crash()
		if n := k.sessions(); (n == 0) != (seconds == 0) {
			t.Errorf("expiry %d: %d sessions", seconds, n)
		}
		k.pass(11 * time.Second)
		if n := k.sessions(); n != 0 {
			t.Errorf("expiry %d: %d sessions later", seconds, n)
		}
	}
}

// A will is published exactly once: at once or after its delay, by this process or, after
// a crash, by the next, and not at all when its client comes back in time or says good-bye.
func TestAWillIsPublishedOnce(t *testing.T) {
	at := func(d time.Duration) func(k *keptDesk) { return func(k *keptDesk) { k.pass(d) } }
	crash := func(k *keptDesk) { k.crash() }
	cut := func(k *keptDesk) {
		if h := k.homes[0]; k.seatOf("c").s.Online() {
			h.Gone(k.now, k.seatOf("c").ref)
		}
		k.rest()
	}
	bye := func(k *keptDesk) {
		k.homes[0].Disconnect(k.now, k.seatOf("c").ref, &mqtt.Disconnect{})
		k.rest()
	}
	back := func(k *keptDesk) { k.back("c"); k.rest() }
	stop := func(k *keptDesk) {
		k.homes[0].ShutDown(k.now)
		k.rest()
		k.crash()
	}
	for name, c := range map[string]struct {
		delay uint32
		do    []func(*keptDesk)
		wills int
	}{
		"at once":                          {0, []func(*keptDesk){cut, crash}, 1},
		"by the crash":                     {0, []func(*keptDesk){crash, at(time.Second), crash, at(time.Second)}, 1},
		"good-bye":                         {0, []func(*keptDesk){bye, crash, at(30 * time.Minute)}, 0},
		"the broker stops":                 {0, []func(*keptDesk){stop, at(30 * time.Minute)}, 0},
		"after its delay":                  {60, []func(*keptDesk){cut, at(59 * time.Second), crash, at(2 * time.Second), crash, at(30 * time.Minute)}, 1},
		"back in time":                     {60, []func(*keptDesk){cut, at(59 * time.Second), back, bye, crash, at(30 * time.Minute)}, 0},
		"back after a crash":               {60, []func(*keptDesk){cut, crash, back, bye, crash, at(30 * time.Minute)}, 0},
		"by the crash, late":               {60, []func(*keptDesk){crash, at(59 * time.Second), crash, at(2 * time.Second), at(30 * time.Minute)}, 1},
		"with the session":                 {5000, []func(*keptDesk){cut, at(999 * time.Second), crash, at(2 * time.Second)}, 1},
		"with the session, over two crash": {5000, []func(*keptDesk){crash, crash, at(1001 * time.Second)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeptDesk(t, 1)
			watch := k.join(0, "watch", long)
			k.hears(watch, "open/will", 1)
			watch.leave()
			k.join(0, "c", will(mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1, DelaySeconds: c.delay}))
			for _, do := range c.do {
				do(k)
			}
			k.crash()
			if wills := strings.Count(k.drink(k.back("watch", long)), "gone"); wills != c.wills {
				t.Errorf("%d wills", wills)
			}
		})
	}
}

// The power goes at each step of a will: it is published once, or has not been and is
// then.
func TestAWillOverACrashAtEachStep(t *testing.T) {
	for point := range 6 {
		k := newKeptDesk(t, 1)
		watch := k.join(0, "watch")
		k.hears(watch, "open/will", 1)
		watch.leave()
		c := k.join(0, "c", will(mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1}))
		steps := []func(){c.cut, func() { k.turn() }, func() { k.commit() }, func() { k.log.show() }, func() { k.news() }}
		for i := range point {
			steps[i]()
		}
		k.crash()
		k.pass(time.Second)
		k.crash()
		if got := k.drink(k.back("watch")); got != "gone" {
			t.Errorf("crash before step %d: %q", point, got)
		}
	}
}

// A deleted user leaves nothing in the log either: no will speaks for it and nothing
// waits for who gets the name next.
func TestADeletedUserLeavesNothingInTheLog(t *testing.T) {
	for _, delay := range []uint32{0, 60} {
		deletedUserLeavesNothing(t, true, delay)
	}
	deletedUserLeavesNothing(t, false, 60)
}

// The will is of QoS 1, so that the log has it for the watch if it is sent at any time.
func deletedUserLeavesNothing(t *testing.T, online bool, delay uint32) {
	w := mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1, DelaySeconds: delay}
	for _, deleted := range []bool{false, true} {
		k := newKeptDesk(t, 1)
		watch, c := k.join(0, "watch", long), k.join(0, "c", will(w))
		k.hears(watch, "open/will", 1)
		k.hears(c, "open/#", 1)
		if !deleted { // the rig would notice one that is sent
			c.cut()
			k.rest()
			k.crash()
			k.pass(time.Hour / 2)
			if got := k.drink(k.back("watch", long)); got != "gone" {
				t.Fatalf("delay %d: of who is only away the watch received %q", delay, got)
			}
			continue
		}
		if !online {
			c.cut()
			k.rest()
		}
		k.homes[0].Revoke(k.now, map[string]bool{"c": true})
		k.rest()
		if n := k.sessions(); n != 1 {
			t.Errorf("online %v, delay %d: %d sessions", online, delay, n)
		}
		k.crash()
		k.pass(time.Hour / 2)
		if got := k.drink(k.back("watch", long)); got != "" {
			t.Errorf("online %v, delay %d: the watch received %q", online, delay, got)
		}
		if _, present := k.arrive("c"); present {
			t.Errorf("online %v, delay %d: who gets the name next has the session", online, delay)
		}
	}
}

// What the log refused of the end of a session does not come back with a crash as if it
// had not been: a released session that it still has is the same session.
func TestAReleaseThatFailed(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c"), k.join(0, "pub")
	k.hears(c, "open/#", 1)
	pub.publish("open/a", "m1", 1, 1)
	k.rest()
	c.expect("m1 q1 #1")
	c.ack(mqtt.PUBACK, 1)
	c.cut()
	k.turn()
	k.log.fail(store.ErrFull, false)
	k.news()
	k.crash()
	c = k.back("c")
	k.rest()
	c.expect("m1 q1 #1") // once more is allowed
}
