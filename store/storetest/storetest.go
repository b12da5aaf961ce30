// Package storetest is the one suite for every driver of store.Log: Run checks
// each promise of the interface's comment. It knows no driver. A driver is done
// when it passes; what is special about it (crashes, files) it tests itself.
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

// patience ends a test that would wait for ever. Nothing waits for it to pass.
const patience = 30 * time.Second

// Run checks a driver. open answers a new, empty log; the suite closes it. A
// driver whose queue has a bound that a test can reach should be opened with a
// small one.
func Run(t *testing.T, open func(t *testing.T) store.Log) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l store.Log)
	}{
		{"numbers begin at one and follow each other", numbers},
		{"outcomes come once and in order", outcomes},
		{"what was submitted is what is read", contents},
		{"submit takes a copy", copies},
		{"done may submit", nested},
		{"a full queue says so and loses nothing", full},
		{"a bad batch fails and takes no other with it", invalid},
		{"tail sees only what is durable", durable},
		{"tail follows from anywhere", anywhere},
		{"tail waits for a number that is not there yet", future},
		{"tail ends with fn's error and with ctx's", endings},
		{"trim lets go of the old and of nothing else", trim},
		{"a shard that does not exist", shards},
		{"close settles and ends", closing},
		{"many at once", many},
		{"random histories against a twin", twins},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t)
			t.Cleanup(func() { _ = l.Close() })
			c.run(t, l)
		})
	}
}

// outcome is what done was told.
type outcome struct {
	n     int // which Submit
	first store.Seq
	err   error
}

// text is a batch of one message.
func text(s string) []store.Record {
	return []store.Record{{Kind: store.Message, At: 1, Body: []byte(s)}}
}

// put submits and waits for the outcome.
func put(t *testing.T, l store.Log, recs []store.Record) (store.Seq, error) {
	t.Helper()
	ch := make(chan outcome, 1)
	submit(t, l, recs, func(first store.Seq, err error) { ch <- outcome{0, first, err} })
	o := receive(t, ch)
	return o.first, o.err
}

// mustPut is put that has to succeed.
func mustPut(t *testing.T, l store.Log, recs []store.Record) store.Seq {
	t.Helper()
	first, err := put(t, l, recs)
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	return first
}

// submit tries until the queue takes it: outcomes make room, and each wait is
// for one batch of our own.
func submit(t *testing.T, l store.Log, recs []store.Record, done func(store.Seq, error)) {
	t.Helper()
	if !l.Submit(0, recs, done) {
		t.Fatal("an idle log did not take a batch")
	}
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// read is one call of fn, copied.
type read struct {
	first store.Seq
	recs  []store.Record
}

func (r read) String() string { return fmt.Sprintf("%d: %v", r.first, r.recs) }

func clone(recs []store.Record) []store.Record {
	out := make([]store.Record, len(recs))
	for i, r := range recs {
		r.Body = bytes.Clone(r.Body)
		out[i] = r
	}
	return out
}

var errEnough = errors.New("enough")

// collect reads from from until it has seen number until.
func collect(t *testing.T, l store.Log, from, until store.Seq) []read {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []read
	err := l.Tail(ctx, 0, from, func(first store.Seq, recs []store.Record) error {
		got = append(got, read{first, clone(recs)})
		spoil(recs)
		if first+store.Seq(len(recs)) > until { //nolint:gosec // a length
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("tail from %d: %v, want to read up to %d; got %d batches", from, err, until, len(got))
	}
	return got
}

// spoil overwrites what fn must not keep: a driver that kept it would see.
func spoil(recs []store.Record) {
	for i := range recs {
		recs[i] = store.Record{}
	}
}

func same(a, b store.Record) bool {
	return a.Kind == b.Kind && a.SID == b.SID && a.Epoch == b.Epoch && a.At == b.At && bytes.Equal(a.Body, b.Body)
}

func sameBatch(a, b []store.Record) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

func bounds(t *testing.T, l store.Log) (first, last store.Seq) {
	t.Helper()
	first, last, err := l.Bounds(t.Context(), 0)
	if err != nil {
		t.Fatalf("bounds: %v", err)
	}
	return first, last
}

// ledger collects outcomes of many Submits.
type ledger struct {
	mu   sync.Mutex // guards got
	got  []outcome
	wait chan struct{} // one for each outcome
}

func newLedger(n int) *ledger { return &ledger{wait: make(chan struct{}, n)} }

func (g *ledger) done(n int) func(store.Seq, error) {
	return func(first store.Seq, err error) {
		g.mu.Lock()
		g.got = append(g.got, outcome{n, first, err})
		g.mu.Unlock()
		g.wait <- struct{}{}
	}
}

// all waits for n outcomes.
func (g *ledger) all(t *testing.T, n int) []outcome {
	t.Helper()
	for range n {
		receive(t, g.wait)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]outcome(nil), g.got...)
}
