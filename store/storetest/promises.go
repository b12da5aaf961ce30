package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/store"
)

func numbers(t *testing.T, l store.Log) {
	if first, last := bounds(t, l); first != 1 || last != 0 {
		t.Fatalf("an empty log has bounds %d, %d; want 1, 0", first, last)
	}
	if l.Shards() < 1 {
		t.Fatal("no shard")
	}
	want := store.Seq(1)
	for n := 1; n <= 5; n++ {
		recs := make([]store.Record, n)
		for i := range recs {
			recs[i] = store.Record{Kind: store.Ack, Epoch: uint64(i)} //nolint:gosec // small
		}
		if got := mustPut(t, l, recs); got != want {
			t.Fatalf("a batch of %d got number %d, want %d", n, got, want)
		}
		want += store.Seq(n) //nolint:gosec // small
		if first, last := bounds(t, l); first != 1 || last != want-1 {
			t.Fatalf("bounds %d, %d after its outcome; want 1, %d", first, last, want-1)
		}
	}
}

func outcomes(t *testing.T, l store.Log) {
	const n = 2000
	g := newLedger(2 * n)
	sent := 0
	for sent < n && l.Submit(0, text(fmt.Sprint(sent)), g.done(sent)) { // until the queue is full: that is enough
		sent++
	}
	g.all(t, sent)
	if _, err := put(t, l, text("last")); err != nil { // any second outcome would be there now
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.got) != sent {
		t.Fatalf("%d outcomes for %d submits", len(g.got), sent)
	}
	for i, o := range g.got {
		if o.n != i || o.err != nil || i > 0 && o.first != g.got[i-1].first+1 {
			t.Fatalf("outcome %d is %+v after %+v", i, o, g.got[max(0, i-1)])
		}
	}
}

func contents(t *testing.T, l store.Log) {
	sid := store.SID{1, 2, 15: 9}
	batches := [][]store.Record{
		{{Kind: store.Message, SID: sid, Epoch: 1<<64 - 1, At: -1 << 63, Body: []byte("a")}},
		{{Kind: store.Claim}, {Kind: store.Hash, At: 1<<63 - 1, Body: make([]byte, 3000)}, {Kind: store.Audit, Epoch: 1}},
		{{Kind: store.Message, Body: bytes.Repeat([]byte{0xff}, 700_000)}}, // larger than any buffer begins with
		text("z"),
	}
	var firsts []store.Seq
	for _, b := range batches {
		firsts = append(firsts, mustPut(t, l, b))
	}
	_, last := bounds(t, l)
	for i, r := range collect(t, l, 1, last) {
		if r.first != firsts[i] || !sameBatch(r.recs, batches[i]) {
			t.Errorf("batch %d came back different, as number %d", i, r.first)
		}
	}
}

func copies(t *testing.T, l store.Log) {
	recs := text("before")
	ch := make(chan outcome, 1)
	submit(t, l, recs, func(first store.Seq, err error) { ch <- outcome{0, first, err} })
	copy(recs[0].Body, "AFTER!")
	recs[0].Kind = store.Ban
	o := receive(t, ch)
	if got := collect(t, l, o.first, o.first); string(got[0].recs[0].Body) != "before" || got[0].recs[0].Kind != store.Message {
		t.Fatalf("the log has %v, which was written after Submit", got)
	}
}

func nested(t *testing.T, l store.Log) {
	ch := make(chan outcome, 1)
	submit(t, l, text("outer"), func(outer store.Seq, err error) {
		if err != nil || !l.Submit(0, text("inner"), func(first store.Seq, err error) { ch <- outcome{int(outer), first, err} }) { //nolint:gosec // small
			ch <- outcome{0, 0, fmt.Errorf("inner submit refused after %w", err)}
		}
	})
	if o := receive(t, ch); o.err != nil || int(o.first) <= o.n { //nolint:gosec // small
		t.Fatalf("%+v", o)
	}
}

