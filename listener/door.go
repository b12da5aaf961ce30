package listener

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/cores"
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
	ShakeRatePerPrefix   map[string]int // handshakes per second
	ShakeCPU             int            // percent of the cores that handshakes may take; 0: all
	KnownShare           int            // percent of what strangers compete for, of the known
	ConnectDeadline      time.Duration  // from accept to accepted CONNECT, whatever the stall
}

// Door counts who is inside, over all listeners. It is safe for concurrent use.
type Door struct {
	total                *limit.Total
	strangers, shakers   *limit.Waiting
	prefixes             *limit.Prefixes
	connects             *limit.Connects
	shakes               *limit.Handshakes
	turns                *limit.Turns
	known                *limit.Known
	sharing              atomic.Bool  // the known have a share
	seconds              atomic.Int64 // Unix time of the last admission or sweep
	connectDeadlineNanos atomic.Int64
	count                *metrics.Shard
	pressed
	banned func(now time.Time, a netip.Addr) bool // nil: nobody is
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
	shakes, err := limit.NewHandshakes(l.ShakeRatePerPrefix)
	if err != nil {
		return nil, err
	}
	d := &Door{
		total: limit.NewTotal(l.ConnectionsTotal), strangers: limit.NewWaiting(l.UnauthenticatedTotal),
		shakers: limit.NewWaiting(l.HandshakesTotal), prefixes: prefixes, connects: connects, shakes: shakes, count: count,
		turns: limit.NewTurns(cores.Count(), l.ShakeCPU, l.KnownShare), known: limit.NewKnown(),
	}
	d.share(l.KnownShare)
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
	OverListenerRate    Refusal = listenersOwn + "connect_rate"
	OverListener        Refusal = listenersOwn + "connections"
	OverTotal           Refusal = "connections_total"
	OverUnauthenticated Refusal = "unauthenticated_total"
	OverHandshakes      Refusal = "handshakes_total"
	OverMemory          Refusal = "memory"
	OverHandshakeRate   Refusal = "handshake_rate_per_prefix" // later, when the handshake is to begin
)

// Admission is one connection's place inside. Its owner calls Leave exactly once;
// the zero Admission holds no place. A copy may be used for Busy and for turns only.
type Admission struct {
	door            *Door
	from            netip.Addr
	waits           *waits // nil: no more
	gate            *Gate  // nil: none; else it counts this one
	known, accepted bool
	holds           holds
}

// waits are the places that a connection gives back before it is open, so that one which
// is has no room for them. They do not change once they are taken: a handshake has a copy
// of the admission, and says by them whose turn it is.
type waits struct {
	stranger, shaker *limit.Waiter // nil: none
	guest            *limit.Waiter // stranger, of the gate
}

// waiting is the places, to be taken.
func (a *Admission) waiting() *waits {
	if a.waits == nil {
		a.waits = new(waits)
	}
	return a.waits
}

// places is a copy of those that a has still.
func (a *Admission) places() waits {
	if a.waits == nil {
		return waits{}
	}
	w := *a.waits
	if a.holds&holdsShaker == 0 {
		w.shaker = nil
	}
	return w
}

// Outside is somebody from an address who has no place.
func Outside(from netip.Addr) Admission { return Admission{from: from} }

// From is where the connection comes from, as it was when it got its place; the zero Addr
// where there is no address.
func (a *Admission) From() netip.Addr { return a.from }

// holds is what an admission has taken: whatever ends it, a bug as well, gives back
// that and no more.
type holds uint8

const (
	holdsPrefix  holds = 1 << iota // of Door.prefixes
	holdsTotal                     // of Door.total
	holdsCounted                   // in the gauge of connections
	holdsWaiting                   // in Gate.waiting
	holdsShaker                    // waits.shaker
)

// Admit gives a connection from a its place, or says which limit refused it.
// shakes: a handshake comes first. At a cap on those who have not said who they
// are, and at that on all connections, somebody who has not makes room, on
// whichever loop he is: see limit.Waiting, and for the share of the known, too. His
// socket may outlive this call for a moment; limit.EvictedMax bounds how many do.
func (d *Door) Admit(now time.Time, a netip.Addr, shakes bool) (Admission, Refusal) {
	return d.admit(now, a, shakes, nil)
}

// admit is Admit for a connection that comes through g, unless that is nil.
func (d *Door) admit(now time.Time, a netip.Addr, shakes bool, g *Gate) (Admission, Refusal) {
	if d.banned != nil && d.banned(now, a) {
		return d.refused(Banned)
	}
	if d.shut() {
		return d.refused(OverMemory)
	}
	if _, ok := d.connects.Allow(now, a); !ok {
		return d.refused(OverConnectRate)
	}
	place := Admission{door: d, from: a}
	in := false
	defer func() { // a bug on the way leaves nothing behind
		if !in {
			place.Leave()
		}
	}()
	if _, ok := d.prefixes.Acquire(a); !ok {
		return d.refused(OverPrefix)
	}
	place.holds = holdsPrefix
	place.known = d.knows(now, &place)
	if refusal := place.take(now, shakes, g); refusal != "" {
		return d.refused(refusal)
	}
	if place.known {
		d.count.Inc(metrics.ConnectionsKnown)
	}
	d.count.Inc(metrics.ConnectionsAccepted)
	place.counted()
	in = true
	return place, ""
}

// counted puts a in the gauge of connections.
func (a *Admission) counted() {
	a.door.count.Add(metrics.Connections, 1)
	a.holds |= holdsCounted
	if a.gate != nil {
		a.gate.waiting.Add(1)
		a.holds |= holdsWaiting
	}
}

