package local

import (
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// Where the reader keeps up the ring stays as small as it began, however much is written; it grows, as far
// as it may, for one that falls behind, who gets everything all the same.
func TestRingGrowsForWhoFallsBehind(t *testing.T) {
	const most = 256 << 10
	l, _ := mustOpen(t, faultfs.New(), Options{RingBytes: most, ReserveBytes: -1})
	defer shut(l)
	written, read := store.Seq(0), store.Seq(0)
	reader := &tail{l: l, ctx: t.Context(), from: 1, fn: func(first store.Seq, recs []store.Record) error {
		if first != read+1 {
			t.Fatalf("record %d came after %d", first, read)
		}
		read += store.Seq(len(recs))
		return nil
	}}
	recs := []store.Record{{Kind: store.Message, Body: make([]byte, 1<<10)}}
	write := func(n int) {
		for range n {
			written++
			l.Submit(0, recs, func(_ store.Seq, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			l.step()
		}
	}
	catchUp := func() {
		for read < written {
			if err := reader.turn(); err != nil {
				t.Fatal(err)
			}
		}
	}
	keepUp := func() (size int) {
		for range 1000 {
			write(1)
			catchUp()
		}
		return len(l.ring.buf)
	}
	if size := keepUp(); size != ringBytesFirst {
		t.Errorf("%d bytes for a reader who keeps up, want %d", size, ringBytesFirst)
	}
	write(1)
	l.ring.tooShort(read + 1) // which came between two looks of the reader's, and is there
	if size := keepUp(); size != ringBytesFirst {
		t.Errorf("%d bytes for a reader whom nothing fell out for, want %d", size, ringBytesFirst)
	}
	want := ringBytesFirst
	for range 4 {
		write(1000)
		catchUp()
		want = min(2*want, most)
		if size := keepUp(); size != want {
			t.Errorf("%d bytes after a reader fell behind, want %d", size, want)
		}
	}
	write(100) // as much as there is room for by now
	if _, ok := l.ring.copyOut(nil, read+1, windowBytes); !ok {
		t.Error("the ring has not what it has room for")
	}
	catchUp()
}
