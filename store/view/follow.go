package view

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// errEnough ends a Tail.
var errEnough = errors.New("enough")

// catchUp makes the postings of the open part again and applies what the rows lack, up
// to last.
func (v *View) catchUp(ctx context.Context, first, last store.Seq) error {
	at := v.rows.at
	switch {
	case at.seq > last:
		return fmt.Errorf("view: the index in %s has applied record %d and the log ends with %d: the log was lost or replaced. Restore both from one backup, or move the index away to go on with what the log has", v.o.Folder, at.seq, last)
	case at.seq+1 < first && at.seq == 0:
		return fmt.Errorf("view: there is no index in %s and the log begins with record %d: what was before is only in the index. Restore both from one backup", v.o.Folder, first)
	case at.seq+1 < first:
		return fmt.Errorf("view: the index in %s has applied record %d and the log begins with %d: the index is too old for this log. Restore both from one backup", v.o.Folder, at.seq, first)
	}
	from := max(first, 1, min(at.part.first, at.seq)) // at.seq too: whose index this is, its record says
	skipped, err := v.rows.skipped(from)
	if err != nil {
		return unreadable(v.o.Folder, err, first)
	}
	if from <= at.seq {
		again := again{v: v, until: at, skipped: skipped}
		if err := v.read(ctx, from, at.seq, v.telling(from, last, again.batch)); err != nil {
			return err
		}
		at.part.bytes = again.bytes
		v.open.at, v.judge.at, v.rows.at = at, at, at
	}
	return v.read(ctx, at.seq+1, last, v.telling(from, last, func(first store.Seq, recs []store.Record) error { return v.apply(ctx, first, recs, nil) }))
}

// telling is fn, and tells how far it is between two numbers.
func (v *View) telling(from, last store.Seq, fn func(first store.Seq, recs []store.Record) error) func(first store.Seq, recs []store.Record) error {
	if v.o.Progress == nil || last < from {
		return fn
	}
	total := int64(last-from) + 1 //nolint:gosec // numbers of one log
	return func(first store.Seq, recs []store.Record) error {
		err := fn(first, recs)
		v.o.Progress(min(total, int64(first-from)+int64(len(recs))), total) //nolint:gosec // the same
		return err
	}
}

// again makes the postings of the open part again from records that were applied
// before. Which of them were fenced is written down: it follows from what sessions were
// then.
type again struct {
	v       *View
	until   position
	skipped map[store.Seq]bool
	bytes   int64 // of bodies in the part
	message fact.Message
	sums    summer
}

func (a *again) batch(first store.Seq, recs []store.Record) error {
	for i := range recs {
		seq, r := first+store.Seq(i), &recs[i] //nolint:gosec // a length
		if seq > a.until.seq {
			break
		}
		if seq == a.until.seq && a.sums.record(seq, r) != a.until.last {
			return fmt.Errorf("view: record %d is not the one that the index in %s has applied: it is the index of another log. Restore both from one backup", seq, a.v.o.Folder)
		}
		if seq < a.until.part.first {
			continue
		}
		a.bytes += int64(len(r.Body))
		if !isMessage(r.Kind) || a.skipped[seq] {
			continue
		}
		if is, err := decodeMessage(r, &a.message); is && err == nil {
			a.v.open.post(seq, a.until.part.first, uint32(len(r.Body)), &a.message) //nolint:gosec // at most store.BodyBytesMax
		}
	}
	return nil
}

// applyUntil applies records from from to until.
func (v *View) applyUntil(ctx context.Context, from, until store.Seq) error {
	return v.read(ctx, from, until, func(first store.Seq, recs []store.Record) error { return v.apply(ctx, first, recs, nil) })
}

// read gives fn the batches from from until one has reached until. What is missing is
// said and gone over.
func (v *View) read(ctx context.Context, from, until store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	for from <= until {
		var stop error // fn's
		err := v.o.Log.Tail(ctx, shard, from, func(first store.Seq, recs []store.Record) error {
			if stop = fn(first, recs); stop != nil {
				return stop
			}
			if from = first + store.Seq(len(recs)); from > until {
				return errEnough
			}
			return nil
		})
		var missing *store.MissingError
		switch {
		case stop != nil:
			return stop
		case errors.Is(err, errEnough):
			return nil
		case errors.As(err, &missing):
			v.o.Alarm("records missing", fmt.Errorf("view: %w", missing))
			from = missing.Range.Last + 1
		case errors.Is(err, store.ErrTrimmed):
			return fmt.Errorf("view: record %d was not applied and is gone: %w", from, err)
		default:
			return fmt.Errorf("view: read the log: %w", err)
		}
	}
	return nil
}

// apply makes one batch count: first what decides and what readers ask for, then whoever
// listens, then the rows.
func (v *View) apply(ctx context.Context, first store.Seq, recs []store.Record, sink Sink) error {
	if err := v.expect(ctx, recs); err != nil {
		return err
	}
	items := v.judge.batch(first, recs)
	o := v.open
	o.mu.Lock()
	for i := range items {
		if m := items[i].Message; m != nil && items[i].Outcome == Applied {
			o.post(first+store.Seq(i), v.judge.marks[i].part.first, uint32(len(recs[i].Body)), m) //nolint:gosec // a length; at most store.BodyBytesMax
		}
	}
	o.at = v.judge.at
	o.mu.Unlock()
	if sink != nil {
		sink.Applied(first, items)
	}
	if err := v.ix.ready(ctx); err != nil {
		return err
	}
	if err := v.rows.write(items, v.judge.marks); err != nil {
		return err
	}
	v.judge.written()
	v.watch.wake()
	return nil
}

// Run starts the goroutine that applies the log from Applied()+1 on, for ever. Close
// ends it and waits for it. It must be called once at most.
func (v *View) Run(sink Sink) {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	if v.door.closed {
		return
	}
	if v.started.Swap(true) {
		panic("BUG: a view runs twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	go v.run(ctx, sink)
}

// run applies until it is told to end, or cannot go on.
func (v *View) run(ctx context.Context, sink Sink) {
	defer close(v.done)
	err := v.read(ctx, v.judge.at.seq+1, 1<<64-2, func(first store.Seq, recs []store.Record) error { return v.apply(ctx, first, recs, sink) })
	if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) && v.ix.err() == nil {
		v.o.Alarm("log not applied", err)
	}
}
