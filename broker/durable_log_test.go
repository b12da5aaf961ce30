package broker

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest"
)

// vault is a log in the hands of a test: it says when a batch is on disk, when the view
// sees it, and what fails. A goroutine that reads it never runs while the test does.
type vault struct {
	mu      sync.Mutex // guards everything below
	moved   sync.Cond  // shown, closed or idle has changed
	waiting []offered  // taken and not decided
	batches []written
	next    store.Seq
	first   store.Seq // what is smaller was let go of
	shown   int       // of batches, as far as readers see
	idle    int       // the number of batches that the view has applied and waits behind
	most    int       // batches that may wait; what is over is refused
	refused bool      // somebody was, since there was room
	prompt  bool      // what is submitted is on disk at once
	taken   int       // submits that were not refused
	longest int       // of them, in records
	dead    bool      // the disk has failed: nothing more is taken until it restarts
	closed  bool
}

type offered struct {
	recs []store.Record
	done func(first store.Seq, err error)
}

type written struct {
	first store.Seq
	recs  []store.Record
}

func newVault() *vault {
	v := &vault{next: 1, first: 1, most: 1000, idle: -1}
	v.moved.L = &v.mu
	return v
}

func (v *vault) Shards() int { return 1 }

func (v *vault) Submit(_ store.ShardID, recs []store.Record, done func(first store.Seq, err error)) bool {
	if len(recs) == 0 {
		panic("an empty batch")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || len(v.waiting) >= v.most {
		v.refused = true
		return false
	}
	v.taken++
	v.longest = max(v.longest, len(recs))
	mine := slices.Clone(recs)
	for i := range mine {
		mine[i].Body = bytes.Clone(mine[i].Body)
	}
	if v.prompt {
		done(v.write(mine), nil)
		v.shown = len(v.batches)
		return true
	}
	v.waiting = append(v.waiting, offered{mine, done})
	return true
}

// write puts a batch on disk; the caller holds mu.
func (v *vault) write(recs []store.Record) (first store.Seq) {
	first = v.next
	v.batches = append(v.batches, written{first, recs})
	v.next += store.Seq(len(recs))
	return first
}

// pop takes the oldest batch that waits.
func (v *vault) pop() (o offered, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.waiting) == 0 {
		return o, false
	}
	o, v.waiting = v.waiting[0], v.waiting[1:]
	return o, true
}

// commit has the oldest batch that waits on disk; false if none waits.
func (v *vault) commit() bool {
	v.mu.Lock()
	dead := v.dead
	v.mu.Unlock()
	if dead {
		return v.fail(store.ErrFailed, false)
	}
	o, ok := v.pop()
	if !ok {
		return false
	}
	v.mu.Lock()
	first := v.write(o.recs)
	v.mu.Unlock()
	o.done(first, nil)
	return true
}

// fail refuses it instead. Its numbers are never given out again. found says that a
// crash will bring it back all the same.
func (v *vault) fail(err error, found bool) bool {
	o, ok := v.pop()
	if !ok {
		return false
	}
	v.mu.Lock()
	if found {
		v.write(o.recs)
	} else {
		v.next += store.Seq(len(o.recs))
	}
	v.mu.Unlock()
	o.done(0, err)
	return true
}

// show lets the view see one batch more and waits until it has applied it; false if
// there is none.
func (v *vault) show() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shown == len(v.batches) {
		return false
	}
	v.shown++
	v.moved.Broadcast()
	v.settle()
	return true
}

// settle waits until the view has applied what it sees; the caller holds mu.
func (v *vault) settle() {
	for v.idle != v.shown {
		v.moved.Wait()
	}
}

// Tail gives what readers may see, and waits for more.
func (v *vault) Tail(ctx context.Context, _ store.ShardID, from store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	s := storetest.Stepped{Moved: &v.moved, Look: v.look, Idle: func() { v.idle = v.shown }}
	return s.Tail(ctx, from, fn)
}

// look is the first batch that readers see which ends with from or later; the caller holds
// mu.
func (v *vault) look(from store.Seq) (first store.Seq, recs []store.Record, err error) {
	switch {
	case v.closed:
		return 0, nil, store.ErrClosed
	case from < v.first:
		return 0, nil, store.ErrTrimmed
	}
	i := storetest.Reaches(v.shown, from, func(i int) store.Seq { return v.batches[i].first + store.Seq(len(v.batches[i].recs)) })
	if i == v.shown {
		return 0, nil, nil
	}
	return v.batches[i].first, v.batches[i].recs, nil
}

func (v *vault) Bounds(context.Context, store.ShardID) (first, last store.Seq, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.first, v.last(), nil
}

// last is the newest number on disk; the caller holds mu.
func (v *vault) last() store.Seq {
	if n := len(v.batches); n > 0 {
		return v.batches[n-1].first + store.Seq(len(v.batches[n-1].recs)) - 1
	}
	return 0
}

// Trim lets go of whole batches.
func (v *vault) Trim(_ context.Context, _ store.ShardID, below store.Seq) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range v.batches {
		if end := w.first + store.Seq(len(w.recs)); end <= below {
			v.first = max(v.first, end)
		}
	}
	return nil
}

func (v *vault) Close() error { return nil }

// restart loses what waits, and shows all that is on disk.
func (v *vault) restart() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting, v.shown, v.idle, v.refused, v.dead = nil, len(v.batches), -1, false, false
}

// kinds are those of all records from a number on, in order.
func (v *vault) kinds(from store.Seq) (list []store.Kind) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range v.batches {
		for i := range w.recs {
			if w.first+store.Seq(i) >= from {
				list = append(list, w.recs[i].Kind)
			}
		}
	}
	return list
}
