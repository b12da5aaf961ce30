package main

import (
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// flood judges whether strangers come who do not become clients: many handshakes under way, and fewer logins a second. A fleet
// that comes back is none: what a collection would have left of it half empty stays, for as long as its connections do.
type flood struct {
	at     time.Time // of the last judgement
	logins int64     // until then
	is     bool
}

const (
	// floodHandshakes under way are the fewest: more than those of who connects now and then.
	floodHandshakes = 64
	// floodEvery is the shortest time over which logins are counted.
	floodEvery = 250 * time.Millisecond
)

// see takes what is so now. Too soon after the last time it is what it was.
func (f *flood) see(now time.Time, handshakes, logins int64) bool {
	passed := now.Sub(f.at)
	if passed < floodEvery && !f.at.IsZero() {
		return f.is
	}
	f.is = handshakes >= floodHandshakes && float64(logins-f.logins) < float64(handshakes)*passed.Seconds()
	f.at, f.logins = now, logins
	return f.is
}

// flooded tells whether there is one, and clients are served who would wait for the collector meanwhile. It is called by one goroutine
// at a time, the floor's.
func (n *node) flooded() bool {
	return n.flood.see(n.clock.Now(), n.metrics.Value(metrics.Handshakes), n.metrics.Value(metrics.AuthnSuccess)) && n.server.Serves()
}
