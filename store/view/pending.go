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
	Before  store.Seq // only those with smaller numbers; 0: all
	Broad   bool
	Most    int // of them, the first in order; 0: all
}

// before is Before, or a number that nothing has.
func (q *Query) before() store.Seq {
	if q.Before == 0 {
		return 1<<64 - 1
	}
	return q.Before
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
// answer is complete up to number upTo and has nothing later: if it has as many as Most
// allows, there may be more after upTo. Whoever reads them judges the topic, and of a broad
// message which filter it is for. What was let go of is not in it, what was rescued is. It
// may read the disk. With Most it takes memory for three times as many postings.
func (v *View) Pending(q *Query, dst []Posting) (list []Posting, upTo store.Seq, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return dst, 0, err
	}
	defer leave()
	var g gather
	for again := true; again; {
		g = newGather(dst, q.Most)
		var closed []span
		var kept kept
		closed, kept, upTo = v.open.pending(q, &g)
		if err = v.ix.pending(q, &g, closed, kept, v.open); err != nil {
			return dst, 0, err
		}
		again = v.open.floorMoved(kept.floor) // then rows may have gone before they were looked for
	}
	g.settle()
	return g.list, min(upTo, g.cut), nil
}

// pending gathers what is in memory, and answers the parts that are not. Both are of
// one moment, so that nothing is left out in between.
func (o *openBlocks) pending(q *Query, g *gather) (closed []span, kept kept, upTo store.Seq) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.blocks {
		_ = q.each(func(id fact.FilterID, after store.Seq) error {
			b.collect(id, after, q.before(), g.add)
			return nil
		})
	}
	i, found := slices.BinarySearchFunc(o.closed, q.After+1, func(s span, seq store.Seq) int { return cmp.Compare(s.first, seq) })
	if !found {
		i = max(0, i-1) // it is inside the one before
	}
	return o.closed[i:], o.kept, o.at.seq
}

// floorMoved tells whether postings were let go of since the floor was at.
func (o *openBlocks) floorMoved(at store.Seq) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.floor != at
}

// pending gathers what rows have: those of parts from the floor on, and before it those
// of what is rescued.
func (ix *index) pending(q *Query, g *gather, closed []span, kept kept, o *openBlocks) error {
	if kept.messages > 0 && q.After+1 < kept.floor {
		if err := ix.owed(q, g, kept.floor); err != nil {
			return err
		}
	}
	for _, s := range closed {
		if s.first >= q.before() || s.first > g.cut {
			break
		}
		if err := ix.partPending(q, g, s, kept.floor, o.bits); err != nil {
			return err
		}
	}
	return nil
}

// partPending gathers what the rows of one part have.
func (ix *index) partPending(q *Query, g *gather, s span, floor store.Seq, bits uint) error {
	last, before := s.first+1<<bits-1, q.before()
	var key [prefixBytes + 16]byte
	return q.each(func(id fact.FilterID, after store.Seq) error {
		if after >= last {
			return nil
		}
		row, closer, err := ix.db.Get(s.key(key[:0], bits, id))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = closer.Close() }() // it was only read
		return decodePostings(row, s.first, bits, func(p Posting) {
			if p.Seq > after && p.Seq >= floor && p.Seq < before {
				g.add(p)
			}
		})
	})
}

// Postings calls fn for every posting that is still there: what is rescued in the order of
// filter and number, then the others in the order of part, filter and number. Broad
// messages are under filter 0. It is for before Run: what is let go of meanwhile may be
// missed.
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
	closed, kept := o.closed, o.kept
	for _, b := range o.blocks {
		var list []Posting
		for _, id := range b.ids(nil) {
			list = list[:0]
			b.collect(id, 0, never, func(p Posting) bool { list = append(list, p); return true })
			for _, p := range list {
				memory = append(memory, posted{id, p})
			}
		}
	}
	o.mu.Unlock()
	if err := v.ix.allOwed(kept.floor, fn); err != nil {
		return err
	}
	for _, s := range closed {
		if err := v.ix.partPostings(s, kept.floor, o.bits, fn); err != nil {
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

// partPostings calls fn for the postings of one part from floor on.
func (ix *index) partPostings(s span, floor store.Seq, bits uint, fn func(id fact.FilterID, p Posting) error) error {
	var list []Posting
	return ix.scan(s.key(nil, bits, 0), s.end(nil, bits), func(key, value []byte) error {
		_, id, err := splitPostingKey(key)
		if err != nil {
			return err
		}
		list = list[:0]
		if err := decodePostings(value, s.first, bits, func(p Posting) { list = append(list, p) }); err != nil {
			return err
		}
		for _, p := range list {
			if p.Seq < floor {
				continue
			}
			if err := fn(id, p); err != nil {
				return err
			}
		}
		return nil
	})
}
