package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// A log that takes nothing for a while pauses publishers, loses nothing and keeps the
// order, of those who wait and of those who come meanwhile.
func TestAFullLogPausesPublishers(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub, late := k.join(0, "sub"), k.join(1, "pub"), k.join(1, "late")
	k.hears(sub, "open/#", 2)
	k.log.most = 2
	for i := range uint16(6) {
		pub.publish("open/a", fmt.Sprint("m", i+1), mqtt.QoS(1+i%2), i+1)
		k.turn()
	}
	if !pub.w().paused[pub.conn] {
		t.Fatal("the publisher is read while the log takes nothing")
	}
	late.publish("open/b", "other", 1, 1)
	if !late.w().paused[late.conn] {
		t.Fatal("another publisher is read")
	}
	pub.expect("")
	if n := len(k.log.waiting); n != 2 {
		t.Fatalf("%d batches wait", n)
	}
	k.rest()
	pub.expect("PUBACK #1, PUBREC #2, PUBACK #3, PUBREC #4, PUBACK #5, PUBREC #6")
	late.expect("PUBACK #1")
	if len(pub.w().paused) > 0 {
		t.Error("somebody is still paused")
	}
	one, two := sub.got(1), sub.got(2)
	if one != "m1 m3 m5 other" && one != "m1 other m3 m5" || two != "m2 m4 m6" {
		t.Errorf("received %q at QoS 1 and %q at QoS 2", one, two)
	}
}

// While the log takes nothing nobody can make the home remember more and more: whoever
// says something that it must hold is read no further.
func TestAFullLogPausesWhoSubscribes(t *testing.T) {
	k := newKeptDesk(t, 1)
	k.log.most = 1
	pub, c, d, e := k.join(0, "pub"), k.join(0, "c"), k.join(0, "d"), k.join(0, "e")
	k.hears(c, "open/#", 1)
	d.publish("open/x", "m", 2, 1)
	k.rest()
	c.words()
	for i := range uint16(3) {
		pub.publish("open/a", "m", 1, i+1)
		k.turn()
	}
	if !k.homes[0].journal.over() {
		t.Fatal("the log takes more")
	}
	c.wish("open/1", 1)
	e.h().Unsubscribe(k.now, e.ref, &mqtt.Unsubscribe{Filters: []string{"open/#"}}) // it has none: nothing to say
	d.ack(mqtt.PUBREL, 1)
	for name, s := range map[string]seat{"subscribe": c, "release": d} {
		if !s.w().paused[s.conn] {
			t.Errorf("%s: is read on", name)
		}
	}
	if e.w().paused[e.conn] {
		t.Error("who said nothing is paused")
	}
	k.rest()
	if n := len(c.w().paused); n != 0 {
		t.Errorf("%d stay paused", n)
	}
}

// A session whose state the log refuses tries again after a pause, not at once and for
// ever.
func TestWhatFailedIsNotSaidAtOnceAgain(t *testing.T) {
	for err, name := range map[error]string{store.ErrFull: "full", store.ErrFailed: "failed"} {
		t.Run(name, func(t *testing.T) {
			k := newKeptDesk(t, 1)
			sub, pub := k.join(0, "sub"), k.join(0, "pub")
			k.hears(sub, "open/#", 2)
			pub.publish("open/a", "m1", 2, 1)
			k.flush()
			k.turn() // says what is about to be sent
			failed := 0
			for range 50 {
				for k.log.fail(err, false) {
					failed++
				}
				k.news()
				k.turn()
			}
			if failed > 2 {
				t.Errorf("said %d times in one moment", failed)
			}
			sub.expect("")
			k.now = k.now.Add(time.Second)
			k.rest()
			sub.expect("m1 q2 #1")
		})
	}
}

// A session whose claim the log refused has nothing to say until it is claimed again: its
// records would be refused for ever.
func TestAFencedSessionIsSilent(t *testing.T) {
	k := newKeptDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 2)
	sub.cut()
	pub.publish("open/a", "m1", 2, 1)
	k.rest()
	sub = k.back("sub")
	k.turn() // the claim
	k.read()
	k.news()
	k.turn() // what it is about to be sent
	k.log.fail(store.ErrFull, false)
	before := k.log.taken
	for range 50 {
		k.flush()
		k.read()
		k.news()
		k.now = k.now.Add(10 * time.Millisecond)
	}
	if n := k.log.taken - before; n > 8 {
		t.Errorf("%d batches of a session that nobody has", n)
	}
	if _, closed := sub.closed(); !closed {
		t.Error("it is still connected")
	}
	k.rest()
	sub = k.back("sub")
	k.rest()
	sub.expect("m1 q2 #1")
}

// The list of batches under way stays short while it is never empty.
func TestOriginsDoNotGrow(t *testing.T) {
	var o origins
	o.push(origin{first: 1})
	for i := range store.Seq(100_000) {
		o.push(origin{first: i + 2})
		if a, ours := o.take(i + 1); !ours || a.first != i+1 {
			t.Fatalf("%d: %v, %v", i+1, a, ours)
		}
	}
	if n := cap(o.list); n > 10_000 {
		t.Errorf("room for %d batches, and one is under way", n)
	}
}

// All connections may end in one turn: what the home has to say of it is more than the
// log takes at once, and still each word of it is there.
func TestManySessionsInOneTurn(t *testing.T) {
	many := testkit.Seeds(2000, 5000)
	for _, full := range []bool{false, true} {
		k := newKeptDesk(t, 1)
		k.log.longest = 0
		for i := range many {
			k.lives[fmt.Sprint("u", i)] = 0
			k.arrive(fmt.Sprint("u", i))
		}
		k.rest()
		if full {
			k.log.most = 1
			k.homes[0].mark(k.now)
			k.turn()
		}
		k.homes[0].ShutDown(k.now)
		k.rest()
		if n := k.log.longest; n > 2*batchRecords {
			t.Errorf("full %v: a batch of %d records", full, n)
		}
		connected := 0
		if err := k.view.Sessions(func(s *view.Session) error {
			if s.LeftAt == 0 {
				connected++
			}
			return nil
		}); err != nil || connected > 0 || k.sessions() != many {
			t.Errorf("full %v: %d of %d sessions are still connected, %v", full, connected, k.sessions(), err)
		}
	}
}

// A session that ended while the disk was full has ended: the log hears of it when it takes
// something again, and nobody who has claimed the name since loses by it.
func TestAnEndThatTheLogRefusedIsSaidAgain(t *testing.T) {
	k := newKeptDesk(t, 1)
	gone, renewed := k.join(0, "gone"), k.join(0, "renewed")
	gone.leave()
	renewed.leave()
	k.rest()
	k.homes[0].Revoke(k.now, map[string]bool{"gone": true, "renewed": true})
	k.turn()
	for range 3 {
		for k.log.fail(store.ErrFull, false) {
		}
		k.news()
		k.turn()
		k.now = k.now.Add(time.Second)
	}
	if _, present := k.arrive("renewed"); present {
		t.Fatal("the session is there")
	}
	k.rest()
	k.pass(time.Second)
	if n := len(k.homes[0].work.ended); n != 0 {
		t.Errorf("%d ends are not said", n)
	}
	k.crash()
	k.rest()
	if _, present := k.arrive("gone"); present {
		t.Error("a session came back that had ended")
	}
	k.back("renewed")
}
