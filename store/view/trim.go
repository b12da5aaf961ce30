package view

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/store"
)

// Trim lets go of records below below, in the log and in the index, and answers down to
// where it really did: never past what the next Open must still read, which is the
// part that was open when the index was last flushed. It flushes the index first, since
// the log is what an index that lost something is made from. What Rescue was given before
// stays.
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
	limit := r.at.part.first
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

// dropPostings deletes the rows of parts that are wholly below below, and what was noted
// to make them, and lets no other postings below it count but those of what is rescued.
func (v *View) dropPostings(below store.Seq) error {
	r, o := v.rows, v.open
	r.mu.Lock()
	defer r.mu.Unlock()
	// In memory first: Pending looks again if the floor has moved while it read rows.
	first, changed := o.raise(below)
	if !changed {
		return nil
	}
	blocks, _ := tableBounds(tablePosting)
	parts, _ := tableBounds(tablePart)
	skipped, _ := tableBounds(tableSkipped)
	return errors.Join(
		r.batch.DeleteRange(blocks, appendPostingKey(nil, uint64(first)>>o.bits, 0), nil),
		r.batch.DeleteRange(parts, appendPartKey(nil, first, 0), nil),
		r.batch.DeleteRange(skipped, appendNumberKey(nil, tableSkipped, uint64(min(below, r.at.part.first))), nil),
		r.setKept(kept{}),
		r.commitLocked())
}

// Stats is what a view has, for who watches.
type Stats struct {
	Sessions, Subscriptions, Retained int
	OpenPostings                      int // in memory

	// Messages that the log need not have any more, and their bytes, as RescueBytes
	// counts them.
	Rescued, RescuedBytes int64

	// Bytes on disk, about; what is not flushed yet is in none. RescueBytes are the rows
	// of what is rescued.
	PostingBytes, SessionBytes, RetainedBytes, ValueBytes, RescueBytes int64
}

// Held is the memory of the index on disk: what it has read, and what is to be written,
// in bytes; 0 after Close.
func (v *View) Held() int64 {
	leave, err := v.door.enter()
	if err != nil {
		return 0
	}
	defer leave()
	m := v.ix.db.Metrics()
	return m.BlockCache.Size + int64(m.MemTable.Size) //nolint:gosec // of a memory
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
	s := Stats{Sessions: r.guards.len(), Subscriptions: r.subs, Retained: r.retained.messages}
	r.mu.Unlock()
	o.mu.Lock()
	for _, b := range o.blocks {
		s.OpenPostings += len(b.entries)
	}
	o.mu.Unlock()
	s.Rescued, s.RescuedBytes = v.Rescued()
	for table, bytes := range map[byte]*int64{
		tablePosting: &s.PostingBytes, tablePart: &s.PostingBytes, tableSession: &s.SessionBytes, tableRetained: &s.RetainedBytes,
		tableValue: &s.ValueBytes, tableRescued: &s.RescueBytes, tableOwed: &s.RescueBytes,
	} {
		lower, upper := tableBounds(table)
		if n, err := v.ix.db.EstimateDiskUsage(lower, upper); err == nil { // a number less is no reason for an alarm
			*bytes += int64(n) //nolint:gosec // of a disk
		}
	}
	return s
}
