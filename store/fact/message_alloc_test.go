//go:build !race

package fact

import (
	"bytes"
	"testing"
)

// Every record that is applied, and every message that is read, is decoded into a
// Message that is used again.
func TestAllocMessageTakesNone(t *testing.T) {
	m := Message{Topic: []byte("plant/a/temp"), Props: []byte{1, 2}, Payload: bytes.Repeat([]byte("x"), 200), QoS: 1, ExpiresAt: 1_790_000_000_000}
	for i := range FilterID(FiltersMax) {
		m.Filters = append(m.Filters, i+1)
	}
	b := m.Append(nil)
	dst := make([]byte, 0, 2*len(b))
	got := Message{Filters: make([]FilterID, 0, FiltersMax)}
	if n := testing.AllocsPerRun(100, func() {
		if err := got.Decode(b); err != nil {
			t.Error(err)
		}
		dst = got.Append(dst[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
