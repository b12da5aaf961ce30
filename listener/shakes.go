package listener

import (
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
)

// Begin asks whether the handshake of a connection may begin, once a whole
// ClientHello is there (secure), or without TLS a first byte. wait is for how long
// it is put off because its source network is over its rate: at most half of the
// patience there is, so that half is left for the handshake and the CONNECT. Beyond
// that it is refused. Until it begins nothing is allocated for it and it is not
// busy: whoever needs its place may have it.
func (a *Admission) Begin(now time.Time, secure bool) (wait time.Duration, refusal Refusal) {
	if a.door == nil {
		return 0, ""
	}
	cost := int64(limit.UpgradeOnly)
	if secure {
		cost = limit.HandshakeFull
	}
	wait, _, ok := a.door.shakes.Begin(now, a.from, cost, a.door.Patience()/2)
	switch {
	case !ok:
		return 0, OverHandshakeRate
	case wait > 0:
		a.door.count.Inc(metrics.HandshakesDelayed)
	}
	return wait, ""
}

// Resumed gives back what a resumed handshake has cost less than a full one. It is
// told when the handshake is over: a ticket in a ClientHello is only a claim, which
// anybody can make.
func (a *Admission) Resumed(now time.Time) {
	if a.door != nil {
		a.door.shakes.Return(now, a.from, limit.HandshakeFull-limit.HandshakeResumed)
	}
}

// Ask asks for a turn to compute for this connection, Done ends it, and Deal is
// called when one of the three says that it is to be: see limit.Turns.
func (a *Admission) Ask(now time.Time, turn *limit.Turn) (after time.Duration) {
	return a.door.turns.Ask(now, a.from, a.known, turn)
}

// Done ends a turn, whether it had come or not.
func (a *Admission) Done(now time.Time, turn *limit.Turn) (after time.Duration) {
	return a.door.turns.Done(now, turn)
}

// Deal lets compute whoever may.
func (a *Admission) Deal(now time.Time) (after time.Duration) { return a.door.turns.Deal(now) }

// Computing is how many handshakes compute at the moment.
func (d *Door) Computing() int64 { return d.turns.Computing() }
