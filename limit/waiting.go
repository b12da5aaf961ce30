package limit

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Waiting holds those who were let in and have not said who they are, up to a
// cap, by the network they come from. At the cap somebody makes room for whoever
// comes next:
//
//   - the source that has the most gives up the one that has kept us waiting
//     longest, so that a flood evicts itself and leaves others alone;
//   - one that waits for us (a handshake in the queue for a processor, a password
//     being checked) makes room only for a source that has fewer: between equals,
//     as when all devices come back after a power cut, throwing away what is
//     nearly done would leave nothing done. Then the newcomer is refused.
//
// Every operation takes constant time: sources with the same number are one list.
// It is safe for concurrent use.
type Waiting struct {
	n, max atomic.Int64 // changed under mu

	mu      sync.Mutex // guards everything below, and what is in it
	sources map[netip.Prefix]*source
	byCount []sources // [i]: the sources with i waiting, whoever came to that first in front
	evicted int       // whose owners have not noticed yet
}

// What counts as one source: the network one owner has at least. A household has
// a /56 of IPv6, a small provider a /24 of IPv4.
const (
	sourceBits4 = 24
	sourceBits6 = 56
)

// EvictedMax bounds how many may be evicted and still be there because their
// owner has not come to it, entries; so many more than the cap can exist for a
// moment. It fits the descriptors that are kept in reserve.
const EvictedMax = 256

// victimLook is how many are looked at to find one who keeps us waiting.
const victimLook = 16

// source is a network with somebody waiting.
type source struct {
	at          netip.Prefix
	n           int
	first, last *Waiter // oldest first
	prev, next  *source // with as many
}

type sources struct{ first, last *source }

// Waiter is one who waits. The zero pointer is nobody: all its methods do nothing.
type Waiter struct {
	table      *Waiting
	from       *source // nil: it waits no longer
	prev, next *Waiter
	evict      func()
	busy, out  bool // waits for us; was evicted
}

// NewWaiting caps at max; 0 or less admits nobody.
func NewWaiting(max int64) *Waiting {
	t := &Waiting{sources: map[netip.Prefix]*source{}, byCount: make([]sources, 1)}
	t.max.Store(max)
	return t
}

// Join lets one of a in. If the cap is reached, or full says that there is no
// room for another reason, somebody else is evicted: the caller calls evict, if it
// is not nil. ok is false when nobody is to make room; then nothing has changed.
func (t *Waiting) Join(a netip.Addr, full bool) (w *Waiter, evict func(), ok bool) {
	if t.max.Load() < 1 {
		return nil, nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := sourceOf(a)
	if full || t.n.Load() >= t.max.Load() {
		v := t.victim(at)
		if v == nil {
			return nil, nil, false
		}
		t.remove(v)
		v.out = true
		t.evicted++
		evict = v.evict
	}
	w = &Waiter{table: t}
	t.add(w, at)
	return w, evict, true
}

// Evictable says what ends w, from any goroutine; until then w is nobody's victim.
// end must not block.
func (w *Waiter) Evictable(end func()) {
	if w == nil {
		return
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.evict = end
}

// Busy says whose turn it is: ours (true), or that of the one who waits. A newcomer
// has the turn.
func (w *Waiter) Busy(ours bool) {
	if w == nil {
		return
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.busy = ours
}

// WaitsForUs answers what Busy was told last.
func (w *Waiter) WaitsForUs() bool {
	if w == nil {
		return false
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	return w.busy
}

// Evicted tells whether w had to make room and has not left yet.
func (w *Waiter) Evicted() bool {
	if w == nil {
		return false
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	return w.out
}

// Leave ends the waiting; ok is false when w had to make room before.
func (w *Waiter) Leave() (ok bool) {
	if w == nil {
		return true
	}
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case w.from != nil:
		t.remove(w)
		return true
	case !w.out:
		panic("BUG: limit: one who waits has left twice")
	}
	w.out = false
	t.evicted--
	return false
}

// InUse is how many wait now.
func (t *Waiting) InUse() int64 { return t.n.Load() }

// Max is the cap.
func (t *Waiting) Max() int64 { return t.max.Load() }

// SetMax changes the cap. Who is there stays; with a lower cap each newcomer takes
// somebody's place until enough have left.
func (t *Waiting) SetMax(max int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max.Store(max)
}

// sourceOf is the network a is counted with; all without an address are one.
func sourceOf(a netip.Addr) netip.Prefix {
	a = plain(a)
	bits := sourceBits6
	if a.Is4() {
		bits = sourceBits4
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p
}

// victim is who makes room for one more of a source. What the source would have
// then is what it is judged by.
func (t *Waiting) victim(at netip.Prefix) *Waiter {
	if t.evicted >= EvictedMax {
		return nil
	}
	own, had := t.sources[at], 0
	if own != nil {
		had = own.n
	}
	most := len(t.byCount) - 1
	look := victimLook
	var oldest *Waiter // of the heaviest, if it has more
	if most > had {
		for s := t.byCount[most].first; s != nil && look > 0; s = s.next {
			v := s.keepsUsWaiting(&look)
			if v != nil {
				return v
			}
			if oldest == nil && most > had+1 {
				oldest = s.evictable()
			}
		}
	}
	if own != nil && had+1 >= most {
		return own.keepsUsWaiting(&look)
	}
	return oldest
}

// keepsUsWaiting is the oldest of s whose turn it is, among the next few.
func (s *source) keepsUsWaiting(look *int) *Waiter {
	for v := s.first; v != nil && *look > 0; v = v.next {
		*look--
		if v.evict != nil && !v.busy {
			return v
		}
	}
	return nil
}

// evictable is the oldest of s, or nil if it has just come.
func (s *source) evictable() *Waiter {
	if s.first.evict == nil {
		return nil
	}
	return s.first
}

func (t *Waiting) add(w *Waiter, at netip.Prefix) {
	s := t.sources[at]
	if s == nil {
		s = &source{at: at}
		t.sources[at] = s
	}
	w.from, w.prev = s, s.last
	if s.last == nil {
		s.first = w
	} else {
		s.last.next = w
	}
	s.last = w
	t.n.Add(1)
	t.move(s, s.n+1)
}

func (t *Waiting) remove(w *Waiter) {
	s := w.from
	if w.prev == nil {
		s.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		s.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.from, w.prev, w.next = nil, nil, nil
	t.n.Add(-1)
	t.move(s, s.n-1)
}

// move lists s among those with n. The highest number is that of the last list.
func (t *Waiting) move(s *source, n int) {
	if s.n > 0 {
		from := &t.byCount[s.n]
		if s.prev == nil {
			from.first = s.next
		} else {
			s.prev.next = s.next
		}
		if s.next == nil {
			from.last = s.prev
		} else {
			s.next.prev = s.prev
		}
	}
	s.n, s.prev, s.next = n, nil, nil
	if n == 0 {
		delete(t.sources, s.at)
	} else {
		if n == len(t.byCount) {
			t.byCount = append(t.byCount, sources{})
		}
		to := &t.byCount[n]
		s.prev = to.last
		if to.last == nil {
			to.first = s
		} else {
			to.last.next = s
		}
		to.last = s
	}
	for top := len(t.byCount) - 1; top > 0 && t.byCount[top].first == nil; top-- {
		t.byCount = t.byCount[:top]
	}
}
