// Package wheel is a hashed timing wheel for owners that hold many timers and
// one goroutine: a loop's connections, a home's sessions. Each owner is a small
// number with at most one timer, so setting, moving and clearing are constant
// time, nothing is allocated per timer beyond twelve bytes in one slice, and
// stale timers cannot pile up. It starts no goroutine and reads no clock.
package wheel

import (
	"math"
	"slices"
	"time"
)

// Tick is the resolution. A timer never fires before its time; it fires at most
// one tick after, as far as Advance is called in time and has room for it.
const Tick = 250 * time.Millisecond

const buckets = 2048 // power of two; a timer further away than this many ticks is passed over in its bucket

// Wheel is not safe for concurrent use.
type Wheel struct {
	start time.Time
	now   int64 // ticks since start that Advance has handled
	heads [buckets]int32
	nodes []node
	armed int
}

// node is one owner's timer. Links are owner numbers plus one, so that zero
// means none.
type node struct {
	next, prev int32
	due        uint32 // tick; 0: not armed. There are 34 years of them
}

// New starts at now.
func New(now time.Time) *Wheel { return &Wheel{start: now} }

// Expect makes room for the timers of so many owners.
func (w *Wheel) Expect(owners int) { w.nodes = slices.Grow(w.nodes, max(0, owners-len(w.nodes))) }

// Set arms id's timer for at, in place of an earlier one. A time that has
// passed fires with the next tick.
func (w *Wheel) Set(id uint32, at time.Time) {
	w.Clear(id)
	for int(id) >= len(w.nodes) {
		w.nodes = append(w.nodes, node{})
	}
	due := int64((at.Sub(w.start) + Tick - 1) / Tick)
	w.arm(id, min(max(due, w.now+1), math.MaxUint32))
}

func (w *Wheel) arm(id uint32, due int64) {
	b := due & (buckets - 1)
	n := &w.nodes[id]
	*n = node{next: w.heads[b], due: uint32(due)} //nolint:gosec // not negative, and no more than that
	if n.next != 0 {
		w.nodes[n.next-1].prev = int32(id) + 1
	}
	w.heads[b] = int32(id) + 1
	w.armed++
}

// Clear disarms id's timer, if there is one.
func (w *Wheel) Clear(id uint32) {
	if int(id) >= len(w.nodes) || w.nodes[id].due == 0 {
		return
	}
	n := &w.nodes[id]
	if n.prev != 0 {
		w.nodes[n.prev-1].next = n.next
	} else {
		w.heads[n.due&(buckets-1)] = n.next
	}
	if n.next != 0 {
		w.nodes[n.next-1].prev = n.prev
	}
	*n = node{}
	w.armed--
}

// Armed is how many timers are set.
func (w *Wheel) Armed() int { return w.armed }

// Next is when Advance next has something to do: the next tick while anything
// is armed, which is one that has passed if Advance had no room, else the zero time.
func (w *Wheel) Next() time.Time {
	if w.armed == 0 {
		return time.Time{}
	}
	return w.start.Add(time.Duration(w.now+1) * Tick)
}

// PutBack is for who had no room for all that fired: these fire again with the next Advance, before
// others do. One that was set since stays as it is.
func (w *Wheel) PutBack(fired []uint32) {
	if len(fired) == 0 {
		return
	}
	due := max(w.now, 1)
	for _, id := range fired {
		if w.nodes[id].due == 0 {
			w.arm(id, due)
		}
	}
	w.now = due - 1
}

// Advance appends to fired the owners whose time has come, most of them at the most, and
// disarms them. The others fire with the next calls, for which Next is then in the past: a
// thousand clients that came in one second are over in one, and others wait.
func (w *Wheel) Advance(now time.Time, fired []uint32, most int) []uint32 {
	target := int64(now.Sub(w.start) / Tick)
	if target <= w.now {
		return fired
	}
	// After a long pause each bucket needs one look, not one per missed tick.
	for t := max(w.now+1, target-buckets+1); t <= target; t++ {
		for i := w.heads[t&(buckets-1)]; i != 0; {
			id := uint32(i - 1)
			i = w.nodes[id].next
			if int64(w.nodes[id].due) > target {
				continue
			}
			if most--; most < 0 {
				w.now = t - 1
				return fired
			}
			w.Clear(id)
			fired = append(fired, id)
		}
	}
	w.now = target
	return fired
}
