package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// RetainedRows are the retained messages of an index, as package retain asks for them:
// the version of a message is the number of its record.
func RetainedRows(ix Index) retain.Rows { return retainedRows{ix} }

type retainedRows struct{ ix Index }

func (r retainedRows) Reached() uint64 { return uint64(r.ix.Reached()) }

func (r retainedRows) Count() (messages int, bytes int64) { return r.ix.RetainedCount() }

func (r retainedRows) Walk(atLeast uint64, from []byte, fn func(retain.Row) (next []byte, done bool, err error)) (asOf uint64, err error) {
	seq, err := r.ix.RetainedFrom(context.Background(), store.Seq(atLeast), from, func(row *view.RetainedRow) ([]byte, bool, error) {
		return fn(retainedRow{row})
	})
	return uint64(seq), err
}

type retainedRow struct{ row *view.RetainedRow }

func (r retainedRow) Name() []byte { return r.row.Name() }

func (r retainedRow) Frame() (*mqtt.Frame, error) {
	seq, at, err := r.row.Load()
	if err != nil {
		return nil, err
	}
	f := frameOf(&store.Record{At: at}, &r.row.Message)
	f.Version = uint64(seq)
	return f, nil
}

// Retained is what an operator may do with the retained messages. It may wait for the
// disk, and is for no loop.
type Retained struct{ b *Broker }

// Retained is the operator's part of the retained messages.
func (b *Broker) Retained() Retained { return Retained{b} }

// Scan is Scan of the store.
func (r Retained) Scan(now time.Time, filter string, cur *retain.Cursor, max int, fn func(*mqtt.Frame) bool) (done bool, err error) {
	return r.b.retained.Scan(now, filter, cur, max, fn)
}

// clearMax bounds how many messages one batch removes.
const clearMax = 4096

// errBusy: the log takes nothing now.
var errBusy = errors.New("the log takes nothing now: too much waits to be written, or the broker is about to end; try again")

// Clear removes the messages that filter matches, from cur on, and moves it; nobody who
// subscribes is told. It looks at no more than max messages. When it returns they are
// gone on disk, too. A message that took the place of one while this was under way stays.
func (r Retained) Clear(ctx context.Context, now time.Time, filter string, cur *retain.Cursor, max int) (removed int, done bool, err error) {
	b := r.b
	if b.durable == nil {
		return b.retained.Clear(ctx, now, filter, cur, max)
	}
	found, done, err := b.retained.Find(now, filter, cur, min(max, clearMax))
	var recs []store.Record
	for _, f := range found {
		switch {
		case !retain.Momentary(f):
			m := fact.Message{Topic: f.Topic(), Retain: true, Only: store.Seq(f.Version)}
			recs = append(recs, store.Record{Kind: store.Unretain, Body: m.Append(nil)})
		case b.retained.Drop(f):
			removed++
		}
		f.Release()
	}
	if err != nil || len(recs) == 0 {
		return removed, done, err
	}
	if err := b.write(ctx, recs); err != nil {
		return removed, done, err
	}
	return removed + len(recs), done, nil
}

// write puts records into the log that no home says, and waits until they are applied.
func (b *Broker) write(ctx context.Context, recs []store.Record) error {
	type outcome struct {
		first store.Seq
		err   error
	}
	told := make(chan outcome, 1)
	if !b.durable.Log.Submit(0, recs, func(first store.Seq, err error) { told <- outcome{first, err} }) {
		return errBusy
	}
	select {
	case o := <-told:
		if o.err != nil {
			return fmt.Errorf("the log did not take it: %w", o.err)
		}
		return b.durable.Index.Wait(ctx, o.first+store.Seq(len(recs))-1) //nolint:gosec // a length
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unsure tells whether it depends on the disk if there is room for a retained publish of
// r's, and has that looked up: the publish waits in the ring.
func (h *Home) unsure(now time.Time, r *resident, name []byte, bytes int) bool {
	if !h.kept() || bytes == 0 || r.guess || !h.b.retained.Unsure(name, len(name)+bytes) {
		return false
	}
	if r.learning {
		return true
	}
	r.learning = true
	ref, topic, b, wire := r.ref, string(name), h.b, h.wire
	b.ask(r, func() {
		err := b.retained.Learn(now, topic)
		wire.Post(func(now time.Time) {
			if r := h.at(ref); r != nil {
				r.learning, r.guess = false, err != nil
				h.settleRing(now, r)
				r.guess = false
			}
		})
	})
	return true
}