// take takes the places that everybody competes for. After a refusal a has some of
// them. Whoever has to make room for it is told.
func (a *Admission) take(now time.Time, shakes bool, g *Gate) (refusal Refusal) {
	if g != nil {
		evict, refusal := g.enter(now, a)
		defer tell(evict)
		if refusal != "" {
			return refusal
		}
	}
	if refusal = a.among(a.from); refusal != "" || !shakes {
		return refusal
	}
	d := a.door
	var evict func()
	var ok bool
	a.waiting().shaker, evict, ok = d.shakers.JoinAs(a.from, false, a.known)
	a.holds |= holdsShaker
	defer tell(evict)
	switch {
	case !ok:
		return OverHandshakes
	case evict == nil: // or else one came, one went
		d.count.Add(metrics.Handshakes, 1)
	}
	return ""
}

// among takes the place of a stranger of from, and one of all.
func (a *Admission) among(from netip.Addr) Refusal {
	d := a.door
	room := d.total.Acquire()
	if room {
		a.holds |= holdsTotal
	}
	var evict func()
	var ok bool
	a.waiting().stranger, evict, ok = d.strangers.JoinAs(from, !room || d.crowded(), a.known)
	defer tell(evict)
	switch {
	case !ok && !room:
		return OverTotal
	case !ok:
		return OverUnauthenticated
	case !room:
		d.total.Take()
		a.holds |= holdsTotal
	}
	return ""
}

// tell ends a connection that has to make room; nil: there is none.
func tell(evict func()) {
	if evict != nil {
		evict()
	}
}

// Evictable says how the connection is ended if it has to make room. end is called
// from any goroutine, at most three times, and must not block.
func (a *Admission) Evictable(end func()) {
	w := a.places()
	w.guest.Evictable(end)
	w.stranger.Evictable(end)
	w.shaker.Evictable(end)
}

// Busy says whose turn it is: ours, or the client's. Between equals only who keeps
// us waiting makes room.
func (a *Admission) Busy(ours bool) {
	w := a.places()
	w.guest.Busy(ours)
	w.stranger.Busy(ours)
	w.shaker.Busy(ours)
}

// WaitsForUs answers what Busy was told last.
func (a *Admission) WaitsForUs() bool { return a.places().stranger.WaitsForUs() }

// Evicted tells whether the connection was told to make room.
func (a *Admission) Evicted() bool {
	w := a.places()
	return w.stranger.Evicted() || w.shaker.Evicted() || w.guest.Evicted()
}

// Handshaken gives back the place of a handshake that ended, well or not. kept is
// false when another has that place already: the connection is to be closed.
func (a *Admission) Handshaken() (kept bool) {
	shaker := a.places().shaker
	if shaker == nil {
		return true
	}
	if kept = shaker.Leave(); kept {
		a.door.count.Add(metrics.Handshakes, -1)
	}
	a.holds &^= holdsShaker
	return kept
}

// Authenticated gives back the place among those who have not said who they are.
// kept is false when another has it already: the connection is to be closed.
func (a *Admission) Authenticated() (kept bool) {
	w := a.places()
	a.waits = nil
	if a.holds&holdsWaiting != 0 {
		a.holds &^= holdsWaiting
		a.gate.waiting.Add(-1)
	}
	kept = w.stranger.Leave()
	return w.guest.Leave() && kept
}

// Closing gives back what may be given back while the socket is still there.
func (a *Admission) Closing() {
	defer a.Authenticated()
	a.Handshaken()
}

// Leave gives everything back, whatever trips on the way.
func (a *Admission) Leave() {
	d := a.door
	if d == nil {
		return
	}
	defer d.left(a)
	defer a.gone()
	a.Closing()
}

// left is the last part of Leave.
func (d *Door) left(a *Admission) {
	a.door = nil
	if a.gate != nil {
		a.gate.total.Release()
	}
	if a.holds&holdsTotal != 0 {
		d.total.Release()
	}
	if a.holds&holdsPrefix != 0 {
		d.prefixes.Release(a.from)
	}
	if a.holds&holdsCounted != 0 {
		d.count.Add(metrics.Connections, -1)
	}
}

// Sweep forgets rates that have recovered; somebody calls it every few seconds.
func (d *Door) Sweep(now time.Time) {
	d.connects.Sweep(now, 4096)
	d.shakes.Sweep(now, 4096)
	d.known.Sweep(now, 4096)
	d.seconds.Store(now.Unix())
}

// Apply changes the limits; who is inside stays. An error changes nothing.
func (d *Door) Apply(l DoorLimits) error {
	if _, err := limit.NewPrefixes(l.PerPrefix); err != nil {
		return err
	}
	if _, err := limit.NewHandshakes(l.ShakeRatePerPrefix); err != nil {
		return err
	}
	if err := d.connects.SetRates(l.RatePerPrefix); err != nil {
		return err
	}
	if err := d.prefixes.SetCaps(l.PerPrefix); err != nil {
		return err
	}
	_ = d.shakes.SetRates(l.ShakeRatePerPrefix) // NewHandshakes agreed above
	d.total.SetMax(l.ConnectionsTotal)
	d.strangers.SetMax(l.UnauthenticatedTotal)
	d.shakers.SetMax(l.HandshakesTotal)
	d.turns.Set(cores.Count(), l.ShakeCPU, l.KnownShare)
	d.share(l.KnownShare)
	d.connectDeadlineNanos.Store(int64(l.ConnectDeadline))
	return nil
}
