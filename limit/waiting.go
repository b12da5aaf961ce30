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
// Those who are known have a share of the places. As long as they have less of
// those that are taken, a known newcomer takes one of a stranger, whosever turn it
// is, and no stranger takes one of theirs; beyond it they are like all others. So
// the share is kept free for nobody, and no flood can take it.
//
// Every operation takes constant time: sources with the same number are one list.
// It is safe for concurrent use.
type Waiting struct {
	n, max atomic.Int64 // changed under mu

	mu      sync.Mutex // guards everything below, and what is in it
	share   int64      // percent, of the known
	sources map[sourceKey]*source
	classes [2]class // strangers, known
	evicted int      // whose owners have not noticed yet
}

// sourceKey: the known of a network are counted apart from the strangers in it.
type sourceKey struct {
	at    netip.Prefix
	known int // index of classes
}

// class is the sources of strangers, or of the known.
type class struct {
	n       int64     // who wait
	byCount []sources // [i]: the sources with i waiting, whoever came to that first in front
}

// most is how many the heaviest source has.
func (c *class) most() int { return len(c.byCount) - 1 }

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
	of          sourceKey
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
	t := &Waiting{sources: map[sourceKey]*source{}}
	for i := range t.classes {
		t.classes[i].byCount = make([]sources, 1)
	}
	t.max.Store(max)
	return t
}

// Join lets one of a in, who is a stranger. See JoinAs.
func (t *Waiting) Join(a netip.Addr, full bool) (w *Waiter, evict func(), ok bool) {
	return t.JoinAs(a, full, false)
}

// JoinAs lets one of a in, known or not. If the cap is reached, or full says that there is no
// room for another reason, somebody else is evicted: the caller calls evict, if it
// is not nil. ok is false when nobody is to make room; then nothing has changed.
func (t *Waiting) JoinAs(a netip.Addr, full, known bool) (w *Waiter, evict func(), ok bool) {
	if t.max.Load() < 1 {
		return nil, nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := sourceKey{at: sourceOf(a)}
	if known && t.share > 0 {
		at.known = 1
	}
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

// Prove counts w among the known from now on: it has shown who it is, and has not
// been let in yet.
func (w *Waiter) Prove() {
	if w == nil {
		return
	}
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.from == nil || w.from.of.known == 1 || t.share == 0 {
		return
	}
	at := sourceKey{w.from.of.at, 1}
	t.remove(w)
	t.add(w, at)
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

// SetShare gives the known a share of the places, percent; 0: none, and who comes
// from then on is a stranger.
func (t *Waiting) SetShare(percent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.share = int64(percent)
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
func (t *Waiting) victim(at sourceKey) *Waiter {
	strangers, known := &t.classes[0], &t.classes[1]
	within := known.n*100 < t.share*t.n.Load() // the known have less than their share
	most := EvictedMax
	if at.known == 0 { // a flood that evicts itself must not use up what the known need
		most -= int(t.share) * EvictedMax / 100
	}
	if t.evicted >= most {
		return nil
	}
	if at.known == 1 && within {
		look := victimLook
		if v := strangers.victim(-1, &look); v != nil {
			return v
		}
	}
	own, had := t.sources[at], 0
	if own != nil {
		had = own.n
	}
	from := []*class{strangers, known}
	switch {
	case within && at.known == 0:
		from = from[:1]
	case known.most() > strangers.most():
		from = []*class{known, strangers}
	}
	look := victimLook
	heaviest := 0
	var oldest *Waiter
	for _, c := range from {
		heaviest = max(heaviest, c.most())
		v := c.victim(had, &look)
		if v != nil && !v.busy {
			return v
		}
		if oldest == nil {
			oldest = v
		}
	}
	if own != nil && had+1 >= heaviest {
		return own.keepsUsWaiting(&look)
	}
	return oldest
}

// victim is who of the heaviest sources makes room for one of a source that has had:
// who keeps us waiting, if they have more than it, or else the oldest, if they would
// still have more with one less.
func (c *class) victim(had int, look *int) (oldest *Waiter) {
	most := c.most()
	if most <= had {
		return nil
	}
	for s := c.byCount[most].first; s != nil && *look > 0; s = s.next {
		v := s.keepsUsWaiting(look)
		if v != nil {
			return v
		}
		if oldest == nil && most > had+1 {
			oldest = s.evictable()
		}
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

func (t *Waiting) add(w *Waiter, at sourceKey) {
	s := t.sources[at]
	if s == nil {
		s = &source{of: at}
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
	t.classes[at.known].n++
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
	t.classes[s.of.known].n--
	t.move(s, s.n-1)
}

// move lists s among those with n. The highest number is that of the last list.
func (t *Waiting) move(s *source, n int) {
	c := &t.classes[s.of.known]
	if s.n > 0 {
		from := &c.byCount[s.n]
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
		delete(t.sources, s.of)
	} else {
		if n == len(c.byCount) {
			c.byCount = append(c.byCount, sources{})
		}
		to := &c.byCount[n]
		s.prev = to.last
		if to.last == nil {
			to.first = s
		} else {
			to.last.next = s
		}
		to.last = s
	}
	for top := len(c.byCount) - 1; top > 0 && c.byCount[top].first == nil; top-- {
		c.byCount = c.byCount[:top]
	}
}
