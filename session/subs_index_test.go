package session

import (
	"fmt"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// TestSubscriptionsAgainstMap holds the list and its index against a map of subscriptions.
func TestSubscriptionsAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, twin := New(Key{ClientID: "c"}, 1, &Limits{}), map[string]Sub{}
		names := rapid.SampledFrom([]int{3, 16, 17, 18, 200}).Draw(t, "names")
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			filter := fmt.Sprintf("a/%d/+", rapid.IntRange(0, names).Draw(t, "filter"))
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
		for filter := range twin {
			s.Unsubscribe(filter)
		}
		if s.subs != nil || s.many != nil {
			t.Fatal("something is left of nothing")
		}
	})
}

// TestAllocSubscriptionIsCompact: there may be a hundred thousand of them in one session.
func TestAllocSubscriptionIsCompact(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n > 40 {
		t.Errorf("a subscription has %d bytes", n)
	}
	s := New(Key{}, 1, &Limits{})
	for i := range 1000 {
		s.Subscribe(Sub{Filter: fmt.Sprint(i), Real: fmt.Sprint(i)})
	}
	if n := cap(s.subs); n > 1000+1000/8+1 {
		t.Errorf("room for %d of 1000", n)
	}
}
