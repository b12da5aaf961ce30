package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// newRescueDesk is a desk whose index is on one disk for all its processes: the log alone
// no longer makes it.
func newRescueDesk(t *testing.T, homes int, change ...func(*Settings)) *keptDesk {
	k := newKeptDesk(t, homes, change...)
	k.fs = vfs.NewMem()
	k.crash()
	return k
}

func (k *keptDesk) each(fn func(now time.Time, h *Home)) {
	for _, h := range k.homes {
		fn(k.now, h)
	}
}

// shed rescues what is wanted and lets go of the log below the newest number, as far as the
// view can; it is what cmd does when the log has no more room. It answers what was dropped
// and what was rescued.
func (k *keptDesk) shed() (dropped, rescued int) {
	k.t.Helper()
	k.rest()
	below := k.b.Told() + 1
	dropped, err := Enforce(k.each, k.view, below, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	k.rest()
	w := AllWants(k.each, below)
	seqs, err := w.Find(k.view, 0, below)
	if err != nil {
		k.t.Fatal(err)
	}
	rescued, err = k.view.Rescue(k.t.Context(), seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) bool {
		return w.Keeps(k.now, k.b.Settings().Session.WaitMax, seq, rec, m)
	})
	if err != nil {
		k.t.Fatal(err)
	}
	// The open part is 65,536 numbers: the test goes on in the next one.
	k.log.mu.Lock()
	k.log.next = (k.log.next>>16 + 1) << 16
	k.log.mu.Unlock()
	k.homes[0].journal.body = (&fact.Mark{Node: "n"}).Append(k.homes[0].journal.body)
	k.homes[0].record(k.now, store.Hash, store.SID{}, 0)
	k.rest()
	got, err := k.view.Trim(k.t.Context(), below)
	if err != nil || got != below || k.log.first+20 < below {
		k.t.Fatalf("trimmed below %d, want %d, %v; the log begins with %d", got, below, err, k.log.first)
	}
	return dropped, rescued
}

// forget lets go of what is rescued and nobody wants.
func (k *keptDesk) forget() (left int64) {
	k.t.Helper()
	if _, err := k.view.Forget(k.t.Context(), AllWants(k.each, k.view.Floor()).Has); err != nil {
		k.t.Fatal(err)
	}
	left, _ = k.view.Rescued()
	return left
}

// Somebody is away for a week and has 100 messages waiting, while others are busy: the log
// goes, the messages come, in order and each once, also over crashes.
func TestWhoIsAwayGetsWhatWasRescued(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newRescueDesk(t, 2)
		sub, busy, pub := k.join(0, "sub", window(10)), k.join(1, "busy"), k.join(1, "pub")
		k.hears(sub, "open/a", 1)
		k.hears(busy, "open/busy", 1)
		sub.leave()
		for i := range 4 {
			k.say(pub, "open/a", 25*i+1, 25*i+25)
			for n := range 10 {
				pub.publish("open/busy", "b", 1, uint16(1000+n))
			}
			k.drink(busy)
			if dropped, rescued := k.shed(); dropped != 0 || rescued != 25 {
				t.Fatalf("%d dropped, %d rescued", dropped, rescued)
			}
			pub.words()
			if crash {
				k.crash()
				pub, busy = k.back("pub"), k.back("busy")
				k.rest()
			}
		}
		if left := k.forget(); left != 100 {
			t.Errorf("crash %v: %d messages are kept", crash, left)
		}
		k.say(pub, "open/a", 101, 110)
		sub = k.back("sub", window(10))
		if got := k.drink(sub); got != series(1, 110) {
			t.Errorf("crash %v: received %s", crash, got)
		}
		k.pass(time.Second)
		if left := k.forget(); left != 0 {
			t.Errorf("crash %v: %d messages that nobody wants are kept", crash, left)
		}
	}
}

// What a client has and did not acknowledge is sent again from what was rescued, with DUP
// and its identifier, and what it has not yet comes after it.
func TestWhatIsUnderWayIsRescued(t *testing.T) {
	k := newRescueDesk(t, 1)
	sub, pub := k.join(0, "sub", window(4)), k.join(0, "pub")
	k.hears(sub, "open/#", 2)
	k.say(pub, "open/a", 1, 100)
	k.rest()
	sub.words()
	pub.publish("open/b", "two", 2, 200)
	k.rest()
	if dropped, rescued := k.shed(); dropped != 0 || rescued != 101 {
		t.Fatalf("%d dropped, %d rescued", dropped, rescued)
	}
	k.pass(time.Second) // what is under way is said
	k.crash()
	k.rest()
	sub = k.back("sub", window(4))
	k.rest()
	sub.expectPrefix("m1 q1 #1 dup, m2 q1 #2 dup, m3 q1 #3 dup, m4 q1 #4 dup")
	for i := range uint16(4) {
		sub.ack(mqtt.PUBACK, i+1)
	}
	if got := k.drink(sub); got != series(5, 100)+" two" {
		t.Errorf("received %s", got)
	}
	if n := k.metrics.Value(metrics.MessagesDroppedStore); n != 0 {
		t.Errorf("%d are said to be lost", n)
	}
}

