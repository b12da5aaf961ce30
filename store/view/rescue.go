package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What somebody still wants of records that the log is to let go of is rescued: the
// record stands once in the index, under its number, with a posting for each filter it
// names. Read and Pending find it there as if it were in the log. It is the one thing in
// an index that no log can give back, and so it is on disk before the log is trimmed.

const (
	// rescueBytes is what a rescued message costs beside its body, in bytes, about.
	rescueBytes = 100
	// looseID is the filter of a rescued message that names none: only its number finds
	// it.
	looseID = ^fact.FilterID(0)

	keptBytes = 24
)

// Rescue copies the messages with the given numbers, which ascend, out of the log into the
// index, and answers how many it did. What is there already, was let go of before, or keep
// does not want is left out; keep may be nil. A Trim that follows makes them durable first.
// It reads the disk and may take long; no two may run at once, nor one with Forget.
func (v *View) Rescue(ctx context.Context, seqs []store.Seq, keep func(seq store.Seq, rec *store.Record, m *fact.Message) bool) (n int, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	v.open.mu.Lock()
	floor := v.open.kept.floor
	v.open.mu.Unlock()
	for len(seqs) > 0 && seqs[0] < floor {
		seqs = seqs[1:]
	}
	_, err = v.fetch(ctx, nil, seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		if keep != nil && !keep(seq, rec, m) {
			return nil
		}
		done, err := v.rows.rescue(seq, rec, m)
		if done {
			n++
		}
		return err
	})
	if err == nil {
		err = v.rows.commit()
	}
	return n, err
}

