package sim

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest"
)

// replicated is the log that all nodes have: batches in one order, each of which is on
// disk on a majority. It never loses one.
type replicated struct {
	batches []written
	next    store.Seq
	late    []submitted // of processes that have ended, still on their way
}

type written struct {
	first store.Seq
	recs  []store.Record
	by    *replica // who submitted it; nil: a process that has ended
	done  func(first store.Seq, err error)
}

type submitted struct {
	recs []store.Record
	by   *replica
	done func(first store.Seq, err error)
}

// end is how many numbers there are.
func (l *replicated) end() store.Seq { return l.next - 1 }

// write makes a batch part of the log.
func (l *replicated) write(s submitted) {
	l.batches = append(l.batches, written{first: l.next, recs: s.recs, by: s.by, done: s.done})
	l.next += store.Seq(len(s.recs))
}

// replica is the log as one process of one node has it: what it submitted and nobody has
// decided yet, and how much of the log has reached it.
type replica struct {
	log *replicated

	mu      sync.Mutex // guards everything below
	moved   sync.Cond  // shown, closed or idle has changed
	waiting []submitted
	batches []written // a copy of the log's as far as it was looked at
	shown   int       // of batches
	idle    int       // the number of batches that the view has applied and waits behind
	most    int       // batches that may wait; what is over is refused
	refused bool      // somebody was, since there was room
	prompt  bool      // what is submitted is in the log at once
	closed  bool
}

func newReplica(l *replicated) *replica {
	r := &replica{log: l, most: 1000, idle: -1, batches: slices.Clone(l.batches), shown: len(l.batches)}
	r.moved.L = &r.mu
	return r
}

func (r *replica) Shards() int { return 1 }

func (r *replica) Submit(_ store.ShardID, recs []store.Record, done func(first store.Seq, err error)) bool {
	if len(recs) == 0 {
		panic("an empty batch")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.waiting) >= r.most {
		r.refused = true
		return false
	}
	mine := slices.Clone(recs)
	for i := range mine {
		mine[i].Body = bytes.Clone(mine[i].Body)
	}
	r.waiting = append(r.waiting, submitted{mine, r, done})
	return true
}

// pop takes the oldest batch that waits.
func (r *replica) pop() (s submitted, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return s, false
	}
	s, r.waiting = r.waiting[0], r.waiting[1:]
	return s, true
}

// commit has the oldest batch that waits in the log; false if none waits.
func (r *replica) commit() bool {
	s, ok := r.pop()
	if ok {
		r.log.write(s)
	}
	return ok
}

// fail refuses it instead.
func (r *replica) fail() {
	if s, ok := r.pop(); ok {
		s.done(0, store.ErrFull)
	}
}

// behind tells whether there is more in the log than this process has seen.
func (r *replica) behind() bool { return r.shown < len(r.log.batches) }

// show lets the process see one batch more, and waits until its view has applied it. If it
// is its own, it is told so first.
func (r *replica) show() bool {
	if !r.behind() {
		return false
	}
	w := &r.log.batches[r.shown]
	if w.by == r {
		w.done(w.first, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, *w)
	r.shown++
	r.moved.Broadcast()
	for r.idle != r.shown {
		r.moved.Wait()
	}
	return true
}

// settle waits until the view has applied all that it sees.
func (r *replica) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.idle != r.shown {
		r.moved.Wait()
	}
}

// Tail gives what the process may see, and waits for more.
func (r *replica) Tail(ctx context.Context, _ store.ShardID, from store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	s := storetest.Stepped{Moved: &r.moved, Look: r.look, Idle: func() { r.idle = r.shown }}
	return s.Tail(ctx, from, fn)
}

// look is the first batch that the process sees which ends with from or later; the caller
// holds mu.
func (r *replica) look(from store.Seq) (first store.Seq, recs []store.Record, err error) {
	if r.closed {
		return 0, nil, store.ErrClosed
	}
	i := storetest.Reaches(r.shown, from, func(i int) store.Seq { return r.batches[i].first + store.Seq(len(r.batches[i].recs)) })
	if i == r.shown {
		return 0, nil, nil
	}
	return r.batches[i].first, r.batches[i].recs, nil
}

func (r *replica) Bounds(context.Context, store.ShardID) (first, last store.Seq, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.batches); n > 0 {
		last = r.batches[n-1].first + store.Seq(len(r.batches[n-1].recs)) - 1
	}
	return 1, last, nil
}

func (r *replica) Trim(context.Context, store.ShardID, store.Seq) error { return nil }

func (r *replica) Close() error { return nil }

// end is the end of the process: of what it submitted the first keep batches are on their
// way all the same, and the others are nowhere.
func (r *replica) end(keep int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.waiting[:min(keep, len(r.waiting))] {
		s.by, s.done = nil, nil
		r.log.late = append(r.log.late, s)
	}
	r.waiting, r.closed = nil, true
	r.moved.Broadcast()
}
