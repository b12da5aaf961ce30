package view

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// picker is a log that finds records here and there faster than Tail begins anew for
// each.
type picker interface {
	Pick(ctx context.Context, sh store.ShardID, seqs []store.Seq, fn func(first store.Seq, recs []store.Record) error) error
}

// near is how far apart two wanted records may be, in numbers, that are read in one go
// where the log is no picker: what lies between them costs less than to begin anew.
const near = 1024

// restEvery is after how many records who reads offers its place of the runtime. A record takes 5 to 20 microseconds, and
// several read at once: without that an event loop that comes back from the kernel, or has offered its own, may find all
// places taken for as long as their portions take, 10 to 20 ms.
const restEvery = 8

// Read calls fn for each record with one of the given numbers, which ascend, and its
// message; both are valid during the call only. A record that was lost to damage, was
// trimmed and not rescued, or is no message is skipped and counted. It reads the disk. An
// error of fn ends it and is answered.
func (v *View) Read(ctx context.Context, seqs []store.Seq, fn func(seq store.Seq, rec *store.Record, m *fact.Message) error) (lost int, err error) {
	leave, err := v.door.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	return v.fetch(ctx, v.ix, seqs, fn)
}

// fetch is Read; with no index, of the log alone.
func (v *View) fetch(ctx context.Context, ix *index, seqs []store.Seq, fn func(seq store.Seq, rec *store.Record, m *fact.Message) error) (lost int, err error) {
	first, last, err := v.o.Log.Bounds(ctx, shard)
	if err != nil {
		return 0, fmt.Errorf("view: %w", err)
	}
	r := reader{ctx: ctx, log: v.o.Log, ix: ix, seqs: seqs, fn: fn}
	for n := len(r.seqs); n > 0 && r.seqs[n-1] > last; n-- { // Tail would wait for them
		r.seqs = r.seqs[:n-1]
		r.lost++
	}
	err = r.trimmed(first)
	for err == nil && len(r.seqs) > 0 {
		err = r.run()
	}
	return r.lost, err
}

// reader is one Read.
type reader struct {
	ctx     context.Context //nolint:containedctx // it is the argument of the one call this value lives for
	log     store.Log
	ix      *index      // that may have what the log let go of; nil: none
	seqs    []store.Seq // wanted still
	fn      func(store.Seq, *store.Record, *fact.Message) error
	lost    int
	found   int
	message fact.Message
}

// skip gives up what is below below.
func (r *reader) skip(below store.Seq) {
	for len(r.seqs) > 0 && r.seqs[0] < below {
		r.seqs = r.seqs[1:]
		r.lost++
	}
}

// trimmed takes from the index what the log, which begins with first, no longer has.
func (r *reader) trimmed(first store.Seq) error {
	for len(r.seqs) > 0 && r.seqs[0] < first && r.ix != nil {
		seq := r.seqs[0]
		r.seqs = r.seqs[1:]
		found, err := r.ix.rescued(seq, &r.message, r.fn)
		if err != nil {
			return err
		}
		if !found {
			r.lost++
		}
	}
	r.skip(first)
	return nil
}

// run reads wanted records, or those that are near each other.
func (r *reader) run() error {
	var stop error // fn's
	if p, ok := r.log.(picker); ok {
		err := p.Pick(r.ctx, shard, r.seqs, func(first store.Seq, recs []store.Record) error {
			stop = r.batch(first, recs)
			return stop
		})
		return r.judge(err, stop)
	}
	err := r.log.Tail(r.ctx, shard, r.seqs[0], func(first store.Seq, recs []store.Record) error {
		stop = r.batch(first, recs)
		if stop == nil && (len(r.seqs) == 0 || r.seqs[0] > first+store.Seq(len(recs))+near) {
			return errEnough
		}
		return stop
	})
	return r.judge(err, stop)
}

// judge goes on behind what the log no longer has; stop is what fn said.
func (r *reader) judge(err, stop error) error {
	var missing *store.MissingError
	switch {
	case err == nil:
		return nil
	case stop != nil:
		return stop
	case errors.Is(err, errEnough):
		return nil
	case errors.As(err, &missing):
		r.skip(missing.Range.Last + 1)
		return nil
	case errors.Is(err, store.ErrTrimmed):
		first, _, err := r.log.Bounds(r.ctx, shard)
		if err != nil {
			return fmt.Errorf("view: %w", err)
		}
		return r.trimmed(first)
	}
	return fmt.Errorf("view: read the log: %w", err)
}

// batch gives on what is wanted of one batch.
func (r *reader) batch(first store.Seq, recs []store.Record) error {
	r.skip(first) // numbers that were never given out
	for len(r.seqs) > 0 && r.seqs[0] < first+store.Seq(len(recs)) {
		seq := r.seqs[0]
		rec := &recs[seq-first]
		r.seqs = r.seqs[1:]
		if !isMessage(rec.Kind) {
			r.lost++
			continue
		}
		if is, err := decodeMessage(rec, &r.message); !is || err != nil {
			r.lost++
			continue
		}
		if err := r.fn(seq, rec, &r.message); err != nil {
			return err
		}
		if r.found++; r.found%restEvery == 0 {
			runtime.Gosched()
		}
	}
	return nil
}
