package testkit

import (
	"net"
	"testing"
)

func TestNoPortIsToldTwice(t *testing.T) {
	told := make(map[int]bool)
	for range 2 * blockPorts { // more than one block has
		port := FreePort(t)
		if told[port] {
			t.Fatalf("%d is told twice", port)
		}
		told[port] = true
	}
	for _, l := range ports.claims {
		if other, err := listenOn(l.Addr().(*net.TCPAddr).Port); err == nil {
			_ = other.Close()
			t.Error("a block can be claimed by somebody else, too")
		}
	}
}
