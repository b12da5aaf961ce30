package limit

import (
	"net/netip"
	"time"
)

// What a handshake costs, in the tokens of Handshakes.
const (
	HandshakeFull    = 2 // keys are agreed on and something is signed
	HandshakeResumed = 1 // keys are agreed on
	UpgradeOnly      = 1 // a request of HTTP, without TLS
)

// Handshakes limits handshakes per second and address prefix, with a burst of one
// second's worth. It is a Connects in which one can stand in line: who is over the
// rate is told for how long to wait, so that a site whose devices all come back at
// once is slowed down and not sent away to come again. It is safe for concurrent
// use.
type Handshakes struct{ Connects }

// NewHandshakes takes full handshakes per second by prefix length, as {"/24": 200,
// "/56": 200}, read like those of NewPrefixes.
func NewHandshakes(perSecond map[string]int) (*Handshakes, error) {
	w, err := parseWidths(perSecond)
	if err != nil {
		return nil, err
	}
	return &Handshakes{Connects{each: HandshakeFull, widths: w, max: ConnectsTrackedMax, at: map[netip.Prefix]Bucket{}}}, nil
}

// Begin spends n tokens of a and answers after how long the handshake may begin.
// If that is more than patience it spends nothing and names the prefix that is
// over its rate: the line is never longer than patience. A unix socket's zero
// address is not limited.
func (h *Handshakes) Begin(now time.Time, a netip.Addr, n int64, patience time.Duration) (wait time.Duration, over netip.Prefix, ok bool) {
	a = plain(a)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.widths {
		p, counted := w.of(a)
		if !counted {
			continue
		}
		b := h.bucket(w, p)
		b.Charge(now, n)
		if wait = max(wait, b.Wait(now)); wait > patience {
			return 0, p, false
		}
	}
	h.charge(now, a, n)
	return wait, netip.Prefix{}, true
}

// Return gives a back n tokens of what Begin has spent: it was less.
func (h *Handshakes) Return(now time.Time, a netip.Addr, n int64) {
	a = plain(a)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.widths {
		p, counted := w.of(a)
		if !counted {
			continue
		}
		if _, known := h.at[p]; !known { // it was forgotten, with all that was spent
			continue
		}
		b := h.bucket(w, p)
		b.Return(now, n)
		h.at[p] = b
	}
}
