//go:build !race

package store

import "testing"

// A length says nothing about memory: decoding takes none.
func TestRecordAllocatesNothing(t *testing.T) {
	b := AppendRecord(nil, &samples[2])
	dst := make([]byte, 0, 1024)
	var r Record
	if n := testing.AllocsPerRun(100, func() {
		_, _ = DecodeRecord(b, &r)
		dst = AppendRecord(dst[:0], &r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
