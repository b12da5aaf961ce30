package listener

import (
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// PatienceMin is how long a client has from accept to an accepted CONNECT however
// many are waiting, unless limits.connect_deadline is less: three round trips of
// half a second, as a mobile network has them, and a little.
const PatienceMin = 2 * time.Second

// Between these shares of a limit in use, patience falls from all of it to
// PatienceMin. Below the first nobody is in need; above the last a burst of a
// tenth must still find room.
const (
	pressureFrom = 0.5
	pressureTo   = 0.9
)

// patienceAt is how long a client has at this pressure, 0 to 1, of full.
func patienceAt(full time.Duration, pressure float64) time.Duration {
	if full <= PatienceMin || pressure <= pressureFrom {
		return full
	}
	part := min(1, (pressure-pressureFrom)/(pressureTo-pressureFrom))
	return full - time.Duration(part*float64(full-PatienceMin))
}

// pressure is how much of what strangers can have is in use, 0 to 1: of
// limits.unauthenticated_total, of limits.handshakes_total, and of what
// authenticated clients leave of limits.connections_total. A broker that is full
// of its own devices is not under pressure; one whose last places are taken by
// strangers is.
// What the node as a whole is short of is pressure, too.
func (d *Door) pressure() float64 {
	known := d.total.InUse() - d.strangers.InUse()
	return max(share(d.strangers.InUse(), d.strangers.Max()), share(d.shakers.InUse(), d.shakers.Max()),
		share(d.strangers.InUse(), d.total.Max()-known), d.ofNode())
}

func share(n, of int64) float64 {
	if n <= 0 {
		return 0
	}
	return min(1, float64(n)/float64(max(of, 1)))
}

// Patience is how long a client has at the moment from accept to an accepted
// CONNECT: limits.connect_deadline, and under pressure less, for those who wait
// already too. It is never under PatienceMin nor over the configured value.
func (d *Door) Patience() time.Duration {
	return patienceAt(time.Duration(d.connectDeadlineNanos.Load()), d.pressure())
}

// Deadline is when a connection accepted now must have had its CONNECT accepted,
// whatever the pressure.
func (d *Door) Deadline(now time.Time) time.Time {
	return now.Add(time.Duration(d.connectDeadlineNanos.Load()))
}

// Report lets r show what the door does at the moment.
func (d *Door) Report(r *metrics.Registry) {
	r.Gauge(metrics.ConnectDeadline, func() int64 { return int64((d.Patience() + time.Second - 1) / time.Second) })
	r.Gauge(metrics.Unauthenticated, d.strangers.InUse)
	r.Gauge(metrics.KnownAddresses, d.known.Tracked)
	r.Gauge(metrics.HandshakesQueued, d.turns.Waiting)
}
