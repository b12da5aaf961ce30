package enroll

import (
	"net/netip"
	"sync"
	"time"
)

// How many failed attempts are taken in a window. A token has 256 bits, so that nobody finds
// one by trying; what this bounds is the work and the log lines of who tries all the same.
const (
	window        = time.Minute
	failedPrefix  = 10   // of one network
	failedAll     = 600  // of all: from then on, one of a network is enough
	throttledMost = 4096 // networks that are remembered
)

// throttle counts failed attempts by network: /24 of IPv4, /56 of IPv6. It is safe for
// concurrent use; the zero throttle is ready.
//
// Whoever has failed nothing is looked at whatever others do: a flood from everywhere must
// not keep the devices out.
type throttle struct {
	mu    sync.Mutex // guards all below
	at    map[netip.Prefix]failures
	all   int
	since time.Time // of all
}

type failures struct {
	n     int
	since time.Time
}

func networkOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a = a.Unmap(); a.Is6() {
		bits = 56
	}
	p, _ := a.WithZone("").Prefix(bits) // an address without one is a network of its own
	return p
}

// refuses tells whether an attempt from a is not looked at.
func (t *throttle) refuses(now time.Time, a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, known := t.at[networkOf(a)]
	if !known || now.Sub(f.since) >= window {
		return false
	}
	return f.n >= failedPrefix || t.all >= failedAll && now.Sub(t.since) < window
}

// failed counts an attempt from a.
func (t *throttle) failed(now time.Time, a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= window {
		t.all, t.since = 0, now
	}
	t.all++
	p := networkOf(a)
	f, known := t.at[p]
	if !known && len(t.at) >= throttledMost {
		t.makeRoom(now)
	}
	if now.Sub(f.since) >= window {
		f = failures{since: now}
	}
	f.n++
	if t.at == nil {
		t.at = make(map[netip.Prefix]failures)
	}
	t.at[p] = f
}

// makeRoom forgets those whose window is over, and if there are none the one that has failed
// least among a few: the map begins at another place each time.
func (t *throttle) makeRoom(now time.Time) {
	for p, f := range t.at {
		if now.Sub(f.since) >= window {
			delete(t.at, p)
		}
	}
	if len(t.at) < throttledMost {
		return
	}
	var least netip.Prefix
	looked := 0
	for p, f := range t.at {
		if looked == 0 || f.n < t.at[least].n {
			least = p
		}
		if looked++; looked == 8 {
			break
		}
	}
	delete(t.at, least)
}