// full holds the committer in done, and so has the queue to itself.
func full(t *testing.T, l store.Log) {
	hold, held := make(chan struct{}), make(chan struct{})
	submit(t, l, text("hold"), func(store.Seq, error) { close(held); <-hold })
	receive(t, held)
	g := newLedger(1 << 20)
	sent := 0
	body := make([]byte, 64<<10)
	for l.Submit(0, []store.Record{{Kind: store.Message, Body: body}}, g.done(sent)) {
		if sent++; sent == 1<<14 {
			close(hold)
			t.Fatal("the queue has taken a gigabyte and is not full")
		}
	}
	if sent == 0 {
		close(hold)
		t.Fatal("an empty queue takes nothing")
	}
	if l.Submit(0, []store.Record{{Kind: store.Message, Body: body}}, g.done(-1)) {
		t.Error("a full queue took a batch")
	}
	close(hold)
	for i, o := range g.all(t, sent) {
		if o.n != i || o.err != nil {
			t.Fatalf("outcome %d: %+v", i, o)
		}
	}
	mustPut(t, l, text("there is room again"))
}

func invalid(t *testing.T, l store.Log) {
	g := newLedger(16)
	hold, held := make(chan struct{}), make(chan struct{})
	submit(t, l, text("hold"), func(store.Seq, error) { close(held); <-hold })
	receive(t, held)
	for i, c := range []struct {
		recs []store.Record
		want error
	}{
		{text("good"), nil},
		{nil, store.ErrInvalid},
		{[]store.Record{{Kind: 0}}, store.ErrInvalid},
		{[]store.Record{{Kind: store.Message}, {Kind: 255}}, store.ErrInvalid},
		{text("good too"), nil},
		{make([]store.Record, store.BatchRecordsMax+1), store.ErrTooLarge},
	} {
		if !l.Submit(0, c.recs, g.done(i)) {
			close(hold)
			t.Fatalf("batch %d was not taken", i)
		}
		defer func() {
			if o := g.got[i]; o.n != i || !errors.Is(o.err, c.want) || (c.want == nil) != (o.first != 0) {
				t.Errorf("batch %d: %+v, want %v", i, o, c.want)
			}
		}()
	}
	close(hold)
	got := g.all(t, 6)
	if got[4].first != got[0].first+1 {
		t.Errorf("a batch that was never written took a number: %+v", got)
	}
}

func durable(t *testing.T, l store.Log) {
	hold, held := make(chan struct{}), make(chan struct{})
	submit(t, l, text("1"), func(store.Seq, error) { close(held); <-hold })
	receive(t, held)
	ch := make(chan outcome, 1)
	submit(t, l, text("2"), func(first store.Seq, err error) { ch <- outcome{0, first, err} })
	if _, last := bounds(t, l); last != 1 {
		t.Errorf("last is %d while the second batch waits", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	shown := make(chan store.Seq, 2)
	ended := make(chan error, 1)
	go func() {
		ended <- l.Tail(ctx, 0, 1, func(first store.Seq, _ []store.Record) error {
			shown <- first
			return nil
		})
	}()
	select { // a batch is shown when its outcome was told, and the first one's is being told
	case first := <-shown:
		t.Errorf("tail shows %d while its outcome is being told", first)
	case <-time.After(20 * time.Millisecond):
	}
	close(hold)
	if o := receive(t, ch); o.err != nil {
		t.Error(o.err)
	}
	for want := store.Seq(1); want <= 2; want++ {
		if first := receive(t, shown); first != want {
			t.Errorf("tail shows %d, want %d", first, want)
		}
	}
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("tail: %v", err)
	}
}

func anywhere(t *testing.T, l store.Log) {
	for i := range 40 {
		recs := make([]store.Record, 1+i%3)
		for j := range recs {
			recs[j] = store.Record{Kind: store.Message, Epoch: uint64(i), Body: fmt.Append(make([]byte, 2000), i, j)} //nolint:gosec // small
		}
		mustPut(t, l, recs)
	}
	_, last := bounds(t, l)
	all := collect(t, l, 1, last)
	whole := make(map[store.Seq]store.Record)
	for _, b := range all {
		for i, r := range b.recs {
			whole[b.first+store.Seq(i)] = r //nolint:gosec // small
		}
	}
	for from := store.Seq(1); from <= last; from++ {
		want := from
		for _, b := range collect(t, l, from, last) {
			if b.first != want {
				t.Fatalf("tail from %d: got %d, want %d", from, b.first, want)
			}
			for _, r := range b.recs {
				if !same(r, whole[want]) {
					t.Fatalf("tail from %d: record %d is different", from, want)
				}
				want++
			}
		}
	}
}

func future(t *testing.T, l store.Log) {
	got := make(chan store.Seq, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = l.Tail(t.Context(), 0, 3, func(first store.Seq, _ []store.Record) error { got <- first; return errEnough })
	})
	for range 3 {
		mustPut(t, l, text("x"))
	}
	if first := receive(t, got); first != 3 {
		t.Errorf("tail from 3 began with %d", first)
	}
	wg.Wait()
}

