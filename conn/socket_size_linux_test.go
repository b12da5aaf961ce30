//go:build !race

package conn

import (
	"testing"
	"unsafe"
)

// TestSocketAllocatesLittle: each connection has one, whatever it does.
func TestSocketAllocatesLittle(t *testing.T) {
	if n := unsafe.Sizeof(fdSocket{}); n > 48 {
		t.Errorf("a socket has %d bytes", n)
	}
}

// TestAllocBuffersAreLent: what a write lends is given back, and is not garbage of each write.
func TestAllocBuffersAreLent(t *testing.T) {
	putBuffer(getBuffer())
	if n := testing.AllocsPerRun(1000, func() { putBuffer(getBuffer()) }); n != 0 {
		t.Errorf("a buffer that is lent and given back allocates %v times", n)
	}
}
