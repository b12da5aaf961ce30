package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
)

// What a peer could make grow by coming, asking and going again.

// The log takes who comes and refuses who goes: those ends are remembered, and to the limit
// of sessions they are sessions.
func TestEndsTheLogRefusesAreBounded(t *testing.T) {
	k := newKeptDesk(t, 1, func(s *Settings) { s.SessionsTotal = 5 })
	full := 0
	for i := range 50 {
		user := fmt.Sprint("u", i)
		k.lives[user] = 0
		g := k.knock(user)
		if g.refused != nil {
			if g.refused.Reason != mqtt.QuotaExceeded {
				t.Fatal(g.refused)
			}
			full++
			continue
		}
		k.flush() // the claim is taken
		k.homes[0].End(k.now, g.ref)
		k.refuse()
		if n := k.b.Sessions(); n != 0 {
			t.Fatalf("%d sessions", n)
		}
	}
	if n := len(k.homes[0].work.ended); n != 5 || full != 45 {
		t.Errorf("%d ends are remembered, %d clients were refused", n, full)
	}
	k.pass(2 * time.Second)
	if n := len(k.homes[0].work.ended); n != 0 || k.b.unsaid.Load() != 0 {
		t.Errorf("%d ends are not said, %d are counted", n, k.b.unsaid.Load())
	}
	k.join(0, "again")
}

// Sessions ask for what waits, and end before anybody has read it: nothing is left in the
// line, and the readers are asked for no more than they are.
func TestReadsOfSessionsThatEndedAreDropped(t *testing.T) {
	k := newKeptDesk(t, 1)
	asked, do := 0, k.b.durable.Do
	pub := k.join(0, "pub")
	for i := range 3 * readsAsked {
		user := fmt.Sprint("u", i)
		s := k.join(0, user)
		k.hears(s, "open/x", 1)
		s.cut()
		k.say(pub, "open/x", 1, 1)
		k.b.durable.Do = func(read func()) {
			asked++
			k.reads = append(k.reads, read)
		}
		s = k.back(user)
		if !s.resident().log.fetching {
			t.Fatalf("session %d asks for nothing", i)
		}
		held := k.reads
		k.reads = nil
		k.homes[0].End(k.now, s.ref)
		k.rest()
		k.reads = held
		if n := k.b.reads.line.Len(); n != 0 || len(k.b.reads.of) != 0 {
			t.Fatalf("%d reads stand in the line, of %d sessions that have ended", n, len(k.b.reads.of))
		}
		if i < readsAsked/2 { // these are never run: as many turns of readers are spent
			k.reads = nil
		}
		k.b.durable.Do = do
	}
	if k.b.reads.asked > readsAsked {
		t.Errorf("%d reads stand with the readers", k.b.reads.asked)
	}
	if asked == 0 {
		t.Error("nobody was asked")
	}
}

// Everything in the line is read, with fewer turns than there are reads, and in its order.
func TestTheLineOfReads(t *testing.T) {
	var turns []func()
	b := &Broker{}
	b.durable = &Durable{Do: func(read func()) { turns = append(turns, read) }}
	var got []int
	owners := make([]*resident, 10)
	for i := range owners {
		owners[i] = new(resident)
	}
	for i := range 300 {
		b.ask(owners[i%10], func() { got = append(got, i) })
	}
	if len(turns) != readsAsked || b.reads.asked != readsAsked {
		t.Errorf("%d turns", len(turns))
	}
	b.reads.drop(owners[3])
	b.reads.drop(owners[7])
	for len(turns) > 0 {
		turn := turns[0]
		turns = turns[1:]
		turn()
	}
	want := 0
	for _, i := range got {
		for want%10 == 3 || want%10 == 7 {
			want++
		}
		if i != want {
			t.Fatalf("%d was read where %d was next", i, want)
		}
		want++
	}
	if len(got) != 240 || b.reads.asked != 0 || len(b.reads.of) != 0 {
		t.Errorf("%d were read, %d turns are left, of %d sessions", len(got), b.reads.asked, len(b.reads.of))
	}
}

// Retained messages that overtake a subscription stand for themselves up to a number; then
// the whole filter does, and none is missed.
func TestReplaysOfSingleTopicsAreBounded(t *testing.T) {
	k := newKeptDeskWith(t, 1, retain.Options{MessagesMax: 10_000, BytesMax: 64 << 20, MemoryMax: 64 << 20})
	sub, pub := k.join(0, "sub"), k.join(0, "pub")
	k.hears(sub, "open/#", 1)
	r := sub.resident()
	h, upTo := sub.h(), uint64(0)
	for i := range 500 {
		pub.publish(fmt.Sprintf("open/%03d", i), fmt.Sprintf("m%03d", i), 1, uint16(i+1), func(p *mqtt.Publish) { p.Retain = true })
		k.rest()
		upTo = max(upTo, uint64(k.view.Applied()))
	}
	k.drink(sub)
	for i := range 500 {
		h.replayOne(r, &r.log.subs[0], fmt.Sprintf("open/%03d", i), upTo)
		if n := len(r.look().replays); n > replaysOne+2 {
			t.Fatalf("%d replays after %d topics", n, i+1)
		}
	}
	h.wakeReplay(r)
	got := k.drink(sub)
	for i := range 500 {
		if !strings.Contains(got, fmt.Sprintf("m%03d", i)) {
			t.Fatalf("m%03d is missed of %d", i, strings.Count(got, "m"))
		}
	}
	if len(r.look().replays) != 0 {
		t.Errorf("%d replays are left", len(r.look().replays))
	}
}
