//go:build !race

package view

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A message costs no allocation on its way into the open block.
func TestAllocApplyTakesNone(t *testing.T) {
	l := &fakeLog{batch: func(store.Seq) []store.Record { return nil }}
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	defer func() { _ = v.Close() }()
	recs := make([]store.Record, 64)
	for i := range recs {
		recs[i] = message("payload", fact.FilterID(i+1), 1000)
	}
	next := v.Applied() + 1
	round := func() {
		if err := v.apply(t.Context(), next, recs, nil); err != nil {
			t.Error(err)
		}
		next += 64
	}
	for range 1 << blockBitsDefault / 64 * 2 { // two blocks: everything has its size
		round()
	}
	if n := testing.AllocsPerRun(500, round) / 64; n > 0.05 { // maps and arrays still grow now and then
		t.Errorf("%v allocations for each message", n)
	}
}
