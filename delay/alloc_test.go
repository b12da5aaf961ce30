//go:build !race

package delay

import (
	"runtime"
	"testing"
	"unsafe"
)

// slotBytes is not less than what a message takes besides its frame.
func TestAllocSlotIsCounted(t *testing.T) {
	if n := unsafe.Sizeof(item[*int]{}); n > slotBytes/2 {
		t.Errorf("an item takes %d bytes", n)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n = 100_000
	f := frame("x")
	s := New[string](NewAccount(Limits{n, 1 << 40, n, 1 << 40}))
	before := heap()
	for i := range n {
		if _, err := s.Put(f, int64(i*7919%n), "o", ""); err != nil {
			t.Fatal(err)
		}
	}
	if each := (heap() - before) / n; each > slotBytes {
		t.Errorf("a message takes %d bytes, and %d are counted", each, slotBytes)
	}
	runtime.KeepAlive(s)
}
