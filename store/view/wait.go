package view

import (
	"context"
	"errors"
	"sync"

	"github.com/redoubtmq/redoubt/store"
)

// watch wakes who waits until a record was applied.
type watch struct {
	mu    sync.Mutex    // guards moved
	moved chan struct{} // closed when something more was applied; nil while nobody waits
}

// wait answers a channel that is closed when something more was applied.
func (w *watch) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w.moved
}

// wake wakes whoever waits. It allocates nothing.
func (w *watch) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// Wait returns once the record with number seq and all before it were applied and
// Sessions, Retained and Values know them. Before Run it waits for Run. It ends with
// ctx's error, with why the index has failed, or with ErrClosed when nothing more is
// applied.
func (v *View) Wait(ctx context.Context, seq store.Seq) error {
	for {
		moved := v.watch.wait() // before the look, so that nothing falls in between
		if v.rows.reached() >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.ix.failed:
			return v.ix.err()
		case <-v.ix.leaving:
			return ErrClosed
		case <-v.done:
			if v.rows.reached() >= seq {
				return nil
			}
			return ErrClosed
		}
	}
}

// CatchUp applies the log up to seq, which must be durable, in the calling goroutine: for
// whoever writes before Run, or without it. No two may do so at once, and nobody after
// Run.
func (v *View) CatchUp(ctx context.Context, seq store.Seq) error {
	leave, err := v.door.enter()
	if err != nil {
		return err
	}
	defer leave()
	if v.started.Load() {
		return errors.New("view: the log is applied already")
	}
	return v.applyUntil(ctx, v.Applied()+1, seq)
}

// reached is the number of the newest record whose rows are written.
func (r *rows) reached() store.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at.seq
}
