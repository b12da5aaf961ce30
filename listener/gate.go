package listener

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
)

// GateLimits bound one listener, beside what the door allows all of them. 0: not
// bounded.
type GateLimits struct {
	Connections int64
	ConnectRate int64 // new connections per second, with a burst of one second's worth
	KnownShare  int   // percent of both, of the known
}

// Gate is the part of the door that one listener has to itself: a public entrance
// may be full while the one in the plant is not. At its cap a stranger who came in
// here makes room, as at the caps of the door. The zero Gate bounds nothing. It is
// safe for concurrent use.
type Gate struct {
	total     limit.Total
	max       atomic.Int64
	strangers atomic.Pointer[limit.Waiting] // nil: there was never a cap
	waiting   atomic.Int64                  // who has not said who he is

	mu    sync.Mutex // guards everything below
	rate  limit.Bucket
	share int64
}

// Waiting is how many came in here and have not said who they are.
func (g *Gate) Waiting() int64 { return g.waiting.Load() }

// SetLimits changes the limits; who is inside stays.
func (g *Gate) SetLimits(l GateLimits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate.PerSecond, g.rate.Burst, g.share = l.ConnectRate, l.ConnectRate, int64(l.KnownShare)
	if l.Connections > 0 {
		w := g.strangers.Load()
		if w == nil {
			w = limit.NewWaiting(l.Connections)
			g.strangers.Store(w)
		}
		w.SetMax(l.Connections)
		w.SetShare(l.KnownShare)
		g.total.SetMax(l.Connections)
	}
	g.max.Store(l.Connections)
}

// enter gives a connection its place at this gate, or says why not; then a may have
// part of it.
func (g *Gate) enter(now time.Time, a *Admission) (evict func(), refusal Refusal) {
	if !g.inTime(now, a.known) {
		return nil, OverListenerRate
	}
	w := g.strangers.Load()
	if g.max.Load() == 0 || w == nil {
		g.total.Take()
		a.gate = g
		return nil, ""
	}
	room := g.total.Acquire()
	if room {
		a.gate = g
	}
	var ok bool
	a.waiting().guest, evict, ok = w.JoinAs(a.from, !room, a.known)
	switch {
	case !ok:
		return nil, OverListener
	case !room:
		g.total.Take()
		a.gate = g
	}
	return evict, ""
}

// inTime takes one connection from the rate. Strangers leave what of the burst is
// for the known, or whoever knocks fastest would keep everybody else out.
func (g *Gate) inTime(now time.Time, known bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := int64(0)
	if !known {
		left = g.rate.Burst * g.share / 100
	}
	return g.rate.TakeLeaving(now, 1, left)
}

// Key is the setting that has refused, of this listener; empty: it was none.
func (r Refusal) Key(listener string) string {
	if rest, own := strings.CutPrefix(string(r), listenersOwn); own {
		return "listeners." + listener + ".limits." + rest
	}
	if r == Banned {
		return ""
	}
	return "limits." + string(r)
}

// listenersOwn is before the refusals of a gate.
const listenersOwn = "listener."

// refused counts a refusal and answers it.
func (d *Door) refused(r Refusal) (Admission, Refusal) {
	d.count.Inc(refusalMetric[r])
	return Admission{}, r
}

var refusalMetric = map[Refusal]metrics.ID{
	OverConnectRate:     metrics.ConnectionsRefusedConnectRate,
	OverPrefix:          metrics.ConnectionsRefusedPrefixLimit,
	OverListenerRate:    metrics.ConnectionsRefusedListenerRate,
	OverListener:        metrics.ConnectionsRefusedListenerLimit,
	OverTotal:           metrics.ConnectionsRefusedTotalLimit,
	OverUnauthenticated: metrics.ConnectionsRefusedUnauthLimit,
	OverHandshakes:      metrics.ConnectionsRefusedHandshakeLimit,
	Banned:              metrics.ConnectionsRefusedBanned,
	OverMemory:          metrics.ConnectionsRefusedMemory,
}
