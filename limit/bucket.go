// Package limit answers "how often, how many, how big?" for whoever is about to
// spend something: token buckets, sockets and connections per address prefix, and
// totals. It reads no clock, opens nothing and starts no goroutine; callers hand
// in the time. What to do about an answer (pause, refuse, close) is theirs.
//
// Rules: checklist row P4.3; MQTT 5.0 §4.9 leaves rates to the server.
package limit

import (
	"math"
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
// It keeps one moment instead of a token count (the moment at which it will be
// full again), which needs no work while nobody spends and is exact for any rate.
type Bucket struct {
	PerSecond int64 // tokens a second
	Burst     int64 // tokens; below 1 means 1

	full int64 // Unix ns at which the bucket is full again; in the past: it is full
	seen int64 // Unix ns of the last call, to notice a clock that was set back
}

// Take spends n tokens if there are as many, and tells whether it did. More than
// Burst can be spent only from a full bucket, which then is in debt: otherwise a
// thing larger than the burst could never pass.
func (b *Bucket) Take(now time.Time, n int64) bool {
	if b.PerSecond <= 0 || n <= 0 {
		return true
	}
	t := b.settle(now)
	next := b.after(t, n)
	if next-t > b.span() && b.full > t {
		return false
	}
	b.full = next
	return true
}

// Charge spends n tokens whether there are as many or not. It is for what has
// already been read and cannot be refused; Wait then tells for how long to stop
// reading.
func (b *Bucket) Charge(now time.Time, n int64) {
	if b.PerSecond <= 0 || n <= 0 {
		return
	}
	b.full = b.after(b.settle(now), n)
}

// Wait is how long until the bucket is out of debt: zero if it is not in debt, at
// most DebtMax.
func (b *Bucket) Wait(now time.Time) time.Duration {
	if b.PerSecond <= 0 {
		return 0
	}
	t := b.settle(now)
	return time.Duration(max(0, b.full-t-b.span()))
}

// Full tells whether the bucket has forgotten everything that was spent.
func (b *Bucket) Full(now time.Time) bool { return b.PerSecond <= 0 || b.full <= b.settle(now) }

// setBack is how far time must run backwards to mean that somebody set the clock.
// Less is two loops that read it in turns, which must not refill a bucket.
const setBack = time.Second

// settle answers now in Unix ns. A wall clock that was set back must not leave
// everybody waiting for the old time to come again, so the debt moves with it.
func (b *Bucket) settle(now time.Time) int64 {
	t := now.UnixNano()
	if t < b.seen {
		if b.seen-t < int64(setBack) {
			return b.seen
		}
		b.full -= b.seen - t
	}
	b.seen = t
	return t
}

// span is how long an empty bucket takes to fill, in ns.
func (b *Bucket) span() int64 { return b.cost(max(b.Burst, 1)) }

// after is when the bucket is full again once n more tokens are gone.
func (b *Bucket) after(t, n int64) int64 {
	limit := b.span() + int64(DebtMax)
	spent := max(b.full-t, 0)
	return t + min(limit, spent+min(limit, b.cost(n)))
}

// cost is the ns in which n tokens come, rounded up, at most a century: far more
// than DebtMax, far from overflow.
func (b *Bucket) cost(n int64) int64 {
	const most = 100 * 365 * 24 * int64(time.Hour)
	hi, lo := bits.Mul64(uint64(n), uint64(time.Second))
	if hi >= uint64(b.PerSecond) {
		return most
	}
	q, r := bits.Div64(hi, lo, uint64(b.PerSecond))
	if r > 0 {
		q++
	}
	if q > math.MaxInt64 {
		return most
	}
	return min(int64(q), most)
}
