package retain

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// One writer puts version v under topic v mod n, so that a reader which has read
// Version knows the least version it must find under every topic. Others churn
// around them. Readers hold frames beyond the walk and read their bytes, which
// nobody may have used again.
func TestPutAgainstWalk(t *testing.T) {
	const topics, puts = 40, 4000
	s := New(unlimited)
	var base uint64
	for i := range topics { // versions 1..topics: topic i has version i+1
		base = put(t, s, frame(fmt.Sprintf("v/%d/x", i), fmt.Sprintf("v/%d/x", i)))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop.Store(true)
		for i := range puts {
			name := fmt.Sprintf("v/%d/x", i%topics)
			f := frame(name, name)
			if i%3 == 0 {
				f.ExpiresAt = 1 << 50
			}
			if v, err := s.Put(f); err != nil || v != base+uint64(i)+1 {
				t.Errorf("version %d, want %d, %v", v, base+uint64(i)+1, err)
				return
			}
			f.Release()
			s.Sweep(at(int64(i)), 2)
		}
	})
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				known := s.Version()
				seen := map[string]uint64{}
				var held []*mqtt.Frame
				var cur Cursor
				for done := false; !done; {
					done = s.Walk(at(0), "v/+/x", &cur, 7, func(f *mqtt.Frame) bool {
						if _, twice := seen[string(f.Topic())]; twice {
							t.Errorf("%s is visited twice", f.Topic())
						}
						seen[string(f.Topic())] = f.Version
						held = append(held, f.Hold())
						return true
					})
				}
				for _, f := range held {
					if string(f.Topic()) != string(f.Payload()) {
						t.Errorf("%s holds %s: used again while held", f.Topic(), f.Payload())
					}
					f.Release()
				}
				for i := range uint64(topics) {
					least := i + 1
					if known > base { // the last round number k with base+1+i+k*topics <= known
						if d := known - base - 1; d >= i {
							least = base + 1 + i + (d-i)/topics*topics
						}
					}
					if got := seen[fmt.Sprintf("v/%d/x", i)]; got < least {
						t.Errorf("version %d was announced, and topic %d is seen at %d, not %d", known, i, got, least)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// Several writers: versions are given out once and without gaps, and quotas hold.
func TestConcurrentPuts(t *testing.T) {
	s := New(Options{MessagesMax: 50, BytesMax: -1})
	var mu sync.Mutex
	given := map[uint64]bool{}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				payload := "x"
				if i%5 == 0 {
					payload = ""
				}
				f := frame(fmt.Sprintf("%d/%d", w, i%30), payload)
				v, err := s.Put(f)
				f.Release()
				if n, _ := s.Stats(); n > 50 {
					t.Errorf("%d messages", n)
				}
				if err != nil {
					continue
				}
				mu.Lock()
				if given[v] {
					t.Errorf("version %d twice", v)
				}
				given[v] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if uint64(len(given)) != s.Version() {
		t.Errorf("%d versions given out, the last is %d", len(given), s.Version())
	}
}

// Those who ask for a message, which is noted, do so side by side with those who look for
// another in the same block.
func TestReadersNoteWhatTheyAskForSideBySide(t *testing.T) {
	s := newShelfStore(1 << 20)
	for i := range 20 {
		s.say(fmt.Sprintf("a/%d", i), "x", 0)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 200 {
				var cur Cursor
				s.Walk(at(0), fmt.Sprintf("a/%d", (i+k)%20), &cur, 1, func(*mqtt.Frame) bool { return true })
			}
		})
	}
	wg.Wait()
}
