package router

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/redoubtmq/redoubt/topic"
)

func unsafeString(b []byte) string { return unsafe.String(&b[0], len(b)) }

func validName(s string) bool { return topic.ValidName([]byte(s)) == nil }

func validAll(filters ...string) bool {
	for _, f := range filters {
		if topic.ValidFilter(f) != nil {
			return false
		}
	}
	return true
}

// Writers change what is around the subscriptions that stay; readers must find
// those exactly once in every match, and every writer its own from the moment
// Subscribe returned to the moment it calls Unsubscribe.
func TestConcurrentUse(t *testing.T) {
	x := New()
	stay := []string{"dev/1/state", "dev/+/state", "dev/#", "+/1/+", "#"}
	staying := func(r Ref) bool { return r.Home == 9 }
	for i := range uint32(40) { // enough for the sets to be trees
		for _, f := range stay {
			x.Subscribe(f, Subscriber{Ref: Ref{Home: 9, Slot: i}})
		}
	}
	name := []byte("dev/1/state")
	const writers, rounds = 4, 300
	var done atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			defer done.Add(1)
			var m Matches
			mine := Ref{Home: uint16(w)}
			for i := range rounds {
				own := []string{
					"dev/1/state", "dev/+/state", "#", // sets that everybody has
					fmt.Sprintf("dev/%d/%d/+", i%7, w), fmt.Sprintf("dev/%d/%d", i, w), fmt.Sprintf("%d/%d/#", i, w), // nodes that come and go
				}
				mine.Slot = uint32(i)
				for _, f := range own {
					if x.Subscribe(f, Subscriber{Ref: mine}) {
						t.Errorf("%s: replaced", f)
					}
				}
				x.Match(name, &m)
				if n := count(&m, mine); n != 3 {
					t.Errorf("%d of 3 own subscriptions are seen", n)
				}
				x.Match(fmt.Appendf(nil, "dev/%d/%d/x", i%7, w), &m)
				if n := count(&m, mine); n != 2 {
					t.Errorf("%d of 2 own subscriptions are seen", n)
				}
				for _, f := range own {
					if !x.Unsubscribe(f, mine) {
						t.Errorf("%s: was not there", f)
					}
				}
				x.Match(name, &m)
				if n := count(&m, mine); n != 0 {
					t.Errorf("%d own subscriptions are seen after they ended", n)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			var m Matches
			for done.Load() < writers {
				x.Match(name, &m)
				seen := map[Ref]int{}
				for _, s := range m.Subs {
					if staying(s.Ref) {
						seen[s.Ref]++
					}
				}
				for r, n := range seen {
					if n != len(stay) {
						t.Errorf("%v is seen %d times, want %d", r, n, len(stay))
						return
					}
				}
				if len(seen) != 40 {
					t.Errorf("%d of 40 are seen", len(seen))
					return
				}
				x.Stats()
			}
		})
	}
	wg.Wait()
	if got := x.Stats(); got != (Stats{Exact: 1, Wildcard: 4, Subscribers: 200}) {
		t.Errorf("left: %+v", got)
	}
}

func count(m *Matches, ref Ref) (n int) {
	for _, s := range m.Subs {
		if s.Ref == ref {
			n++
		}
	}
	return n
}
