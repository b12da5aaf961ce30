package view

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// spread makes names and identifiers of numbers that lie in no order, as hashes do.
func spread(n int) uint64 { return uint64(n+1) * 0x9E3779B97F4A7C15 }

// growthFlushes are how often the index is flushed while it is watched.
const growthFlushes = 40

// rewritten has an index of so many sessions, which are away with ten messages each, take
// messages for others and be flushed now and then, as a broker does. It answers how many bytes
// of rows came meanwhile, and how many compactions wrote.
func rewritten(t *testing.T, sessions int) (came, compacted uint64) {
	t.Helper()
	const batch, each, others = 500, 2000, 500
	var next func() store.Record
	recs := make([]store.Record, batch)
	l := &fakeLog{batch: func(store.Seq) []store.Record {
		for i := range recs {
			recs[i] = next()
		}
		return recs
	}}
	v, err := Open(t.Context(), Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	l.last = 1 << 62
	take := func(n int, fn func(i int) store.Record) {
		i := 0
		next = func() store.Record { i++; return fn(i - 1) }
		if err := v.applyUntil(t.Context(), v.Applied()+1, v.Applied()+store.Seq(n)); err != nil {
			t.Fatal(err)
		}
	}
	figures := func() (flushed, compacted uint64) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			m := v.ix.db.Metrics()
			if m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 {
				for i := range m.Levels {
					compacted += m.Levels[i].TableBytesCompacted
				}
				return m.Levels[0].TableBytesFlushed, compacted
			}
			<-tick.C
		}
	}
	flush := func() {
		if _, err := v.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		figures()
	}
	sid := func(i int) (s store.SID) {
		binary.BigEndian.PutUint64(s[:], spread(i))
		return s
	}
	take(2*sessions, func(i int) store.Record {
		s := sid(i / 2)
		if i%2 == 0 {
			return sessionRecord(store.Claim, s, 1, (&fact.Claim{Owner: fact.Owner{ClientID: fmt.Sprintf("many-%d", i/2), Identity: "bench"}, Node: "n", Version: 4, ExpirySeconds: 100}).Append(nil))
		}
		f := fmt.Sprintf("bench/many/%d", i/2)
		return sessionRecord(store.Subscribe, s, 1, (&fact.Subscription{Filter: f, Real: f, ID: fact.FilterID(spread(i / 2)), QoS: 1}).Append(nil))
	})
	for range 10 {
		take(sessions, func(i int) store.Record { return message("some payload", fact.FilterID(spread(i))) })
		flush()
	}
	cameBefore, before := figures()
	for range growthFlushes {
		take(each, func(i int) store.Record { return message("some payload", fact.FilterID(spread(-2-i%others))) })
		flush()
	}
	cameAfter, after := figures()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return cameAfter - cameBefore, after - before
}

// TestWhatIsStoredIsNotWrittenAgain: a flush has rows of every table. Merging some of them may
// write the level below again, and must not write the whole index: a message would cost the more
// the more is stored. Here the index is larger than that level.
func TestWhatIsStoredIsNotWrittenAgain(t *testing.T) {
	came, by := rewritten(t, 15000)
	t.Logf("%d bytes of rows came in %d flushes, and %d were written to merge them", came, growthFlushes, by)
	if most := uint64(growthFlushes * levelBaseBytes / (depthMax / 2)); came == 0 || by > most {
		t.Errorf("%d bytes were written to merge %d flushes, of %d bytes; it is to be %d at most", by, growthFlushes, came, most)
	}
}
