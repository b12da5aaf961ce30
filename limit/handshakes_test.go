package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestHandshakesStandInLine(t *testing.T) {
	h, err := NewHandshakes(map[string]int{"/24": 10, "/56": 10})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, last}) }
	for i := range 10 {
		if wait, _, ok := h.Begin(now, at(byte(i)), HandshakeFull, time.Second); !ok || wait != 0 {
			t.Fatalf("handshake %d of a burst of ten: %v, %v", i, wait, ok)
		}
	}
	for i := range 10 {
		want := time.Duration(i+1) * 100 * time.Millisecond
		if wait, _, ok := h.Begin(now, at(byte(i)), HandshakeFull, time.Second); !ok || (wait-want).Abs() > time.Microsecond {
			t.Fatalf("handshake %d in line: %v, %v; want %v", i, wait, ok, want)
		}
	}
	for range 100 { // a refusal costs nothing: the line is as long as it was
		if _, over, ok := h.Begin(now, at(99), HandshakeFull, time.Second); ok || over != netip.MustParsePrefix("203.0.113.0/24") {
			t.Fatalf("the 21st within a second: %v, %v", over, ok)
		}
	}
	if wait, _, ok := h.Begin(now, netip.MustParseAddr("203.0.114.1"), HandshakeFull, 0); !ok || wait != 0 {
		t.Errorf("the network beside it waits %v, %v", wait, ok)
	}
	if wait, _, ok := h.Begin(now, netip.Addr{}, HandshakeFull, 0); !ok || wait != 0 {
		t.Errorf("a unix socket waits %v, %v", wait, ok)
	}
	now = now.Add(100 * time.Millisecond)
	if wait, _, ok := h.Begin(now, at(1), HandshakeFull, time.Second); !ok || (wait-time.Second).Abs() > time.Microsecond {
		t.Errorf("after a tenth of a second: %v, %v", wait, ok)
	}
}

// Resumed handshakes give back half of what they were charged, so that twice as
// many have room; what is given back is never more than was spent.
func TestResumedHandshakesCostHalf(t *testing.T) {
	h, _ := NewHandshakes(map[string]int{"/24": 10})
	now, a := time.Unix(1_800_000_000, 0), netip.MustParseAddr("203.0.113.1")
	for i := range 19 { // the last one must have its two before one comes back
		if wait, _, ok := h.Begin(now, a, HandshakeFull, 0); !ok || wait != 0 {
			t.Fatalf("resumed handshake %d: %v, %v", i, wait, ok)
		}
		h.Return(now, a, HandshakeFull-HandshakeResumed)
	}
	if _, _, ok := h.Begin(now, a, HandshakeFull, 0); ok {
		t.Error("more than twice as many")
	}
	h.Return(now, a, 1_000_000)
	h.Return(now, netip.MustParseAddr("192.0.2.1"), 1_000_000)
	for range 10 {
		if wait, _, ok := h.Begin(now, a, HandshakeFull, 0); !ok || wait != 0 {
			t.Fatal("the burst is not whole")
		}
	}
	if _, _, ok := h.Begin(now, a, HandshakeFull, 0); ok {
		t.Error("the burst has grown")
	}
	if n := h.Tracked(); n != 1 {
		t.Errorf("%d prefixes in memory", n)
	}
}
