package view

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// fakeLog is a log in memory that holds no record before it is asked for it: what is
// measured is the view.
type fakeLog struct {
	store.Log
	last  store.Seq
	batch func(first store.Seq) []store.Record
}

func (l *fakeLog) Bounds(context.Context, store.ShardID) (first, last store.Seq, err error) {
	return 1, l.last, nil
}

func (l *fakeLog) Tail(ctx context.Context, _ store.ShardID, from store.Seq, fn func(store.Seq, []store.Record) error) error {
	for from <= l.last {
		recs := l.batch(from)
		if err := fn(from, recs); err != nil {
			return err
		}
		from += store.Seq(len(recs))
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *fakeLog) Submit(_ store.ShardID, recs []store.Record, done func(store.Seq, error)) bool {
	recs = []store.Record{{Kind: recs[0].Kind, Body: append([]byte(nil), recs[0].Body...)}}
	next := l.batch
	l.last++
	own := l.last
	l.batch = func(first store.Seq) []store.Record {
		if first == own {
			return recs
		}
		return next(first)
	}
	done(own, nil)
	return true
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// last waits for a record.
type last struct {
	seq  store.Seq
	done chan struct{}
}

func (l *last) Applied(first store.Seq, items []Item) {
	if first+store.Seq(len(items)) > l.seq {
		close(l.done)
		l.done = nil
		l.seq = 1<<64 - 1
	}
}

// BenchmarkApply applies messages of 256 bytes, each for as many filters as its name
// says, out of 10,000, on the disk below the test's folder; each is a batch of its own,
// or one of 64.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ filters, size int }{{1, 1}, {1, 64}, {8, 64}, {64, 64}} {
		b.Run(fmt.Sprintf("filters=%d/batch=%d", c.filters, c.size), func(b *testing.B) {
			recs := make([]store.Record, c.size)
			n := uint64(0)
			m := fact.Message{Topic: []byte("plant/a/temp"), Payload: make([]byte, 256), QoS: 1, Filters: make([]fact.FilterID, c.filters)}
			l := &fakeLog{batch: func(store.Seq) []store.Record {
				for i := range recs {
					for k := range m.Filters {
						n = n*6364136223846793005 + 1442695040888963407
						m.Filters[k] = fact.FilterID(n>>33%10_000 + 1)
					}
					recs[i] = store.Record{Kind: store.Message, At: 1_790_000_000_000, Body: m.Append(recs[i].Body[:0])}
				}
				return recs
			}}
			v, err := Open(b.Context(), Options{Log: l, Folder: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			l.last = v.Applied() + store.Seq(b.N)
			ear := &last{seq: l.last, done: make(chan struct{})}
			done := ear.done
			b.ReportAllocs()
			began := cpu()
			b.ResetTimer()
			v.Run(ear)
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64((cpu()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
			if err := v.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPending asks for one filter, and for 100, of 10,000, after a million messages
// of which the last block is in memory.
func BenchmarkPending(b *testing.B) {
	const messages = 1_000_000
	recs := make([]store.Record, 1000)
	m := fact.Message{Topic: []byte("a"), Filters: make([]fact.FilterID, 1)}
	l := &fakeLog{last: messages, batch: func(first store.Seq) []store.Record {
		for i := range recs {
			m.Filters[0] = fact.FilterID((uint64(first)+uint64(i))*2654435761%10_000 + 1)
			recs[i] = store.Record{Kind: store.Message, Body: m.Append(recs[i].Body[:0])}
		}
		return recs
	}}
	v, err := Open(b.Context(), Options{Log: l, Folder: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	if err := v.ix.db.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := v.ix.db.Compact(b.Context(), []byte{0}, []byte{tableEnd}, false); err != nil && err != pebble.ErrNotFound {
		b.Fatal(err)
	}
	for _, c := range []struct {
		filters int
		after   store.Seq
	}{{1, 0}, {1, messages - 1000}, {100, 0}, {100, messages - 1000}} {
		b.Run(fmt.Sprintf("filters=%d/after=%d", c.filters, c.after), func(b *testing.B) {
			q := Query{After: c.after, Broad: true}
			for i := range c.filters {
				q.Filters = append(q.Filters, Interest{ID: fact.FilterID(i*37 + 1)})
			}
			var list []Posting
			b.ReportAllocs()
			for b.Loop() {
				if list, _, err = v.Pending(&q, list[:0]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(list)), "postings")
		})
	}
}
