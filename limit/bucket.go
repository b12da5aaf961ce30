// Package limit answers "how often, how many, how big?" for whoever is about to
// spend something: token buckets, sockets and connections per address prefix, and
// totals. It reads no clock, opens nothing and starts no goroutine; callers hand
// in the time. What to do about an answer (pause, refuse, close) is theirs.
//
// Rules: checklist row P4.3; MQTT 5.0 §4.9 leaves rates to the server.
package limit

import (
	"math/bits"
	"time"
)

// DebtMax bounds how long Wait can ever answer. A packet that was read is always
// charged, so one at the size limit can put a slow bucket far into debt; a client
// that is made to wait longer than this is better served by being let in again.
const DebtMax = time.Minute

// Bucket is a token bucket as a value: it fills with PerSecond tokens a second up
// to Burst and starts full. It is not safe for concurrent use. The zero Bucket,
// like any with PerSecond 0 or less, is unlimited.
//
// It keeps one number instead of a token count, how long it needs to be full again.
// That is exact to a fraction of a nanosecond for any rate, and needs no work while
// nobody spends.
type Bucket struct {
	PerSecond int64 // tokens a second
	Burst     int64 // tokens; below 1 means 1

	empty int64 // time until the bucket is full again, in ns << fraction
	seen  int64 // Unix ns for which empty is true
}

// fraction is how many bits of a nanosecond are kept. Without them a burst of
// three at three a second would be two: 3 x 333,333,334 ns is more than a second.
const fraction = 10

// Take spends n tokens if there are as many, and tells whether it did. More than
// Burst can be spent only from a full bucket, which then is in debt: otherwise a
// thing larger than the burst could never pass.
func (b *Bucket) Take(now time.Time, n int64) bool { return b.TakeLeaving(now, n, 0) }

// TakeLeaving is Take for somebody who must leave that many tokens, which are
// another's. As much as a whole Burst cannot be left.
func (b *Bucket) TakeLeaving(now time.Time, n, left int64) bool {
	if b.PerSecond <= 0 || n <= 0 {
		return true
	}
	b.settle(now)
	next := b.empty + b.cost(n)
	if next > b.span()-b.cost(max(0, min(left, b.Burst-1))) && b.empty > 0 {
		return false
	}
	b.spend(next)
	return true
}

// Charge spends n tokens whether there are as many or not. It is for what has
// already been read and cannot be refused; Wait then tells for how long to stop
// reading.
func (b *Bucket) Charge(now time.Time, n int64) {
	if b.PerSecond <= 0 || n <= 0 {
		return
	}
	b.settle(now)
	b.spend(b.empty + b.cost(n))
}

// Return gives back n tokens that were spent, as far as that many are missing.
func (b *Bucket) Return(now time.Time, n int64) {
	if b.PerSecond <= 0 || n <= 0 {
		return
	}
	b.settle(now)
	b.empty = max(0, b.empty-b.cost(n))
}

// Wait is how long until the bucket is out of debt: zero if it is not in debt, at
// most DebtMax.
func (b *Bucket) Wait(now time.Time) time.Duration {
	if b.PerSecond <= 0 {
		return 0
	}
	b.settle(now)
	const round = 1<<fraction - 1
	return time.Duration((max(0, b.empty-b.span()) + round) >> fraction)
}

// Full tells whether the bucket has forgotten everything that was spent.
func (b *Bucket) Full(now time.Time) bool {
	b.settle(now)
	return b.PerSecond <= 0 || b.empty == 0
}

// setBack is how far time must run backwards to mean that somebody set the clock.
// Less is two loops that read it in turns, which must not refill a bucket.
const setBack = time.Second

// settle fills in what came since it was called last. A wall clock that was set
// back must not leave everybody waiting for the old time to come again: nothing
// came, and it counts on from there.
func (b *Bucket) settle(now time.Time) {
	t := now.UnixNano()
	passed := t - b.seen
	if passed < 0 && passed > -int64(setBack) {
		return
	}
	b.seen = t
	switch {
	case passed <= 0:
	case passed > b.empty>>fraction:
		b.empty = 0
	default:
		b.empty -= passed << fraction
	}
}

// spend sets what is missing, at most a burst and DebtMax.
func (b *Bucket) spend(missing int64) { b.empty = min(missing, b.span()+int64(DebtMax)<<fraction) }

// span is how long an empty bucket takes to fill.
func (b *Bucket) span() int64 { return b.cost(max(b.Burst, 1)) }

// costMax bounds what one cost can be: a month, of which several can be added up
// without overflow.
const costMax = 30 * 24 * int64(time.Hour) << fraction

// cost is the time in which n tokens come, in ns << fraction.
func (b *Bucket) cost(n int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second)<<fraction)
	if hi >= uint64(b.PerSecond) {
		return costMax
	}
	q, _ := bits.Div64(hi, lo, uint64(b.PerSecond))
	return int64(min(q, uint64(costMax)))
}
