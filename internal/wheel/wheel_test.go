package wheel

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAgainstPlainTwin drives the wheel and a map of times with the same
// operations: what fires, and when, must be the same.
func TestAgainstPlainTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1_000_000, 0)
		now := start
		w := New(start)
		twin := map[uint32]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := rapid.Uint32Range(0, 20).Draw(t, "id")
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				at := now.Add(time.Duration(rapid.IntRange(-5_000, 2_000_000).Draw(t, "ms")) * time.Millisecond)
				w.Set(id, at)
				twin[id] = at
			case 2:
				w.Clear(id)
				delete(twin, id)
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 1_500_000).Draw(t, "step")) * time.Millisecond)
				most := rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "most")
				got := w.Advance(now, nil, most)
				if len(got) > most {
					t.Fatalf("%d fired, at most %d may", len(got), most)
				}
				for more := got; len(more) == most && !w.Next().IsZero() && !w.Next().After(now); got = append(got, more...) {
					more = w.Advance(now, nil, most) // the rest is not forgotten
				}
				handled := now.Sub(start).Truncate(Tick) // only whole ticks have passed
				if back := got[:rapid.IntRange(0, len(got)).Draw(t, "back")]; len(back) > 0 {
					w.PutBack(slices.Clone(back))
					if next := w.Next(); next.After(now) {
						t.Fatalf("%v were put back and fire at %v, after %v", back, next, now)
					}
					again := w.Advance(now, nil, 1000)
					slices.Sort(again)
					want := slices.Clone(back)
					if slices.Sort(want); !slices.Equal(again, want) {
						t.Fatalf("%v fire again, of %v", again, want)
					}
				}
				for _, id := range got {
					at, ok := twin[id]
					if !ok || at.After(now) {
						t.Fatalf("timer %d fired at %v, was due %v (armed %v)", id, now, at, ok)
					}
					delete(twin, id)
				}
				for id, at := range twin {
					// An overdue timer set since the last tick waits for the next one.
					if late := start.Add(handled).Sub(at); late >= Tick {
						if int64(w.nodes[id].due) <= int64(handled/Tick) {
							t.Fatalf("timer %d due %v did not fire at %v", id, at, now)
						}
					}
				}
			}
			if w.Armed() != len(twin) {
				t.Fatalf("%d armed, want %d", w.Armed(), len(twin))
			}
		}
	})
}

func TestFiresOnceWithinOneTickAndInNoOrder(t *testing.T) {
	start := time.Unix(0, 0)
	w := New(start)
	w.Set(3, start.Add(5*Tick+Tick/2))
	w.Set(1, start.Add(6*Tick))
	if got := w.Advance(start.Add(6*Tick-1), nil, 10); len(got) != 0 {
		t.Fatalf("fired %v before its time", got)
	}
	got := w.Advance(start.Add(6*Tick), nil, 10)
	slices.Sort(got)
	if !slices.Equal(got, []uint32{1, 3}) {
		t.Fatalf("fired %v, want 1 and 3", got)
	}
	if got := w.Advance(start.Add(time.Hour), nil, 10); len(got) != 0 || !w.Next().IsZero() {
		t.Fatalf("fired %v again; next %v", got, w.Next())
	}
}

func BenchmarkSet(b *testing.B) {
	w := New(time.Unix(0, 0))
	at := time.Unix(300, 0)
	for i := 0; b.Loop(); i++ {
		w.Set(uint32(i%10_000), at)
	}
}

// Who expects many timers moves none of them while they come.
func TestExpectedTimersAreNotMoved(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	w := New(now)
	const n = 3000
	w.Expect(n)
	room := cap(w.nodes)
	for id := range uint32(n) {
		w.Set(id, now.Add(time.Hour))
	}
	if cap(w.nodes) != room || w.Armed() != n {
		t.Errorf("room for %d became %d, %d armed", room, cap(w.nodes), w.Armed())
	}
}