// expectPrefix is expect for what begins so.
func (s seat) expectPrefix(want string) {
	s.d.t.Helper()
	if got := s.words(); len(got) < len(want) || got[:len(want)] != want {
		s.d.t.Errorf("sent %q, want %q first", got, want)
	}
}

// Over the limits of a session the newest are rescued, and the others are counted once:
// neither a crash nor reading counts them again or brings them back.
func TestRescueKeepsTheNewestWithinTheLimits(t *testing.T) {
	for _, crash := range []bool{false, true} {
		k := newRescueDesk(t, 1, func(s *Settings) { s.Session.MqueueMessages = 20 })
		sub, other, pub := k.join(0, "sub"), k.join(0, "other"), k.join(0, "pub")
		k.hears(sub, "open/#", 1)
		k.hears(other, "open/only", 1)
		sub.leave()
		other.leave()
		k.say(pub, "open/only", 1, 5)
		k.say(pub, "open/a", 6, 50)
		if dropped, rescued := k.shed(); dropped != 30 || rescued != 25 {
			t.Errorf("%d dropped, %d rescued", dropped, rescued)
		}
		if n := k.metrics.Value(metrics.MessagesDroppedQueueFull); n != 30 {
			t.Errorf("%d were counted", n)
		}
		if err := k.view.Sessions(func(s *view.Session) error {
			if s.Identity == "sub" && s.Out.Cursor != sub.h().slots[sub.ref.Slot].log.pos {
				t.Errorf("the log has the cursor %d, and the session %d", s.Out.Cursor, sub.h().slots[sub.ref.Slot].log.pos)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if crash {
			k.crash()
			pub = k.back("pub")
			k.rest()
		}
		k.say(pub, "open/a", 51, 52)
		if got := k.drink(k.back("other")); got != series(1, 5) {
			t.Errorf("crash %v: the other received %s", crash, got)
		}
		sub = k.back("sub")
		if got := k.drink(sub); got != series(33, 52) {
			t.Errorf("crash %v: received %s", crash, got)
		}
		sub.h().countDrops(sub.resident())
		if n := k.metrics.Value(metrics.MessagesDroppedQueueFull); !crash && n != 32 {
			t.Errorf("%d were counted in all", n)
		}
	}
}

// A message that has expired, or waited longer than it may, is not worth a row.
func TestWhatIsTooOldIsNotRescued(t *testing.T) {
	k := newRescueDesk(t, 1, func(s *Settings) { s.Session.WaitMax = 10 * time.Minute })
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	sub.leave()
	k.say(pub, "open/a", 1, 3)
	k.pass(400 * time.Second)
	k.say(pub, "open/a", 4, 5)
	k.pass(400 * time.Second)
	if _, rescued := k.shed(); rescued != 2 {
		t.Errorf("%d rescued", rescued)
	}
	if sub, present := k.arrive("sub"); present {
		if got := k.drink(sub); got != series(4, 5) {
			t.Errorf("received %s", got)
		}
	}
}

// The log is shed again and again while clients come and go: everybody gets everything that
// his limits allow, in order.
func TestShedWhileClientsComeAndGo(t *testing.T) {
	k := newRescueDesk(t, 2)
	pub := k.join(1, "pub")
	var seats [4]seat
	want := make([]int, len(seats))
	for i := range seats {
		user := fmt.Sprint("sub", i)
		seats[i] = k.join(i%2, user, window(uint16(2+i)))
		k.hears(seats[i], "open/#", 1)
	}
	n := 0
	for round := range 12 {
		for i := range seats {
			user := fmt.Sprint("sub", i)
			switch (round + i) % 4 {
			case 0:
				seats[i].cut()
				k.rest()
			case 2:
				seats[i], _ = k.arrive(user, window(uint16(2+i)))
				if got := k.drink(seats[i]); got != series(want[i]+1, n) {
					t.Fatalf("round %d: %s received %s, want %d to %d", round, user, got, want[i]+1, n)
				}
				want[i] = n
			}
		}
		k.say(pub, "open/a", n+1, n+15)
		n += 15
		if round%3 == 1 {
			k.shed()
		}
		if round%5 == 4 {
			k.forget()
		}
		for i := range seats { // who is connected takes what came
			if r := seats[i].resident(); r != nil && r.s.Online() {
				k.drink(seats[i])
				want[i] = n
			}
		}
	}
}

// A QoS 2 message is wanted until PUBCOMP: as long as the log has not heard of PUBREC, a
// crash has it sent again, and without it the client would wait for PUBREL for ever.
func TestAReceivedMessageIsWantedUntilItIsComplete(t *testing.T) {
	k := newRescueDesk(t, 1)
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 2)
	pub.publish("open/a", "m1", 2, 1)
	k.rest()
	sub.expect("m1 q2 #1")
	under := func() int { return len(AllWants(k.each, k.b.Told()+1).Under) }
	if sub.ack(mqtt.PUBREC, 1); under() != 1 {
		t.Error("nobody wants it after PUBREC, of which the log has not heard")
	}
	k.rest()
	sub.expect("PUBREL #1")
	if sub.ack(mqtt.PUBCOMP, 1); under() != 0 {
		t.Error("it is wanted after PUBCOMP")
	}
}
