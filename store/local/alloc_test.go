//go:build !race

package local

import (
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// In steady state a batch costs no allocation on its way to the disk.
func TestSubmitAllocatesNothing(t *testing.T) {
	d, err := disk.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, _ := mustOpen(t, d, Options{ReserveBytes: -1})
	defer shut(l)
	recs := []store.Record{{Kind: store.Message, Body: make([]byte, 256)}}
	done := func(_ store.Seq, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	round := func() {
		for range 1000 {
			l.Submit(0, recs, done)
		}
		l.step()
	}
	for range 20 { // both buffers and the ring have their size
		round()
	}
	if n := testing.AllocsPerRun(20, round) / 1000; n > 0.01 {
		t.Errorf("%v allocations for each batch", n)
	}
}
