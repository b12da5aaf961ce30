package local

import (
	"testing"

	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// The oldest segment goes when everything below a number may, and the newest never does.
func TestOldestIsWhatTrimDrops(t *testing.T) {
	l, _ := mustOpen(t, faultfs.New(), tiny)
	defer shut(l)
	if _, _, ok := l.Oldest(); ok {
		t.Error("an empty log has a segment that can go")
	}
	for i := range 100 {
		mustCommit(t, l, i)
	}
	for before := l.Usage(); before.Segments > 1; before = l.Usage() {
		below, bytes, ok := l.Oldest()
		if !ok || below <= before.First {
			t.Fatalf("%+v: below %d, %d bytes, %v", before, below, bytes, ok)
		}
		if err := l.Trim(t.Context(), 0, below-1); err != nil || l.Usage() != before {
			t.Fatalf("one number less dropped something: %+v, %v", l.Usage(), err)
		}
		if err := l.Trim(t.Context(), 0, below); err != nil {
			t.Fatal(err)
		}
		if now := l.Usage(); now.Segments != before.Segments-1 || now.Bytes != before.Bytes-bytes || now.First != below {
			t.Fatalf("%+v after %+v, below %d, %d bytes", now, before, below, bytes)
		}
	}
	if _, _, ok := l.Oldest(); ok {
		t.Error("the newest segment can go")
	}
}

// A start says how far it has read.
func TestOpenTellsItsProgress(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 50)
	var last, sum int64
	o := tiny
	o.Progress = func(done, total int64) {
		if done < last || done > total {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last, sum = done, total
	}
	l, rep := mustOpen(t, d, o)
	defer shut(l)
	if last != sum || sum < rep.Bytes {
		t.Errorf("%d of %d, the log has %d", last, sum, rep.Bytes)
	}
}
