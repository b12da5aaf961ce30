package view

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redoubtmq/redoubt/store"
)

// Trim lets go of records below below, in the log and in the index, and answers down to
// where it really did: never past what the next Open must still read, which is the
// block that was open when the index was last flushed. It flushes the index first, since
// the log is what an index that lost something is made from.
func (v *View) Trim(ctx context.Context, below store.Seq) (store.Seq, error) {
	leave, err := v.door.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	if trouble, _ := v.ix.state(); trouble != nil {
		return 0, fmt.Errorf("view: trim: the index cannot be written: %w", trouble)
	}
	limit, err := v.flush(ctx)
	if err != nil {
		return 0, err
	}
	below = min(below, limit)
	if err := v.dropPostings(below); err != nil {
		return 0, err
	}
	if err := v.o.Log.Trim(ctx, shard, below); err != nil {
		return 0, fmt.Errorf("view: trim: %w", err)
	}
	return below, nil
}

// flush makes durable what was applied, and answers where the next Open begins to read.
func (v *View) flush(ctx context.Context) (store.Seq, error) {
	if err := v.ix.err(); err != nil {
		return 0, err
	}
	r := v.rows
	r.mu.Lock()
	err := r.commitLocked()
	limit := r.open.base(r.open.number(r.at.seq))
	if err != nil {
		r.mu.Unlock()
		return 0, err
	}
	done, err := v.ix.db.AsyncFlush()
	r.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("view: flush the index: %w", err)
	}
	return limit, v.ix.flushed(ctx, done)
}

// dropPostings deletes the rows of blocks that are wholly below below, and what was noted
// to make them.
func (v *View) dropPostings(below store.Seq) error {
	r, o := v.rows, v.open
	block := o.number(below)
	r.mu.Lock()
	defer r.mu.Unlock()
	o.mu.Lock()
	i, _ := slices.BinarySearch(o.closed, block)
	o.closed = slices.Clone(o.closed[i:])
	o.mu.Unlock()
	if i == 0 {
		return nil
	}
	postings, _ := tableBounds(tablePosting)
	skipped, _ := tableBounds(tableSkipped)
	return errors.Join(
		r.batch.DeleteRange(postings, appendPostingKey(nil, block, 0), nil),
		r.batch.DeleteRange(skipped, appendNumberKey(nil, tableSkipped, uint64(o.base(block))), nil),
		r.commitLocked())
}

// Stats is what a view has, for who watches.
type Stats struct {
	Sessions, Subscriptions, Retained int
	OpenPostings                      int // in memory

	// Bytes on disk, about; what is not flushed yet is in none.
	PostingBytes, SessionBytes, RetainedBytes, ValueBytes uint64
}

// Stats answers what there is now; zeros after Close.
func (v *View) Stats() Stats {
	leave, err := v.door.enter()
	if err != nil {
		return Stats{}
	}
	defer leave()
	r, o := v.rows, v.open
	r.mu.Lock()
	s := Stats{Sessions: len(r.guards), Subscriptions: r.subs, Retained: r.retained.messages}
	r.mu.Unlock()
	o.mu.Lock()
	for _, b := range o.blocks {
		s.OpenPostings += len(b.entries)
	}
	o.mu.Unlock()
	for table, bytes := range map[byte]*uint64{tablePosting: &s.PostingBytes, tableSession: &s.SessionBytes, tableRetained: &s.RetainedBytes, tableValue: &s.ValueBytes} {
		lower, upper := tableBounds(table)
		if n, err := v.ix.db.EstimateDiskUsage(lower, upper); err == nil { // a number less is no reason for an alarm
			*bytes = n
		}
	}
	return s
}
