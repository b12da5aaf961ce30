package view

import (
	"cmp"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Interest is a filter, and the number it begins after.
type Interest struct {
	ID    fact.FilterID
	Start store.Seq
}

// Query asks for messages later than After: those for each filter that are also later
// than its own Start, and, with Broad, those that every reader looks at.
type Query struct {
	Filters []Interest
	After   store.Seq
	Broad   bool
}

// each calls fn for what is asked, with the number it begins after.
func (q *Query) each(fn func(id fact.FilterID, after store.Seq) error) error {
	if q.Broad {
		if err := fn(broadID, q.After); err != nil {
			return err
		}
	}
	for _, f := range q.Filters {
		if err := fn(f.ID, max(q.After, f.Start)); err != nil {
			return err
		}
	}
	return nil
}

// Pending appends to dst the messages that q asks for, each once and in order. The
// answer is complete up to number upTo and has nothing later. Whoever reads them judges
// the topic, and of a broad message which filter it is for. It may read the disk.
func (v *View) Pending(q *Query, dst []Posting) (list []Posting, upTo store.Seq, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return dst, 0, err
	}
	defer leave()
	at := len(dst)
	dst, closed, upTo := v.open.pending(q, dst)
	for _, block := range closed {
		if dst, err = v.ix.pending(q, dst, block, v.open); err != nil {
			return dst[:at], 0, err
		}
	}
	found := dst[at:]
	slices.SortFunc(found, func(a, b Posting) int { return cmp.Compare(a.Seq, b.Seq) })
	found = slices.CompactFunc(found, func(a, b Posting) bool { return a.Seq == b.Seq })
	return dst[:at+len(found)], upTo, nil
}

// pending appends what is in memory, and answers the blocks that are not. Both are of
// one moment, so that nothing is left out in between.
func (o *openBlocks) pending(q *Query, dst []Posting) (list []Posting, closed []uint64, upTo store.Seq) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.blocks {
		base := o.base(b.number)
		_ = q.each(func(id fact.FilterID, after store.Seq) error {
			dst = b.collect(dst, id, base, after)
			return nil
		})
	}
	i, _ := slices.BinarySearch(o.closed, o.number(q.After+1))
	return dst, o.closed[i:], o.at.seq
}

// pending appends what the rows of a block have.
func (ix *index) pending(q *Query, dst []Posting, block uint64, o *openBlocks) ([]Posting, error) {
	base := o.base(block)
	last := base + 1<<o.bits - 1
	var key [prefixBytes + 16]byte
	err := q.each(func(id fact.FilterID, after store.Seq) error {
		if after >= last {
			return nil
		}
		row, closer, err := ix.db.Get(appendPostingKey(key[:0], block, id))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = closer.Close() }() // it was only read
		return decodePostings(row, base, o.bits, func(p Posting) {
			if p.Seq > after {
				dst = append(dst, p)
			}
		})
	})
	return dst, err
}

// Postings calls fn for every posting that is still there, in the order of block, filter
// and number. Broad messages are under filter 0.
func (v *View) Postings(fn func(id fact.FilterID, p Posting) error) error {
	leave, err := v.door.enter()
	if err != nil {
		return err
	}
	defer leave()
	type posted struct {
		id fact.FilterID
		p  Posting
	}
	var memory []posted
	o := v.open
	o.mu.Lock()
	closed := o.closed
	for _, b := range o.blocks {
		var list []Posting
		for _, id := range b.ids(nil) {
			list = b.collect(list[:0], id, o.base(b.number), 0)
			for _, p := range list {
				memory = append(memory, posted{id, p})
			}
		}
	}
	o.mu.Unlock()
	for _, block := range closed {
		err := v.ix.scan(appendPostingKey(nil, block, 0), appendPostingKey(nil, block+1, 0), func(key, value []byte) error {
			_, id, err := splitPostingKey(key)
			if err != nil {
				return err
			}
			var list []Posting
			if err := decodePostings(value, o.base(block), o.bits, func(p Posting) { list = append(list, p) }); err != nil {
				return err
			}
			for _, p := range list {
				if err := fn(id, p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, m := range memory {
		if err := fn(m.id, m.p); err != nil {
			return err
		}
	}
	return nil
}
