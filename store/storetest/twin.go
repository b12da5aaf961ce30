package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/store"
)

// Twin is a log that is too plain to be wrong: a list.
type Twin struct {
	batches []read
	next    store.Seq
	first   store.Seq
}

// NewTwin is an empty one.
func NewTwin() *Twin { return &Twin{next: 1, first: 1} }

// Add is an acknowledged batch.
func (w *Twin) Add(first store.Seq, recs []store.Record) error {
	if first < w.next {
		return fmt.Errorf("batch at %d after one that ended at %d", first, w.next-1)
	}
	w.batches = append(w.batches, read{first, clone(recs)})
	w.next = first + store.Seq(len(recs)) //nolint:gosec // a length
	return nil
}

// Compare reads l and answers how it differs.
func (w *Twin) Compare(ctx context.Context, l store.Log, from store.Seq) error {
	i := 0
	for i < len(w.batches) && w.batches[i].first < from {
		i++
	}
	if i == len(w.batches) {
		return nil
	}
	err := l.Tail(ctx, 0, from, func(first store.Seq, recs []store.Record) error {
		if b := w.batches[i]; first != b.first || !sameBatch(recs, b.recs) {
			return fmt.Errorf("batch at %d differs from the twin's at %d", first, b.first)
		}
		if i++; i == len(w.batches) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// RandomBatch makes a batch that says which it is, so that any two differ.
func RandomBatch(rnd *rand.Rand, id uint64, bodyMax int) []store.Record {
	recs := make([]store.Record, 1+rnd.IntN(4)*rnd.IntN(2))
	for i := range recs {
		r := &recs[i]
		r.Kind = store.Message + store.Kind(rnd.IntN(25)) //nolint:gosec // small
		if rnd.IntN(2) == 0 {
			r.SID = store.SID{byte(id), 0xaa, byte(i)}
		}
		r.Epoch = uint64(rnd.IntN(1 << rnd.IntN(20))) //nolint:gosec // small
		r.At = rnd.Int64N(1<<41) - 1<<20
		r.Body = make([]byte, 12+rnd.IntN(1+bodyMax))
		binary.LittleEndian.PutUint64(r.Body, id)
		binary.LittleEndian.PutUint32(r.Body[8:], uint32(i)) //nolint:gosec // small
	}
	return recs
}

// twins plays random submits, trims and reads on the log and on a list.
func twins(t *testing.T, l store.Log) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	w := NewTwin()
	for step := range 300 {
		n := 1 + rnd.IntN(8)
		g := newLedger(n)
		var batches [][]store.Record
		for i := range n {
			b := RandomBatch(rnd, uint64(step*100+i), 3000) //nolint:gosec // small
			batches = append(batches, b)
			submit(t, l, b, g.done(i))
		}
		for i, o := range g.all(t, n) {
			if o.err != nil || o.n != i {
				t.Fatalf("seed %d: %+v", seed, o)
			}
			if err := w.Add(o.first, batches[i]); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if rnd.IntN(20) == 0 {
			if err := l.Trim(t.Context(), 0, store.Seq(rnd.Int64N(int64(w.next)))); err != nil { //nolint:gosec // small
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if rnd.IntN(10) == 0 {
			first, last := bounds(t, l)
			if last != w.next-1 {
				t.Fatalf("seed %d: last is %d, the twin's %d", seed, last, w.next-1)
			}
			from := first + store.Seq(rnd.Int64N(int64(last-first)+1)) //nolint:gosec // small
			for !w.begins(from) {
				from++
			}
			if err := w.Compare(t.Context(), l, from); err != nil {
				t.Fatalf("seed %d: from %d: %v", seed, from, err)
			}
		}
	}
}

// begins tells whether a batch begins at from, or nothing does any more.
func (w *Twin) begins(from store.Seq) bool {
	for _, b := range w.batches {
		if b.first == from {
			return true
		}
	}
	return from >= w.next
}

// many submits from several goroutines while several read.
func many(t *testing.T, l store.Log) {
	const writers, each, readers = 4, 300, 3
	var wg sync.WaitGroup
	var read [readers][]store.Record
	for i := range readers {
		wg.Go(func() {
			err := l.Tail(t.Context(), 0, 1, func(_ store.Seq, recs []store.Record) error {
				if read[i] = append(read[i], clone(recs)...); len(read[i]) == writers*each {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Errorf("reader %d: %v after %d", i, err, len(read[i]))
			}
		})
	}
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				g := newLedger(1)
				b := []store.Record{{Kind: store.Message, Epoch: uint64(i), At: int64(n), Body: make([]byte, 100)}} //nolint:gosec // small
				for !l.Submit(0, b, g.done(0)) {
					t.Error("the queue is full of four batches")
					return
				}
				if o := g.all(t, 1)[0]; o.err != nil {
					t.Error(o.err)
				}
			}
		})
	}
	wg.Wait()
	for i := range readers {
		var at [writers]int64
		for j, r := range read[i] {
			if r.At != at[r.Epoch] {
				t.Fatalf("reader %d: writer %d's batch %d came when %d was due", i, r.Epoch, r.At, at[r.Epoch])
			}
			at[r.Epoch]++
			if !same(r, read[0][j]) {
				t.Fatalf("readers disagree about record %d", j)
			}
		}
	}
}
