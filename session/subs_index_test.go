package session

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// TestSubscriptionsAgainstMap holds the list and its index against a map of subscriptions.
func TestSubscriptionsAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, twin := New(Key{ClientID: "c"}, 1, &Limits{}), map[string]Sub{}
		names := rapid.SampledFrom([]int{3, 16, 17, 18, 200, pieceMax, 4 * pieceMax}).Draw(t, "names")
		there := rapid.SampledFrom([]int{0, 0, pieceMax - 1, 2*pieceMax - 1, 2 * pieceMax, 3 * pieceMax}).Draw(t, "there")
		for i := range min(there, names) {
			sub := Sub{Filter: fmt.Sprintf("a/%d/+", i), Real: fmt.Sprintf("a/%d/+", i), RetainedSeen: uint64(i)}
			s.Subscribe(sub)
			twin[sub.Filter] = sub
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			i := rapid.IntRange(0, names).Draw(t, "filter")
			if n := s.Subscriptions(); n > pieceMax && i%2 == 0 { // the edges of pieces are seldom met by chance
				i = rapid.SampledFrom([]int{0, pieceMax - 1, pieceMax, n - 1}).Draw(t, "place")
				fmt.Sscanf(s.Subscription(i).Filter, "a/%d/+", &i)
			}
			filter := fmt.Sprintf("a/%d/+", i)
			if _, had := twin[filter]; rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				if s.Unsubscribe(filter) != had {
					t.Fatalf("Unsubscribe(%q) does not say %v", filter, had)
				}
				delete(twin, filter)
				continue
			}
			bits := rapid.Uint8().Draw(t, "options")
			sub := Sub{Filter: filter, Real: filter, RetainedSeen: uint64(bits), ID: uint32(bits) * 3, QoS: 2, NoLocal: bits&1 != 0, Check: bits&2 != 0, RetainAsPublished: bits&4 != 0, Exclusive: bits&8 != 0}
			if bits&16 != 0 {
				sub.Real, sub.Group = "m/"+filter, Group{Slot: 7, Gen: 1}
			}
			s.Subscribe(sub)
			twin[filter] = sub
		}
		if s.Subscriptions() != len(twin) || s.Wildcards() != len(twin) {
			t.Fatalf("%d subscriptions, %d with wildcards, want %d", s.Subscriptions(), s.Wildcards(), len(twin))
		}
		for i := range s.Subscriptions() {
			if sub := s.Subscription(i); twin[sub.Filter] != sub {
				t.Fatalf("%+v is listed, %+v is there", sub, twin[sub.Filter])
			}
		}
		for i := range names + 1 {
			filter := fmt.Sprintf("a/%d/+", i)
			want, had := twin[filter]
			if got, ok := s.Subscribed(filter); ok != had || got != want {
				t.Fatalf("Subscribed(%q) = %+v, %v, want %+v, %v", filter, got, ok, want, had)
			}
		}
		if rapid.Bool().Draw(t, "leave") {
			had := s.Leave()
			for had.Len() > 0 {
				want := had.At(had.Len() - 1)
				if sub := had.Take(); sub != want || twin[sub.Filter] != sub {
					t.Fatalf("%+v was had, %+v was there", sub, twin[sub.Filter])
				}
				delete(twin, want.Filter)
			}
			if len(twin) > 0 {
				t.Fatalf("%d are missing of what was had", len(twin))
			}
		}
		for filter := range twin {
			s.Unsubscribe(filter)
		}
		if s.subs != nil || s.many() != nil {
			t.Fatal("something is left of nothing")
		}
	})
}

// TestAllocSubscriptionIsCompact: there may be a hundred thousand of them in one session.
func TestAllocSubscriptionIsCompact(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n > 40 {
		t.Errorf("a subscription has %d bytes", n)
	}
	for n := 1; n < 10_000; n = n*5/4 + 1 {
		s := New(Key{}, 1, &Limits{})
		for i := range n {
			s.Subscribe(Sub{Filter: fmt.Sprint(i), Real: fmt.Sprint(i)})
		}
		room, cells := cap(s.subs), 0
		if s.many() != nil {
			cells = len(s.many().cells)
			if m := s.many().more; m != nil {
				for _, piece := range m.rest {
					room += cap(piece)
				}
				for _, p := range m.parts {
					cells += len(p.cells)
				}
			}
		}
		if room > n+n/8+1 {
			t.Errorf("room for %d of %d", room, n)
		}
		if cells > max(27, n*5/2) {
			t.Errorf("%d cells for %d", cells, n)
		}
	}
}

// TestAllocVeryManyGrowInPieces: what one of very many subscriptions may move is what others wait for.
func TestAllocVeryManyGrowInPieces(t *testing.T) {
	s := New(Key{}, 1, &Limits{})
	var before, after runtime.MemStats
	for i := range 20_000 {
		filter := fmt.Sprint(i)
		runtime.ReadMemStats(&before)
		s.Subscribe(Sub{Filter: filter, Real: filter})
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<10 {
			t.Fatalf("subscription %d takes %d bytes at once", i+1, n)
		}
	}
}
