package view

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// plainLog hides what a log can do beside what every log can.
type plainLog struct{ store.Log }

// Numbers that were never given out, as after a crash, are lost like others, by a log
// that picks and by one that does not.
func TestReadGoesOverNumbersThatWereNeverGivenOut(t *testing.T) {
	dir := faultfs.New()
	l := openLog(t, dir, smallLog)
	put(t, l, message("before", 1))
	dir = dir.Crash(rand.New(rand.NewPCG(1, 1))) //nolint:gosec // a test
	_ = l.Close()                                // it has no power
	l = openLog(t, dir, smallLog)
	after := put(t, l, message("after", 1))
	if after < 1000 {
		t.Fatalf("the next number is %d", after)
	}
	for _, log := range []store.Log{l, plainLog{l}} {
		t.Run(fmt.Sprintf("%T", log), func(t *testing.T) {
			v := mustOpen(t, Options{Log: log, Folder: "index", FS: vfs.NewMem()})
			defer shutView(t, v)
			var found []store.Seq
			lost, err := v.Read(t.Context(), []store.Seq{1, 2, 500, after - 1, after}, func(seq store.Seq, _ *store.Record, m *fact.Message) error {
				found = append(found, seq)
				return nil
			})
			if err != nil || lost != 3 || fmt.Sprint(found) != fmt.Sprint([]store.Seq{1, after}) {
				t.Errorf("%v found, %d lost, %v", found, lost, err)
			}
			lost, err = v.Read(t.Context(), []store.Seq{2, 3}, nil)
			if err != nil || lost != 2 {
				t.Errorf("%d lost, %v", lost, err)
			}
		})
	}
	_ = l.Close()
}

// Whoever reads much offers its place of the runtime: on one place, others run before the end.
func TestReadLetsOthersRun(t *testing.T) {
	const messages = 64 // a portion of a session
	m := fact.Message{Topic: []byte("a"), Filters: []fact.FilterID{1}}
	body := m.Append(nil)
	l := &fakeLog{last: messages, batch: func(store.Seq) []store.Record {
		recs := make([]store.Record, messages)
		for i := range recs {
			recs[i] = store.Record{Kind: store.Message, Body: body}
		}
		return recs
	}}
	var seqs []store.Seq
	for seq := store.Seq(1); seq <= messages; seq++ {
		seqs = append(seqs, seq)
	}
	v := &View{o: Options{Log: l}}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var others sync.WaitGroup
	var turns, ended atomic.Int64
	others.Go(func() {
		for ended.Load() == 0 {
			turns.Add(1)
			runtime.Gosched()
		}
	})
	for turns.Load() == 0 {
		runtime.Gosched()
	}
	got := int64(0)
	for try := 0; try < 100 && got < messages/restEvery; try++ { // who offers his place may be the next himself, by chance: of many readings one in which he never was
		before := turns.Load()
		if lost, err := v.fetch(t.Context(), nil, seqs, func(store.Seq, *store.Record, *fact.Message) error { return nil }); err != nil || lost != 0 {
			t.Errorf("%d lost, %v", lost, err)
		}
		got = turns.Load() - before
	}
	if got < messages/restEvery {
		t.Errorf("others had %d turns, want %d", got, messages/restEvery)
	}
	ended.Store(1)
	others.Wait()
}
