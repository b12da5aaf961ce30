package view

import (
	"encoding/binary"
	"slices"
	"sync"

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

// block is the postings of one block that are not rows yet. All lists lie in one array,
// each linked through it, so that a message for a filter nobody used before costs no
// allocation. It has at most 64 entries for each number in a block.
type block struct {
	number  uint64
	lists   map[fact.FilterID]list
	entries []entry
}

type list struct{ head, tail int32 }

type entry struct {
	off, bytes uint32 // from the block's first number
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

// collect appends the postings of a filter that are later than after.
func (b *block) collect(dst []Posting, id fact.FilterID, base, after store.Seq) []Posting {
	l, ok := b.lists[id]
	if !ok {
		return dst
	}
	for i := l.head; i >= 0; i = b.entries[i].next {
		if seq := base + store.Seq(b.entries[i].off); seq > after {
			dst = append(dst, Posting{seq, b.entries[i].bytes})
		}
	}
	return dst
}

// ids appends the filters of the block in order.
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

// openBlocks is the postings in memory, and how far they are. Usually it is one block;
// one before it stays until its rows can be read.
type openBlocks struct {
	bits  uint
	spare *block // used again; owned by the goroutine that applies

	mu     sync.Mutex // guards everything below; nothing is called while it is held
	at     position
	blocks []*block
	closed []uint64 // blocks that have rows, in order; only ever appended to or replaced
}

func newOpenBlocks(bits uint) *openBlocks { return &openBlocks{bits: bits} }

func (o *openBlocks) base(number uint64) store.Seq { return store.Seq(number << o.bits) }

func (o *openBlocks) number(seq store.Seq) uint64 { return uint64(seq) >> o.bits }

// position is how far the postings are.
func (o *openBlocks) position() position {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

// post adds the postings of a message; the caller holds mu.
func (o *openBlocks) post(seq store.Seq, bytes uint32, m *fact.Message) {
	n := o.number(seq)
	if k := len(o.blocks); k == 0 || o.blocks[k-1].number != n {
		b := o.spare
		if o.spare = nil; b == nil {
			b = &block{lists: make(map[fact.FilterID]list)}
		}
		b.number = n
		o.blocks = append(o.blocks, b)
	}
	b, off := o.blocks[len(o.blocks)-1], uint32(seq-o.base(n)) //nolint:gosec // within a block
	if m.Broad {
		b.add(broadID, off, bytes)
	}
	for _, id := range m.Filters {
		b.add(id, off, bytes)
	}
}

// before answers the blocks before block number: they get no more postings, and only
// the goroutine that applies takes them out.
func (o *openBlocks) before(number uint64) []*block {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.blocks) && o.blocks[n].number < number {
		n++
	}
	return slices.Clone(o.blocks[:n])
}

// written forgets blocks whose rows can be read now.
func (o *openBlocks) written(blocks []*block) {
	o.mu.Lock()
	o.blocks = slices.Delete(o.blocks, 0, len(blocks))
	for _, b := range blocks {
		o.closed = append(o.closed, b.number)
	}
	o.mu.Unlock()
	if b := blocks[0]; o.spare == nil {
		clear(b.lists)
		b.entries = b.entries[:0]
		o.spare = b
	}
}
