package load

import "time"

// From which lateness the door becomes impatient, and from which nobody gets a new
// session. A client has at least two seconds from accept to CONNACK, in which it needs
// three round trips of ours: a loop that is a second late leaves it no time. What
// commits wait for is a disk: a tenth of a second is usual for one that is shared,
// half a second is not, and two are what a client notices.
const (
	lagSlow     = 250 * time.Millisecond
	lagAlarm    = time.Second
	commitSlow  = 500 * time.Millisecond
	commitAlarm = 2 * time.Second
)

// sustained is how long it must have been so before it is an alarm, and over how long
// it must have been well: one collection, one flush or one reload is no overload.
const (
	sustained = 5 * time.Second
	recovered = 10 * time.Second
)

// delay is one kind of lateness over time.
type delay struct {
	over time.Time // since when it is over the alarm; zero: it is not
	well time.Time // since when it is below what is slow; zero: it is not
	on   bool
	last time.Duration
}

// see answers the pressure: none below slow, a half there, and 1 at the alarm, by what two
// looks in a row have seen: the door must not close on strangers because we had a hiccup.
func (d *delay) see(now time.Time, late, slow, alarm time.Duration) (pressure float64) {
	switch {
	case late < alarm:
		d.over = time.Time{}
	case d.over.IsZero():
		d.over = now
	case now.Sub(d.over) >= sustained:
		d.on = true
	}
	switch {
	case late >= slow:
		d.well = time.Time{}
	case d.well.IsZero():
		d.well = now
	case now.Sub(d.well) >= recovered:
		d.on = false
	}
	both := min(late, d.last)
	if d.last = late; both < slow {
		return 0
	}
	return min(1, 0.5+0.5*float64(both-slow)/float64(alarm-slow))
}
