package view

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// Large messages do not fill a block in a week, and the log is trimmed all the same: a part
// ends where its bodies reach a size, and the next Open reads no more than that.
func TestLargeMessagesAreTrimmedWithinABlock(t *testing.T) {
	dir, fs := faultfs.New(), crashable()
	l := openLog(t, dir, smallLog)
	o := Options{Log: l, Folder: "index", FS: fs, partBytes: 20 << 10}
	v := mustOpen(t, o)
	ear := newEar()
	v.Run(ear)
	var last store.Seq
	for range 100 {
		last = put(t, l, message(strings.Repeat("x", 1000), 1))
	}
	ear.wait(t, last)
	settle(t, v)
	below, err := v.Trim(t.Context(), last)
	if err != nil || below < last-40 {
		t.Fatalf("trimmed below %d of %d, %v", below, last, err)
	}
	if first, _, _ := l.Bounds(t.Context(), 0); first < last-45 {
		t.Errorf("the log begins with %d of %d", first, last)
	}
	v.open.mu.Lock()
	open := len(v.open.blocks)
	v.open.mu.Unlock()
	if open != 1 {
		t.Errorf("%d parts are in memory", open)
	}

	after := fs.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 1))}) //nolint:gosec // a test
	shutView(t, v)
	o.FS = after
	v = mustOpen(t, o)
	defer shut(t, v, l)
	if n := v.Stats().OpenPostings; n > 40 {
		t.Errorf("%d postings were made again", n)
	}
	_, known := readAll(t, l)
	list, upTo, err := v.Pending(&Query{Filters: []Interest{{ID: 1}}}, nil)
	if err != nil || upTo != last || len(list) != int(last-below)+1 || list[0].Seq != below {
		t.Errorf("%d postings from %v, up to %d, %v; want those of %d to %d, of %d records", len(list), list[:1], upTo, err, below, last, len(known))
	}
}

// A part ends with its block, however small its bodies are.
func TestPartsEndWithBlocksAndBytes(t *testing.T) {
	p, max := part{}, sizes{bits: 4, bytes: 100}
	for i, step := range []struct {
		seq   store.Seq
		body  int
		first store.Seq
	}{{1, 60, 0}, {2, 39, 0}, {3, 1, 0}, {4, 1, 4}, {5, 500, 4}, {6, 0, 6}, {15, 99, 6}, {16, 0, 16}, {40, 0, 32}, {41, 100, 32}, {42, 0, 42}} {
		if p.step(step.seq, step.body, max); p.first != step.first {
			t.Errorf("step %d: record %d is in the part of %d, want %d", i, step.seq, p.first, step.first)
		}
	}
}
