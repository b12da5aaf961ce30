package view

import (
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// partBytesDefault is where a part ends in bytes of bodies, and with it about what the
// next Open reads again. The smallest store.max_bytes, 64 MiB, has room for some: what is
// in the open part cannot be trimmed. Messages of 256 bytes end it by their number.
const partBytesDefault = 16 << 20

// part is records whose postings become rows together. It ends with a block, and within
// it where its bodies reach so many bytes, so that what the next Open must read again is
// bounded in both. Where parts end follows from the log alone; an index that another
// version began has its own, and nothing asks for more than that they do not overlap.
type part struct {
	first store.Seq // number it begins with
	bytes int64     // of the bodies of its records so far
}

// sizes are how large parts become.
type sizes struct {
	bits  uint  // of the numbers of a block
	bytes int64 // of bodies, where a part ends
}

// step takes the next record, which may begin a part.
func (p *part) step(seq store.Seq, body int, max sizes) {
	switch {
	case seq>>max.bits != p.first>>max.bits:
		*p = part{first: seq >> max.bits << max.bits}
	case p.bytes >= max.bytes:
		*p = part{first: seq}
	}
	p.bytes += int64(body)
}

// span is a part that has rows.
type span struct {
	first store.Seq
	old   bool // a block, as format version 1 had them
}

// key is that of a filter's row.
func (s span) key(dst []byte, bits uint, id fact.FilterID) []byte {
	if s.old {
		return appendPostingKey(dst, uint64(s.first)>>bits, id)
	}
	return appendPartKey(dst, s.first, id)
}

// end is after the last of its keys.
func (s span) end(dst []byte, bits uint) []byte {
	if s.old {
		return appendPostingKey(dst, uint64(s.first)>>bits+1, 0)
	}
	return appendPartKey(dst, s.first+1, 0)
}

// kept is from where on the index has postings, and what it has of before.
type kept struct {
	floor    store.Seq // postings of smaller numbers count only if they are rescued
	messages int64     // rescued
	bytes    int64     // of their bodies, and of what they cost beside
}

// openBlocks is the postings in memory, and how far they are. Usually it is one part;
// one before it stays until its rows can be read.
type openBlocks struct {
	sizes
	spare *block // used again; owned by the goroutine that applies

	mu     sync.Mutex // guards everything below; nothing is called while it is held
	at     position
	kept   kept
	blocks []*block
	closed []span // parts that have rows, in order; only ever appended to or replaced
}

func newOpenBlocks(max sizes) *openBlocks { return &openBlocks{sizes: max} }

// position is how far the postings are.
func (o *openBlocks) position() position {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

// post adds the postings of a message to the part that begins with first; the caller
// holds mu.
func (o *openBlocks) post(seq, first store.Seq, bytes uint32, m *fact.Message) {
	if k := len(o.blocks); k == 0 || o.blocks[k-1].first != first {
		b := o.spare
		if o.spare = nil; b == nil {
			b = &block{lists: make(map[fact.FilterID]list)}
		}
		b.first = first
		o.blocks = append(o.blocks, b)
	}
	b, off := o.blocks[len(o.blocks)-1], uint32(seq-first) //nolint:gosec // within a block
	if m.Broad {
		b.add(broadID, off, bytes)
	}
	for _, id := range m.Filters {
		b.add(id, off, bytes)
	}
}

// before answers the parts before the one that begins with first: they get no more
// postings, and only the goroutine that applies takes them out.
func (o *openBlocks) before(first store.Seq) []*block {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.blocks) && o.blocks[n].first < first {
		n++
	}
	return slices.Clone(o.blocks[:n])
}

// written forgets parts whose rows can be read now.
func (o *openBlocks) written(blocks []*block) {
	o.mu.Lock()
	o.blocks = slices.Delete(o.blocks, 0, len(blocks))
	for _, b := range blocks {
		o.closed = append(o.closed, span{first: b.first})
	}
	o.mu.Unlock()
	if b := blocks[0]; o.spare == nil {
		clear(b.lists)
		b.entries = b.entries[:0]
		o.spare = b
	}
}

// raise lets go of parts that are wholly below below, and of all postings below it that
// are not rescued. It answers the first part that is left, and whether anything changed.
func (o *openBlocks) raise(below store.Seq) (first store.Seq, changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if below <= o.kept.floor {
		return 0, false
	}
	o.kept.floor = below
	n := 0
	for n < len(o.closed) && o.endOf(n) <= below {
		n++
	}
	o.closed = slices.Clone(o.closed[n:])
	if len(o.closed) > 0 {
		return o.closed[0].first, true
	}
	return o.at.part.first, true
}

// endOf is a number that nothing in the n-th closed part reaches; the caller holds mu.
func (o *openBlocks) endOf(n int) store.Seq {
	switch {
	case n+1 < len(o.closed):
		return o.closed[n+1].first
	case len(o.blocks) > 0:
		return o.blocks[0].first
	}
	return o.at.part.first
}
