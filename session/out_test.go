package session

import (
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAppendInPieces: a socket may take a packet in any pieces; together they are
// the packet.
func TestAppendInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(t)
		o := genOut(t, l)
		v := rapid.SampledFrom([]mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}).Draw(t, "version")
		whole, n, end := o.Append(nil, v, now0, 0, mqtt.PacketMax)
		if n != len(whole) || !end {
			t.Fatalf("%d of %d bytes, end %v", n, len(whole), end)
		}
		if len(whole) > o.Cost() {
			t.Fatalf("%d bytes were said to cost %d", len(whole), o.Cost())
		}
		var b []byte
		for end = false; !end; {
			b, n, end = o.Append(b, v, now0, len(b), rapid.IntRange(1, 40).Draw(t, "room"))
			if n == 0 {
				t.Fatal("no progress")
			}
		}
		if string(b) != string(whole) {
			t.Fatalf("% x in pieces, % x at once", b, whole)
		}
		if o.Kind == OutPublish {
			b = b[:0]
			for end = false; !end; {
				var payload []byte
				before, room := len(b), rapid.IntRange(1, 60).Draw(t, "room")
				most := room + rapid.IntRange(0, 20).Draw(t, "slack")
				b, payload, n, end = o.Lend(b, v, now0, len(b), room, most)
				if b = append(b, payload...); n == 0 || n != len(b)-before || n > most || n > room && !end {
					t.Fatalf("%d bytes, room for %d, at most %d, end %v", n, room, most, end)
				}
				if len(payload) > 0 && !within(payload, o.Frame.Payload()) {
					t.Fatal("the payload was copied")
				}
			}
			if string(b) != string(whole) {
				t.Fatalf("% x lent, % x at once", b, whole)
			}
		}
		o.Done()
		o.Done() // again is harmless: the frame is gone from it
		l.settle()
	})
}

// within tells whether part lies in the memory of all.
func within(part, all []byte) bool {
	for i := range all {
		if &all[i] == &part[0] {
			return true
		}
	}
	return false
}

func genOut(t *rapid.T, l *ledger) Out {
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return Out{Kind: OutAck, Ack: rapid.SampledFrom([]mqtt.Type{mqtt.PUBACK, mqtt.PUBREC}).Draw(t, "ack"), ID: 9, Reason: mqtt.NotAuthorized}
	case 1:
		return Packet(rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "packet"))
	}
	f := l.frame(rapid.StringN(1, 40, 80).Draw(t, "topic"), rapid.StringN(0, 200, 300).Draw(t, "payload"))
	if rapid.Bool().Draw(t, "expires") {
		f.ExpiresAt = now0.UnixMilli() + rapid.Int64Range(-5000, 1<<42).Draw(t, "expiry")
	}
	o := Out{Kind: OutPublish, Frame: f.Hold(), Flags: Flags(rapid.IntRange(0, 2).Draw(t, "qos")), ID: 0xFFFF}
	if rapid.Bool().Draw(t, "retain") {
		o.Flags |= FlagRetain
	}
	switch rapid.IntRange(0, 2).Draw(t, "subscription identifiers") {
	case 1:
		o.SubID = rapid.Uint32Range(1, 268_435_455).Draw(t, "id")
	case 2:
		o.SubIDs = rapid.SliceOfN(rapid.Uint32Range(1, 268_435_455), 2, 80).Draw(t, "ids")
	}
	return o
}

// TestCostCountsSubscriptionIdentifiers: send queues are bounded by Cost, so it
// may not be below what goes out.
func TestCostCountsSubscriptionIdentifiers(t *testing.T) {
	l := newLedger(t)
	o := Out{Kind: OutPublish, Frame: l.frame("a", "b").Hold(), SubIDs: make([]uint32, 100)}
	for i := range o.SubIDs {
		o.SubIDs[i] = 268_435_455 // the largest: four bytes
	}
	if b, _, _ := o.Append(nil, mqtt.V5, now0, 0, mqtt.PacketMax); o.Cost() < len(b) {
		t.Errorf("%d bytes were said to cost %d", len(b), o.Cost())
	}
	o.Done()
	l.settle()
}

// TestOutOfNoKind is our own mistake and says so.
func TestOutOfNoKind(t *testing.T) {
	var o Out
	if said := panicOf(func() { o.Append(nil, mqtt.V5, now0, 0, 1) }); len(said) < 3 || said[:3] != "BUG" {
		t.Errorf("panic %q", said)
	}
}

// TestIdleSessionHoldsNothing: a burst must not stay with a session that is idle
// afterwards; there are a million of them (A042).
func TestIdleSessionHoldsNothing(t *testing.T) {
	l := newLedger(t)
	lim := &Limits{InflightMax: 1000, MqueueMessages: 1000, MqueueBytes: 1 << 20, WaitMax: time.Hour}
	s := New(Key{}, 1, lim)
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 100, ExpirySeconds: 60}, nil)
	done := func(outs []Out, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range outs {
			outs[i].Done()
		}
	}
	for range 500 {
		done(s.Deliver(now0, Delivery{Frame: l.frame("a", "b"), QoS: 1}, nil), nil)
	}
	for range 200 {
		s.Await(1, 1)
	}
	for id := range uint16(500) {
		done(s.Puback(now0, id+1, nil))
	}
	for s.Busy() {
		s.Settle(mqtt.Success, nil)
	}
	if got := stateWords(s); got != "empty" {
		t.Fatal(got)
	}
	if n := cap(s.out.inflight); n > windowFew {
		t.Errorf("inflight has room for %d", n)
	}
	if s.out.queue.q0.in != nil || s.out.queue.q12.in != nil || s.got().pending.in != nil {
		t.Error("a ring is empty and holds memory")
	}
	s.Discard()
	l.settle()
}