func endings(t *testing.T, l store.Log) {
	mustPut(t, l, text("1"))
	mustPut(t, l, text("2"))
	calls := 0
	if err := l.Tail(t.Context(), 0, 1, func(store.Seq, []store.Record) error { calls++; return errEnough }); !errors.Is(err, errEnough) || calls != 1 {
		t.Errorf("tail: %v after %d calls, want fn's error after one", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls = 0
	if err := l.Tail(ctx, 0, 1, func(store.Seq, []store.Record) error { calls++; cancel(); return nil }); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("tail: %v after %d calls, want the context's error after one", err, calls)
	}
	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ended <- l.Tail(ctx, 0, 3, func(store.Seq, []store.Record) error { return nil }) })
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a tail that waits: %v", err)
	}
	wg.Wait()
}

func trim(t *testing.T, l store.Log) {
	for i := range 200 {
		mustPut(t, l, []store.Record{{Kind: store.Message, Body: fmt.Append(make([]byte, 500), i)}})
	}
	low := store.Seq(1)
	for _, below := range []store.Seq{0, 1, 50, 20, 150, 201, 5000} {
		if err := l.Trim(t.Context(), 0, below); err != nil {
			t.Fatalf("trim below %d: %v", below, err)
		}
		first, last := bounds(t, l)
		if first < low || first > max(low, below) || last != 200 {
			t.Fatalf("bounds %d, %d after trim below %d; first was %d", first, last, below, low)
		}
		low = first
		if first <= last {
			if got := collect(t, l, first, last); got[0].first != first || len(got) != int(last-first)+1 { //nolint:gosec // small
				t.Fatalf("after trim below %d there are %d batches from %d", below, len(got), got[0].first)
			}
		}
		if err := l.Tail(t.Context(), 0, first-1, func(store.Seq, []store.Record) error { return errEnough }); !errors.Is(err, store.ErrTrimmed) {
			t.Fatalf("tail from %d, below first: %v", first-1, err)
		}
	}
	if got := mustPut(t, l, text("next")); got != 201 {
		t.Errorf("after trimming everything the next number is %d, want 201", got)
	}
}

func shards(t *testing.T, l store.Log) {
	none := store.ShardID(l.Shards()) //nolint:gosec // small
	if _, _, err := l.Bounds(t.Context(), none); !errors.Is(err, store.ErrShard) {
		t.Errorf("bounds: %v", err)
	}
	if err := l.Trim(t.Context(), none, 1); !errors.Is(err, store.ErrShard) {
		t.Errorf("trim: %v", err)
	}
	if err := l.Tail(t.Context(), none, 1, nil); !errors.Is(err, store.ErrShard) {
		t.Errorf("tail: %v", err)
	}
	ch := make(chan outcome, 1)
	if !l.Submit(none, text("x"), func(first store.Seq, err error) { ch <- outcome{0, first, err} }) || !errors.Is(receive(t, ch).err, store.ErrShard) {
		t.Error("submit to a shard that does not exist")
	}
}

func closing(t *testing.T, l store.Log) {
	mustPut(t, l, text("1"))
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ended <- l.Tail(t.Context(), 0, 1, func(store.Seq, []store.Record) error { return nil }) })
	g := newLedger(100)
	for i := range 100 {
		submit(t, l, text("x"), g.done(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i, o := range g.all(t, 100) {
		if o.n != i || o.err != nil {
			t.Fatalf("outcome %d at close: %+v", i, o)
		}
	}
	if err := receive(t, ended); !errors.Is(err, store.ErrClosed) {
		t.Errorf("tail: %v", err)
	}
	wg.Wait()
	if l.Submit(0, text("late"), func(store.Seq, error) { t.Error("done of a refused batch") }) {
		t.Error("a closed log took a batch")
	}
	if err := l.Tail(t.Context(), 0, 1, func(store.Seq, []store.Record) error { return errEnough }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("tail of a closed log: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
