package session

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// pretend says that a session has used identifiers up to id.
func (s *Session) pretend(id uint16) {
	s.out.lastID = id
	if s.out.burden != &unburdened {
		s.out.unused = 0
	}
}

// A large window goes on at its size without moving all of it at each acknowledgement, gives nobody an identifier that is in
// use, keeps its order, and holds no message that was acknowledged.
func TestALargeWindowSlides(t *testing.T) {
	const most = 300
	l := newLedger(t)
	s := New(Key{}, 1, &Limits{InflightMax: most, MqueueMessages: 10, MqueueBytes: 1 << 20})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: most}, nil)
	s.pretend(65000)
	var under []uint16
	var used [1 << 16]bool
	r := rand.New(rand.NewPCG(1, 2))
	for range 67_000 { // all identifiers once
		outs := s.Deliver(now0, Delivery{Frame: l.frame("a", "b"), QoS: 1}, nil)
		if len(outs) != 1 || used[outs[0].ID] {
			t.Fatalf("sent %+v, with %v under way", outs, under)
		}
		under, used[outs[0].ID] = append(under, outs[0].ID), true
		outs[0].Done()
		if len(under) == most { // mostly the first one, some in another order, and one never
			i := min(r.IntN(60)*r.IntN(2)*r.IntN(2), most-1)
			if under[i] == 65001 {
				i++
			}
			s.Puback(now0, under[i], nil)
			used[under[i]] = false
			under = slices.Delete(under, i, i+1)
		}
	}
	if s.Inflight() != len(under) || under[0] != 65001 {
		t.Fatalf("%d under way, want %d, from %d on", s.Inflight(), len(under), under[0])
	}
	for i, id := range under {
		if s.out.inflight[i].id != id {
			t.Fatalf("entry %d is %d, want %d", i, s.out.inflight[i].id, id)
		}
	}
	if n := len(s.out.room); n > 4*most {
		t.Errorf("room for %d, of at most %d", n, most)
	}
	checkRoom(t, s)
	for _, id := range slices.Backward(under) {
		s.Puback(now0, id, nil)
	}
	if s.out.inflight != nil || s.out.room != nil {
		t.Errorf("nothing is under way: room for %d", len(s.out.room))
	}
	s.Discard()
	l.settle()
}

// checkRoom looks at the array of a large window: inflight is its end, and nothing else is in it.
func checkRoom(t *testing.T, s *Session) {
	t.Helper()
	in, room := s.out.inflight, s.out.room
	if room == nil {
		return
	}
	if len(in) > 0 && &in[:cap(in)][cap(in)-1] != &room[len(room)-1] {
		t.Fatalf("%d are under way in another array than the one that is kept for them", len(in))
	}
	held := 0
	for i := range room {
		if room[i].frame != nil {
			held++
		}
	}
	if held != len(in) {
		t.Fatalf("the array has %d messages, %d are under way", held, len(in))
	}
}

// A window that grows and shrinks holds what is under way, and no message that was acknowledged.
func TestAWindowGrowsAndShrinks(t *testing.T) {
	l := newLedger(t)
	s := New(Key{}, 1, &Limits{InflightMax: 1000, MqueueMessages: 10, MqueueBytes: 1 << 20})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: 1000}, nil)
	r := rand.New(rand.NewPCG(3, 4))
	var under []uint16
	for round := range 100 {
		want := []int{0, 1, 2, 5, 20, 31, 32, 33, 64, 100, 700}[r.IntN(11)]
		for len(under) != want || r.IntN(50) > 0 {
			if len(under) < want || len(under) == want && len(under) > 0 && r.IntN(2) == 0 && len(under) < 1000 {
				outs := s.Deliver(now0, Delivery{Frame: l.frame("a", "b"), QoS: 1}, nil)
				under = append(under, outs[0].ID)
				outs[0].Done()
			} else if len(under) > 0 {
				i := 0
				if round%2 == 0 {
					i = r.IntN(len(under))
				}
				s.Puback(now0, under[i], nil)
				under = slices.Delete(under, i, i+1)
			}
			checkRoom(t, s)
		}
		for i, id := range under {
			if s.out.inflight[i].id != id {
				t.Fatalf("round %d: entry %d is %d, want %d", round, i, s.out.inflight[i].id, id)
			}
		}
		if n := len(under); n != s.Inflight() || len(s.out.room) > 4*700 {
			t.Fatalf("round %d: %d under way, want %d; room for %d", round, s.Inflight(), n, len(s.out.room))
		}
	}
	s.Discard()
	l.settle()
}

// Identifiers that many in a row have are gone over one by one, and not by a look at all for each.
func TestIdentifiersInUseAreGoneOver(t *testing.T) {
	const most = 60_000
	s := New(Key{}, 1, &Limits{InflightMax: most, MqueueMessages: 10, MqueueBytes: 1 << 30})
	s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: most}, nil)
	f := mqtt.NewFrame([]byte("a"), nil, []byte("x"))
	send := func() uint16 {
		outs := s.Deliver(now0, Delivery{Frame: f, QoS: 1}, nil)
		outs[0].Done()
		return outs[0].ID
	}
	for range most - 1 {
		send()
	}
	for _, hole := range []uint16{0, 3_000} { // behind the first one
		for id := uint16(2); id <= hole; id++ {
			s.Puback(now0, id, nil)
		}
		for range 65_535 - most + int(hole) + 10 { // the newest is acknowledged, and all others never
			id := send()
			if id == 1 || id > hole && id < most {
				t.Fatalf("identifier %d is in use", id)
			}
			s.Puback(now0, id, nil)
		}
	}
	s.Discard()
}

// BenchmarkWindow is a message sent and the oldest one acknowledged, with a window full of them.
func BenchmarkWindow(b *testing.B) {
	for _, most := range []int{32, 1000, 65_000} {
		b.Run(strconv.Itoa(most), func(b *testing.B) {
			s := New(Key{}, 1, &Limits{InflightMax: most, MqueueMessages: 10, MqueueBytes: 1 << 30})
			s.Attach(now0, Attachment{Version: mqtt.V5, ReceiveMaximum: uint16(most)}, nil)
			f := mqtt.NewFrame([]byte("a"), nil, []byte("x"))
			var outs []Out
			send := func() uint16 {
				outs = s.Deliver(now0, Delivery{Frame: f, QoS: 1}, outs[:0])
				outs[0].Done()
				return outs[0].ID
			}
			oldest := send()
			for range most - 2 {
				send()
			}
			b.ReportAllocs()
			for b.Loop() {
				send()
				outs, _ = s.Puback(now0, oldest, outs[:0])
				if oldest++; oldest == 0 {
					oldest = 1
				}
			}
		})
	}
}