// rescue adds the rows of one message, unless they are there.
func (r *rows) rescue(seq store.Seq, rec *store.Record, m *fact.Message) (done bool, err error) {
	if trouble, _ := r.ix.state(); trouble != nil {
		return false, fmt.Errorf("view: rescue: the index cannot be written: %w", trouble)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = appendNumberKey(r.key[:0], tableRescued, uint64(seq))
	switch _, closer, err := r.ix.db.Get(r.key); {
	case err == nil:
		return false, closer.Close()
	case !errors.Is(err, pebble.ErrNotFound):
		return false, err
	}
	r.val = store.AppendRecord(r.val[:0], rec)
	if err := r.batch.Set(r.key, r.val, nil); err != nil {
		return false, err
	}
	if cap(r.val) > batchBytes { // one large message must not be held for ever
		r.val = nil
	}
	owe := func(id fact.FilterID) error {
		r.key = appendOwedKey(r.key[:0], id, seq)
		r.val = binary.BigEndian.AppendUint32(r.val[:0], uint32(len(rec.Body))) //nolint:gosec // at most store.BodyBytesMax
		if m.By != 0 {
			r.val = binary.BigEndian.AppendUint16(r.val, uint16(placeOf(m.By))) //nolint:gosec // 14 bits
		}
		return r.batch.Set(r.key, r.val, nil)
	}
	for _, id := range m.Filters {
		err = errors.Join(err, owe(id))
	}
	switch {
	case m.Broad:
		err = errors.Join(err, owe(broadID))
	case len(m.Filters) == 0:
		err = errors.Join(err, owe(looseID))
	}
	size := int64(len(rec.Body)) + rescueBytes
	err = errors.Join(err, r.setKept(kept{messages: 1, bytes: size}))
	if m.By != 0 {
		err = errors.Join(err, r.rescuedBy(placeOf(m.By), size))
	}
	if err == nil && r.batch.Len() >= batchBytes {
		err = r.commitLocked()
	}
	return true, err
}

// setKept adds to what is rescued and writes how it is now; the caller holds mu.
func (r *rows) setKept(more kept) error {
	o := r.open
	o.mu.Lock()
	o.kept.messages += more.messages
	o.kept.bytes += more.bytes
	k := o.kept
	o.mu.Unlock()
	r.key = appendTable(r.key[:0], tableKept)
	r.val = binary.BigEndian.AppendUint64(r.val[:0], uint64(k.floor))
	r.val = binary.BigEndian.AppendUint64(r.val, uint64(k.messages)) //nolint:gosec // as bits
	r.val = binary.BigEndian.AppendUint64(r.val, uint64(k.bytes))    //nolint:gosec // as bits
	return r.batch.Set(r.key, r.val, nil)
}

// loadKept reads what setKept wrote.
func (r *rows) loadKept() error {
	lower, upper := tableBounds(tableKept)
	return r.ix.scan(lower, upper, func(_, b []byte) error {
		if len(b) != keptBytes {
			return errRow
		}
		r.open.kept = kept{
			floor:    store.Seq(binary.BigEndian.Uint64(b)),
			messages: int64(binary.BigEndian.Uint64(b[8:])),  //nolint:gosec // as bits
			bytes:    int64(binary.BigEndian.Uint64(b[16:])), //nolint:gosec // as bits
		}
		return nil
	})
}

// Rescued answers how many messages are rescued, and about how many bytes they take.
func (v *View) Rescued() (messages, bytes int64) {
	v.open.mu.Lock()
	defer v.open.mu.Unlock()
	return v.open.kept.messages, v.open.kept.bytes
}

// Floor is the number below which only rescued messages are found; 0: nothing was let go of.
func (v *View) Floor() store.Seq {
	v.open.mu.Lock()
	defer v.open.mu.Unlock()
	return v.open.kept.floor
}

// Forget lets go of rescued messages of which wanted says, for none of the filters they
// name, that somebody wants them; broad ones are under filter 0. It answers how many.
func (v *View) Forget(ctx context.Context, wanted func(id fact.FilterID, seq store.Seq) bool) (n int64, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	if messages, _ := v.Rescued(); messages == 0 {
		return 0, nil
	}
	if trouble, _ := v.ix.state(); trouble != nil {
		return 0, fmt.Errorf("view: forget: the index cannot be written: %w", trouble)
	}
	if err := v.rows.commit(); err != nil {
		return 0, err
	}
	keep := make(map[store.Seq]struct{})
	err = v.ix.allOwed(1<<64-1, func(id fact.FilterID, p Posting) error {
		if wanted(id, p.Seq) {
			keep[p.Seq] = struct{}{}
		}
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	return v.forget(ctx, func(seq store.Seq) bool {
		_, wanted := keep[seq]
		return !wanted
	})
}

// forget deletes the rescued messages that gone tells.
func (v *View) forget(ctx context.Context, gone func(store.Seq) bool) (n int64, err error) {
	seen := make(map[store.Seq]struct{})
	r := v.rows
	err = v.ix.allOwedBy(1<<64-1, func(id fact.FilterID, p Posting, by int) error {
		if !gone(p.Seq) {
			return ctx.Err()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.key = appendOwedKey(r.key[:0], id, p.Seq)
		err := r.batch.Delete(r.key, nil)
		if _, again := seen[p.Seq]; !again {
			seen[p.Seq] = struct{}{}
			r.key = appendNumberKey(r.key[:0], tableRescued, uint64(p.Seq))
			err = errors.Join(err, r.batch.Delete(r.key, nil), r.setKept(kept{messages: -1, bytes: -int64(p.Bytes) - rescueBytes}))
			if by >= 0 {
				err = errors.Join(err, r.rescuedBy(by, -int64(p.Bytes)-rescueBytes))
			}
		}
		if err == nil && r.batch.Len() >= batchBytes {
			err = r.commitLocked()
		}
		return errors.Join(err, ctx.Err())
	})
	return int64(len(seen)), errors.Join(err, r.commit())
}

// forgetUntrimmed lets go of what was rescued and is in the log all the same: a crash came
// in between.
func (v *View) forgetUntrimmed() error {
	floor, found := v.Floor(), false
	_, upper := tableBounds(tableRescued)
	err := v.ix.scan(appendNumberKey(nil, tableRescued, uint64(floor)), upper, func([]byte, []byte) error {
		found = true
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) || !found {
		return err
	}
	_, err = v.forget(context.Background(), func(seq store.Seq) bool { return seq >= floor })
	return err
}

// owed gathers the postings of rescued messages below floor.
func (ix *index) owed(q *Query, g *gather, floor store.Seq) error {
	end := min(floor, q.before())
	return q.each(func(id fact.FilterID, after store.Seq) error {
		if after+1 >= end {
			return nil
		}
		err := ix.owedTo(appendOwedKey(nil, id, after+1), appendOwedKey(nil, id, end), func(_ fact.FilterID, p Posting, _ int) error {
			if !g.add(p) {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}

// allOwed calls fn for every posting of a rescued message below floor.
func (ix *index) allOwed(floor store.Seq, fn func(id fact.FilterID, p Posting) error) error {
	return ix.allOwedBy(floor, func(id fact.FilterID, p Posting, _ int) error { return fn(id, p) })
}

// allOwedBy is allOwed for who also asks for the place of the author; -1: it has none.
func (ix *index) allOwedBy(floor store.Seq, fn func(id fact.FilterID, p Posting, by int) error) error {
	lower, upper := tableBounds(tableOwed)
	return ix.owedTo(lower, upper, func(id fact.FilterID, p Posting, by int) error {
		if p.Seq >= floor {
			return nil
		}
		return fn(id, p, by)
	})
}

func (ix *index) owedTo(lower, upper []byte, fn func(id fact.FilterID, p Posting, by int) error) error {
	return ix.scan(lower, upper, func(key, value []byte) error {
		id, seq, err := splitPostingKey(key)
		by := -1
		switch {
		case err != nil || len(value) != 4 && len(value) != 6:
			return errors.Join(errRow, err)
		case len(value) == 6:
			if by = int(binary.BigEndian.Uint16(value[4:])); by >= authorPlaces {
				return errRow
			}
		}
		return fn(fact.FilterID(id), Posting{Seq: store.Seq(seq), Bytes: binary.BigEndian.Uint32(value)}, by)
	})
}

// rescued calls fn for a rescued message; false if it is not there.
func (ix *index) rescued(seq store.Seq, m *fact.Message, fn func(store.Seq, *store.Record, *fact.Message) error) (found bool, err error) {
	row, closer, err := ix.db.Get(appendNumberKey(nil, tableRescued, uint64(seq)))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("view: read rescued message %d: %w", seq, err)
	}
	defer func() { _ = closer.Close() }() // it was only read
	var rec store.Record
	if _, err := store.DecodeRecord(row, &rec); err != nil {
		return false, fmt.Errorf("view: rescued message %d: %w", seq, err)
	}
	if is, err := decodeMessage(&rec, m); !is || err != nil {
		return false, fmt.Errorf("view: rescued message %d: %w", seq, err)
	}
	return true, fn(seq, &rec, m)
}
