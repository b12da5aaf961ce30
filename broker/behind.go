package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/router"
)

// behindPerTurn is how many deliveries of messages for many a home takes from others in one
// turn. A message for ten thousand is some ten milliseconds of them, and others wait (D-07).
const behindPerTurn = 32

// behind is what others have sent for many, and this home had no turn for. What is for few
// goes past it, unless it is for a session that waits here itself: what a session gets stays
// in its order.
type behind struct {
	items []forward // from head on
	head  int
	bytes int
	of    map[router.Ref]int // how many of them are for whom
	taken int                // deliveries for many in this turn
}

// takes keeps a delivery for later, or tells that it is to be made now.
func (b *behind) takes(it *forward) bool {
	switch {
	case b.head < len(b.items) && b.of[it.to] > 0:
	case !it.want.broad:
		return false
	case b.taken < behindPerTurn && b.head == len(b.items):
		b.taken++
		return false
	}
	if b.of == nil {
		b.of = make(map[router.Ref]int)
	}
	b.of[it.to]++
	b.bytes += it.costAfter(last(b.items[b.head:]))
	b.items = append(b.items, *it)
	return true
}

// next takes the first out, and its place in the list.
func (b *behind) next() (it forward) {
	it, b.items[b.head] = b.items[b.head], forward{}
	b.head++
	var after *forward
	if b.head < len(b.items) {
		after = &b.items[b.head]
	}
	b.bytes -= it.costAfter(after) // its frame counts for those that are left, if they share it
	if b.of[it.to]--; b.of[it.to] == 0 {
		delete(b.of, it.to)
	}
	switch {
	case b.head == len(b.items):
		*b = behind{taken: b.taken}
	case b.head > len(b.items)/2: // a list that is never empty must not grow for ever
		n := copy(b.items, b.items[b.head:])
		clear(b.items[n:])
		b.items, b.head = b.items[:n], 0
	}
	return it
}

// Later is how many bytes of messages for many this home has taken from others and not
// delivered yet: whoever sends more is to wait.
func (h *Home) Later() int { return h.lanes.behind.bytes }

// CatchUp begins a turn: it delivers some of what is behind.
func (h *Home) CatchUp(now time.Time) {
	b := &h.lanes.behind
	b.taken = 0
	if b.bytes == 0 {
		return
	}
	was := h.wire.Broad(false)
	defer func() { h.wire.Broad(was) }()
	for b.taken < behindPerTurn && b.bytes > 0 {
		b.taken++
		it := b.next()
		h.receive(now, &it)
	}
}
