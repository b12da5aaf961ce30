package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// Pick answers what Tail would, record by record, over many segments, with what was
// trimmed and what never was a number in between.
func TestPickAgreesWithTail(t *testing.T) {
	l, _, err := OpenOn(faultfs.New(), Options{SegmentBytes: 16 << 10, RingBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		recs := make([]store.Record, 1+random.IntN(5))
		for j := range recs {
			recs[j] = store.Record{Kind: store.Message, Body: fmt.Append(make([]byte, random.IntN(1200)), i, j)}
		}
		done := make(chan error, 1)
		l.Submit(0, recs, func(_ store.Seq, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(t.Context(), 0, 100); err != nil {
		t.Fatal(err)
	}
	first, last := l.cat.bounds()
	want := make(map[store.Seq]string)
	ctx, cancel := context.WithCancel(t.Context())
	err = l.Tail(ctx, 0, first, func(at store.Seq, recs []store.Record) error {
		for i := range recs {
			want[at+store.Seq(i)] = string(recs[i].Body)
		}
		if at+store.Seq(len(recs)) > last {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for range 200 {
		var seqs []store.Seq
		for seq := first + store.Seq(random.IntN(50)); seq <= last; seq += 1 + store.Seq(random.IntN(200)) {
			seqs = append(seqs, seq)
		}
		got := make(map[store.Seq]string)
		if err := l.Pick(t.Context(), 0, seqs, func(at store.Seq, recs []store.Record) error {
			for i := range recs {
				got[at+store.Seq(i)] = string(recs[i].Body)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, seq := range seqs {
			if got[seq] != want[seq] {
				t.Fatalf("record %d differs", seq)
			}
		}
	}
	for _, c := range []struct {
		seq  store.Seq
		want error
	}{{1, store.ErrTrimmed}, {last + 5, new(store.MissingError)}} {
		err := l.Pick(t.Context(), 0, []store.Seq{c.seq}, func(store.Seq, []store.Record) error { return nil })
		if missing := (*store.MissingError)(nil); !errors.Is(err, c.want) && !errors.As(err, &missing) {
			t.Errorf("record %d: %v, want %v", c.seq, err, c.want)
		}
	}
	fits(t, &l.picked)
}

// fits checks what the cache says of itself.
func fits(t *testing.T, c *pickedCache) {
	t.Helper()
	size, places := 0, make(map[store.Seq]int)
	for e := c.order.Front(); e != nil; e = e.Next() {
		b := e.Value.(*picked)
		size += b.bytes
		for place := b.first / pickedEach; place <= (b.next()-1)/pickedEach; place++ {
			places[place]++
		}
	}
	if c.bytes == 0 || c.bytes > pickedBytesMax || size != c.bytes || len(places) != len(c.at) {
		t.Errorf("%d bytes kept of at most %d, and those in order have %d; %d places where %d are taken", c.bytes, pickedBytesMax, size, len(c.at), len(places))
	}
	for place, n := range places {
		if len(c.at[place]) != n {
			t.Errorf("place %d has %d batches, want %d", place, len(c.at[place]), n)
		}
	}
}

// What is kept is found by each of its numbers, whatever sizes batches have, and goes when there is no room.
func TestPickedCache(t *testing.T) {
	var c pickedCache
	random := rand.New(rand.NewPCG(3, 4))
	var all []*picked
	for first := store.Seq(1); first < 200_000; {
		b := &picked{first: first, recs: make([]store.Record, 1+random.IntN(300)), bytes: 1 + random.IntN(64<<10)}
		c.put(b)
		c.put(&picked{first: first, recs: b.recs, bytes: b.bytes}) // of somebody who read it at the same time
		all = append(all, b)
		first = b.next() + store.Seq(random.IntN(3)*100)
	}
	fits(t, &c)
	kept := make(map[*picked]bool)
	for e := c.order.Front(); e != nil; e = e.Next() {
		kept[e.Value.(*picked)] = true
	}
	if len(kept) == len(all) {
		t.Fatalf("all of %d are there: nothing had to go", len(all))
	}
	if !kept[all[len(all)-1]] || kept[all[0]] {
		t.Error("it is not the oldest that goes")
	}
	for _, b := range all {
		for _, seq := range []store.Seq{b.first, b.first + store.Seq(len(b.recs)/2), b.next() - 1} {
			if got := c.get(seq); (got == b) != kept[b] {
				t.Fatalf("number %d of %d to %d: found %v, kept %t", seq, b.first, b.next()-1, got != nil, kept[b])
			}
		}
	}
	if c.get(0) != nil || c.get(all[len(all)-1].next()) != nil {
		t.Error("a number is found that no batch has")
	}
}

// counted counts how often a file of a folder is opened.
type counted struct {
	disk.Dir
	opened *atomic.Int64
}

func (d counted) Open(name string, write bool) (disk.File, error) {
	d.opened.Add(1)
	return d.Dir.Open(name, write)
}

// Sessions that come back together want other records of the same batches. Whoever comes second reads nothing: not
// even where in a file they are.
func TestPickedIsReadOnce(t *testing.T) {
	dir := counted{faultfs.New(), new(atomic.Int64)}
	l, _, err := OpenOn(dir, Options{SegmentBytes: 64 << 10, RingBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const each, batches = 20, 40 // of a segment a few
	for range batches {
		recs := make([]store.Record, each)
		for i := range recs {
			recs[i] = store.Record{Kind: store.Message, Body: make([]byte, 1<<10)}
		}
		done := make(chan error, 1)
		l.Submit(0, recs, func(_ store.Seq, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for session := range each {
		var seqs []store.Seq
		for b := range batches {
			seqs = append(seqs, store.Seq(1+b*each+session))
		}
		before, got := dir.opened.Load(), 0
		if err := l.Pick(t.Context(), 0, seqs, func(store.Seq, []store.Record) error { got++; return nil }); err != nil || got != batches {
			t.Fatalf("%d batches, %v", got, err)
		}
		if opened := dir.opened.Load() - before; (opened == 0) != (session > 0) {
			t.Fatalf("session %d opened %d files", session, opened)
		}
	}
}
