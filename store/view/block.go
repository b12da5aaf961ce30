package view

import (
	"encoding/binary"
	"slices"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// broadID is the filter that broad messages are posted under.
const broadID fact.FilterID = 0

// Posting is a message that somebody may be owed.
type Posting struct {
	Seq   store.Seq
	Bytes uint32 // of the record's body
}

// block is the postings of one part that are not rows yet. All lists lie in one array,
// each linked through it, so that a message for a filter nobody used before costs no
// allocation. It has at most 64 entries for each number in a part.
type block struct {
	first   store.Seq // number that the part begins with
	lists   map[fact.FilterID]list
	entries []entry
}

type list struct{ head, tail int32 }

type entry struct {
	off, bytes uint32 // from the part's first number
	next       int32  // -1: none
}

// add posts a message under a filter. Numbers only grow.
func (b *block) add(id fact.FilterID, off, bytes uint32) {
	at := int32(len(b.entries)) //nolint:gosec // at most 64 for each of the 65,536 numbers
	l, ok := b.lists[id]
	if ok {
		if b.entries[l.tail].off == off { // the message names the filter twice
			return
		}
		b.entries[l.tail].next = at
	} else {
		l.head = at
	}
	l.tail = at
	b.lists[id] = l
	b.entries = append(b.entries, entry{off, bytes, -1})
}

// collect gives fn the postings of a filter that are later than after and before before,
// in order, until it answers false.
func (b *block) collect(id fact.FilterID, after, before store.Seq, fn func(Posting) (more bool)) {
	l, ok := b.lists[id]
	if !ok {
		return
	}
	for i := l.head; i >= 0; i = b.entries[i].next {
		seq := b.first + store.Seq(b.entries[i].off)
		if seq > after && (seq >= before || !fn(Posting{seq, b.entries[i].bytes})) {
			return
		}
	}
}

// ids appends the filters of the part in order.
func (b *block) ids(dst []fact.FilterID) []fact.FilterID {
	for id := range b.lists {
		dst = append(dst, id)
	}
	slices.Sort(dst)
	return dst
}

// appendRow appends what a filter's row says.
func (b *block) appendRow(dst []byte, id fact.FilterID) []byte {
	before := uint32(0)
	for i := b.lists[id].head; i >= 0; i = b.entries[i].next {
		dst = binary.AppendUvarint(dst, uint64(b.entries[i].off-before))
		dst = binary.AppendUvarint(dst, uint64(b.entries[i].bytes))
		before = b.entries[i].off
	}
	return dst
}