// There is one for every device, also for those who are away: a part of the broker's resident.
func TestSessionAllocatesAsMuchAsItDid(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 136 {
		t.Errorf("a Session has %d bytes", n)
	}
}

// TestNobodyPutsAnythingIntoWhatAllShare: sessions that never had anything under way have one
// burden together, and what one put into it would be everybody's.
func TestNobodyPutsAnythingIntoWhatAllShare(t *testing.T) {
	s := New(Key{}, 1, &Limits{InflightMax: 10, MqueueMessages: 10, MqueueBytes: 1 << 20})
	if s.out.burden != &unburdened {
		t.Fatal("a new session has a burden of its own")
	}
	f := mqtt.NewFrame([]byte("a"), nil, []byte("x"))
	for q := range mqtt.QoS(3) {
		s.Deliver(time.Unix(0, 0), Delivery{Frame: f, QoS: q}, nil) // QoS 0 is not kept, the others wait
	}
	if n, _ := s.Queued(); n != 2 || s.out.burden == &unburdened || len(unburdened.inflight) > 0 || unburdened.queue != (mqueue{}) {
		t.Errorf("%d wait; the shared one has %+v", n, unburdened)
	}
	s.Discard()
	if unburdened.queue != (mqueue{}) || unburdened.inflight != nil || unburdened.room != nil || unburdened.unused != 0 {
		t.Errorf("the shared one has %+v", unburdened)
	}
}

// A borrowed window goes back empty, however full it was: the next who borrows it must not
// find, nor keep, what somebody else had under way.
func TestAWindowIsGivenBackEmpty(t *testing.T) {
	for _, n := range []int{windowFew + 1, windowUsual, windowUsual + 8} {
		l := newLedger(t)
		s := New(Key{}, 1, &Limits{InflightMax: 100, MqueueMessages: 10, MqueueBytes: 1 << 20})
		s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 100}, nil)
		var outs []Out
		for range n {
			outs = s.Deliver(now0, Delivery{Frame: l.frame("a", "b"), QoS: 1}, outs)
		}
		room := s.out.inflight[:cap(s.out.inflight)]
		if lent := cap(room) == windowUsual; lent != (n <= windowUsual) {
			t.Errorf("%d are under way: room for %d", n, len(room))
		}
		for i := range outs {
			outs[i].Done()
		}
		for i := range n {
			s.Puback(now0, outs[n-1-i].ID, nil)
		}
		for i, e := range room {
			if e.frame != nil || e.id != 0 || e.seq != 0 || e.subIDs != nil {
				t.Errorf("%d were under way: %d is left in what goes back: %+v", n, i, e)
			}
		}
		if s.out.inflight != nil {
			t.Errorf("%d were under way: an idle session has room for %d", n, cap(s.out.inflight))
		}
		s.Discard()
		l.settle()
	}
}

// Whoever is away has room for what is under way, and the window that was lent goes back empty.
func TestAWindowDoesNotStayWithWhoIsAway(t *testing.T) {
	l := newLedger(t)
	s := New(Key{}, 1, &Limits{InflightMax: 100, MqueueMessages: 10, MqueueBytes: 1 << 20})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 100, ExpirySeconds: 60}, nil)
	var outs []Out
	for range 7 {
		outs = s.Deliver(now0, Delivery{Frame: l.frame("a", "b"), QoS: 1}, outs)
	}
	lent := s.out.inflight[:windowUsual]
	s.Detach(now0, true)
	if n := cap(s.out.inflight); n != 7 || s.Inflight() != 7 {
		t.Errorf("%d are under way, with room for %d", s.Inflight(), n)
	}
	for i := range lent {
		if lent[i].frame != nil {
			t.Errorf("%d is left in what went back", i)
		}
	}
	for i := range outs {
		if s.out.inflight[i].id != outs[i].ID || s.out.inflight[i].frame == nil {
			t.Errorf("%d is not what it was: %+v", i, s.out.inflight[i])
		}
		outs[i].Done()
	}
	s.Discard()
	l.settle()
}

// After a start very many are away: each has room for what it had under way, and no more.
func TestARestoredSessionHasNoRoomToSpare(t *testing.T) {
	s := New(Key{}, 1, &Limits{InflightMax: 100, MqueueMessages: 10, MqueueBytes: 1 << 20})
	s.Keep()
	s.RestoreOut(1, 9, make([]OutEntry, 9))
	if n := cap(s.out.inflight); n != 9 {
		t.Errorf("room for %d, of 9 under way", n)
	}
}
