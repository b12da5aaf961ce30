package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redoubtmq/redoubt/store"
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
	if l.picked.bytes == 0 || l.picked.bytes > pickedBytesMax || len(l.picked.at) != l.picked.order.Len() {
		t.Errorf("%d bytes kept, %d of %d", l.picked.bytes, len(l.picked.at), l.picked.order.Len())
	}
}
