package enroll

import (
	"net/netip"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestThrottle(t *testing.T) {
	var th throttle
	a, neighbour, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.200"), netip.MustParseAddr("198.51.100.1")
	for range failedPrefix - 1 {
		th.failed(t0, a)
	}
	if th.refuses(t0, a) {
		t.Error("before the last one that is taken")
	}
	th.failed(t0, neighbour)
	if !th.refuses(t0, a) || !th.refuses(t0.Add(window-1), neighbour) {
		t.Error("a network goes on")
	}
	if th.refuses(t0, b) {
		t.Error("another network is refused with it")
	}
	if th.refuses(t0.Add(window), a) {
		t.Error("after its time")
	}
}

// TestThrottleOfAll: when all have failed very often, once is enough; who has not is let in.
func TestThrottleOfAll(t *testing.T) {
	var th throttle
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }
	for i := range failedAll {
		th.failed(t0, at(i))
	}
	if !th.refuses(t0, at(0)) || th.refuses(t0, netip.MustParseAddr("192.0.2.1")) {
		t.Error("over the limit of all")
	}
	if th.refuses(t0.Add(window), at(0)) {
		t.Error("after its time")
	}
	for i := range 3 * throttledMost {
		th.failed(t0, at(i))
	}
	if len(th.at) > throttledMost {
		t.Errorf("%d networks are remembered", len(th.at))
	}
	th.failed(t0.Add(window), netip.MustParseAddr("192.0.2.1"))
	if len(th.at) != 1 {
		t.Errorf("%d networks are remembered when the time of all is over", len(th.at))
	}
}
