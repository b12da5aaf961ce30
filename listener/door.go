package listener

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
)

// DoorLimits bound connections before and after they have said who they are.
type DoorLimits struct {
	ConnectionsTotal     int64
	UnauthenticatedTotal int64 // accepted, not authenticated yet
	HandshakesTotal      int64 // TLS or WebSocket begun and not finished
	PerPrefix            map[string]int
	RatePerPrefix        map[string]int // new connections per second
	ConnectDeadline      time.Duration  // from accept to accepted CONNECT, whatever the stall
}

// Door counts who is inside, over all listeners. It is safe for concurrent use.
type Door struct {
	total                *limit.Total
	strangers, shakers   *limit.Waiting
	prefixes             *limit.Prefixes
	connects             *limit.Connects
	connectDeadlineNanos atomic.Int64
	count                *metrics.Shard
	banned               func(now time.Time, a netip.Addr) bool // nil: nobody is
}

// NewDoor makes a door; an error names the prefix length that makes no sense.
func NewDoor(l DoorLimits, count *metrics.Shard) (*Door, error) {
	prefixes, err := limit.NewPrefixes(l.PerPrefix)
	if err != nil {
		return nil, err
	}
	connects, err := limit.NewConnects(l.RatePerPrefix)
	if err != nil {
		return nil, err
	}
	d := &Door{
		total: limit.NewTotal(l.ConnectionsTotal), strangers: limit.NewWaiting(l.UnauthenticatedTotal),
		shakers: limit.NewWaiting(l.HandshakesTotal), prefixes: prefixes, connects: connects, count: count,
	}
	d.connectDeadlineNanos.Store(int64(l.ConnectDeadline))
	return d, nil
}

// Refusal is why a connection was not let in; empty: it was.
type Refusal string

// The refusals, in the order they are judged: what one source does is judged
// before what everybody does, so that a flood from one place is told apart.
const (
	OverConnectRate     Refusal = "connect_rate_per_prefix"
	OverPrefix          Refusal = "connections_per_prefix"
	OverTotal           Refusal = "connections_total"
	OverUnauthenticated Refusal = "unauthenticated_total"
	OverHandshakes      Refusal = "handshakes_total"
)

// Admission is one connection's place inside. Its owner calls Leave exactly once;
// the zero Admission holds no place. A copy may be used for Busy only.
type Admission struct {
	door             *Door
	from             netip.Addr
	stranger, shaker *limit.Waiter // nil: no more
}

// Admit gives a connection from a its place, or says which limit refused it.
// shakes: a handshake comes first. At a cap on those who have not said who they
// are, and at that on all connections, somebody who has not makes room, on
// whichever loop he is: see limit.Waiting. His socket may outlive this call for
// a moment; limit.EvictedMax bounds how many do.
func (d *Door) Admit(now time.Time, a netip.Addr, shakes bool) (Admission, Refusal) {
	if d.banned != nil && d.banned(now, a) {
		d.count.Inc(metrics.ConnectionsRefusedBanned)
		return Admission{}, Banned
	}
	if _, ok := d.connects.Allow(now, a); !ok {
		d.count.Inc(metrics.ConnectionsRefusedConnectRate)
		return Admission{}, OverConnectRate
	}
	if _, ok := d.prefixes.Acquire(a); !ok {
		d.count.Inc(metrics.ConnectionsRefusedPrefixLimit)
		return Admission{}, OverPrefix
	}
	room := d.total.Acquire()
	stranger, evict, ok := d.strangers.Join(a, !room)
	if !ok {
		d.prefixes.Release(a)
		if !room {
			d.count.Inc(metrics.ConnectionsRefusedTotalLimit)
			return Admission{}, OverTotal
		}
		d.total.Release()
		d.count.Inc(metrics.ConnectionsRefusedUnauthLimit)
		return Admission{}, OverUnauthenticated
	}
	if !room {
		d.total.Take()
	}
	if evict != nil {
		evict()
	}
	place := Admission{door: d, from: a, stranger: stranger}
	if shakes {
		if place.shaker, evict, ok = d.shakers.Join(a, false); !ok {
			stranger.Leave()
			d.total.Release()
			d.prefixes.Release(a)
			d.count.Inc(metrics.ConnectionsRefusedHandshakeLimit)
			return Admission{}, OverHandshakes
		}
		if evict == nil {
			d.count.Add(metrics.Handshakes, 1)
		} else { // one came, one went
			evict()
		}
	}
	d.count.Inc(metrics.ConnectionsAccepted)
	d.count.Add(metrics.Connections, 1)
	return place, ""
}

// Evictable says how the connection is ended if it has to make room. end is called
// from any goroutine, at most twice, and must not block.
func (a *Admission) Evictable(end func()) {
	a.stranger.Evictable(end)
	a.shaker.Evictable(end)
}

// Busy says whose turn it is: ours, or the client's. Between equals only who keeps
// us waiting makes room.
func (a *Admission) Busy(ours bool) {
	a.stranger.Busy(ours)
	a.shaker.Busy(ours)
}

// WaitsForUs answers what Busy was told last.
func (a *Admission) WaitsForUs() bool { return a.stranger.WaitsForUs() }

// Evicted tells whether the connection was told to make room.
func (a *Admission) Evicted() bool { return a.stranger.Evicted() || a.shaker.Evicted() }

// Handshaken gives back the place of a handshake that ended, well or not. kept is
// false when another has that place already: the connection is to be closed.
func (a *Admission) Handshaken() (kept bool) {
	if a.shaker == nil {
		return true
	}
	if kept = a.shaker.Leave(); kept {
		a.door.count.Add(metrics.Handshakes, -1)
	}
	a.shaker = nil
	return kept
}

// Authenticated gives back the place among those who have not said who they are.
// kept is false when another has it already: the connection is to be closed.
func (a *Admission) Authenticated() (kept bool) {
	kept = a.stranger.Leave()
	a.stranger = nil
	return kept
}

// Closing gives back what may be given back while the socket is still there.
func (a *Admission) Closing() {
	a.Handshaken()
	a.Authenticated()
}

// Leave gives everything back.
func (a *Admission) Leave() {
	if a.door == nil {
		return
	}
	a.Closing()
	a.door.total.Release()
	a.door.prefixes.Release(a.from)
	a.door.count.Add(metrics.Connections, -1)
	a.door = nil
}

// Sweep forgets connection rates that have recovered; somebody calls it every
// few seconds.
func (d *Door) Sweep(now time.Time) { d.connects.Sweep(now, 4096) }

// Apply changes the limits; who is inside stays. An error changes nothing.
func (d *Door) Apply(l DoorLimits) error {
	if _, err := limit.NewPrefixes(l.PerPrefix); err != nil {
		return err
	}
	if err := d.connects.SetRates(l.RatePerPrefix); err != nil {
		return err
	}
	if err := d.prefixes.SetCaps(l.PerPrefix); err != nil {
		return err
	}
	d.total.SetMax(l.ConnectionsTotal)
	d.strangers.SetMax(l.UnauthenticatedTotal)
	d.shakers.SetMax(l.HandshakesTotal)
	d.connectDeadlineNanos.Store(int64(l.ConnectDeadline))
	return nil
}
