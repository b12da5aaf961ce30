package listener

import (
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
)

// DoorLimits bound connections before and after they have said who they are.
type DoorLimits struct {
	ConnectionsTotal     int64
	UnauthenticatedTotal int64 // accepted, no CONNECT accepted yet
	HandshakesTotal      int64 // TLS or WebSocket begun and not finished
	PerPrefix            map[string]int
	RatePerPrefix        map[string]int // new connections per second
	ConnectDeadline      time.Duration  // from accept to accepted CONNECT, whatever the stall
}

// Door counts who is inside, over all listeners. It is safe for concurrent use.
type Door struct {
	total, unauthenticated, handshakes *limit.Total
	prefixes                           *limit.Prefixes
	connects                           *limit.Connects
	deadline                           time.Duration
	count                              *metrics.Shard
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
	return &Door{
		total: limit.NewTotal(l.ConnectionsTotal), unauthenticated: limit.NewTotal(l.UnauthenticatedTotal),
		handshakes: limit.NewTotal(l.HandshakesTotal), prefixes: prefixes, connects: connects,
		deadline: l.ConnectDeadline, count: count,
	}, nil
}

// Deadline is when a connection accepted now must have had its CONNECT accepted.
func (d *Door) Deadline(now time.Time) time.Time { return now.Add(d.deadline) }

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

// Admission is one connection's place inside. Its owner calls Authenticated at
// most once and Leave exactly once; the zero Admission holds no place.
type Admission struct {
	door            *Door
	from            netip.Addr
	unauthenticated bool
	handshaking     bool
}

// Admit gives a connection from a its place, or says which limit refused it.
// shakes: a handshake comes first.
func (d *Door) Admit(now time.Time, a netip.Addr, shakes bool) (Admission, Refusal) {
	if _, ok := d.connects.Allow(now, a); !ok {
		d.count.Inc(metrics.ConnectionsRefusedConnectRate)
		return Admission{}, OverConnectRate
	}
	if _, ok := d.prefixes.Acquire(a); !ok {
		d.count.Inc(metrics.ConnectionsRefusedPrefixLimit)
		return Admission{}, OverPrefix
	}
	if !d.total.Acquire() {
		d.prefixes.Release(a)
		d.count.Inc(metrics.ConnectionsRefusedTotalLimit)
		return Admission{}, OverTotal
	}
	if !d.unauthenticated.Acquire() {
		d.total.Release()
		d.prefixes.Release(a)
		d.count.Inc(metrics.ConnectionsRefusedUnauthLimit)
		return Admission{}, OverUnauthenticated
	}
	if shakes && !d.handshakes.Acquire() {
		d.unauthenticated.Release()
		d.total.Release()
		d.prefixes.Release(a)
		d.count.Inc(metrics.ConnectionsRefusedUnauthLimit)
		return Admission{}, OverHandshakes
	}
	d.count.Inc(metrics.ConnectionsAccepted)
	d.count.Add(metrics.Connections, 1)
	if shakes {
		d.count.Add(metrics.Handshakes, 1)
	}
	return Admission{door: d, from: a, unauthenticated: true, handshaking: shakes}, ""
}

// Handshaken gives back the place of a handshake that ended, well or not.
func (a *Admission) Handshaken() {
	if a.handshaking {
		a.handshaking = false
		a.door.handshakes.Release()
		a.door.count.Add(metrics.Handshakes, -1)
	}
}

// Authenticated gives back the place among those who have not said who they
// are.
func (a *Admission) Authenticated() {
	if a.unauthenticated {
		a.unauthenticated = false
		a.door.unauthenticated.Release()
	}
}

// Leave gives everything back.
func (a *Admission) Leave() {
	if a.door == nil {
		return
	}
	a.Handshaken()
	a.Authenticated()
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
	d.unauthenticated.SetMax(l.UnauthenticatedTotal)
	d.handshakes.SetMax(l.HandshakesTotal)
	return nil
}
