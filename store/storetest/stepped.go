package storetest

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/redoubtmq/redoubt/store"
)

// Stepped is Tail for a log in the hands of a test, which says how much of it readers see and
// waits until they have had that: a reader never runs while the test does.
type Stepped struct {
	// Moved is told when readers see more, or the log is closed. Its lock is held while Look
	// and Idle are called.
	Moved *sync.Cond
	// Look answers the first batch that readers see which ends with from or later, or why
	// there is none for good; no records: not yet.
	Look func(from store.Seq) (first store.Seq, recs []store.Record, err error)
	// Idle is called before a reader waits that has had all it sees.
	Idle func()
}

// Tail is store.Log's. The records are the reader's, their bodies are not.
func (s *Stepped) Tail(ctx context.Context, from store.Seq, fn func(first store.Seq, recs []store.Record) error) error {
	defer context.AfterFunc(ctx, func() {
		s.Moved.L.Lock()
		defer s.Moved.L.Unlock()
		s.Moved.Broadcast()
	})()
	for {
		first, recs, err := s.after(ctx, from)
		if err != nil {
			return err
		}
		if from > first {
			first, recs = from, recs[from-first:]
		}
		if err := fn(first, slices.Clone(recs)); err != nil {
			return err
		}
		from = first + store.Seq(len(recs))
	}
}

// after waits for a batch that ends with from or later.
func (s *Stepped) after(ctx context.Context, from store.Seq) (first store.Seq, recs []store.Record, err error) {
	s.Moved.L.Lock()
	defer s.Moved.L.Unlock()
	for ctx.Err() == nil {
		if first, recs, err = s.Look(from); err != nil || len(recs) > 0 {
			return first, recs, err
		}
		s.Idle()
		s.Moved.Broadcast()
		s.Moved.Wait()
	}
	return 0, nil, ctx.Err()
}

// Reaches is the index of the first of n batches, whose ends ascend, that ends behind seq;
// end is the number after the last of one.
func Reaches(n int, seq store.Seq, end func(i int) store.Seq) int {
	return sort.Search(n, func(i int) bool { return end(i) > seq })
}
