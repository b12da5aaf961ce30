package limit

import (
	"math/bits"
	"time"
)

// SetRate changes what fills the bucket, and how much it holds. What was spent stays
// spent, in tokens: a rate that is raised pays a debt sooner, and one that is lowered
// later. A bucket that was unlimited begins full, and one that becomes unlimited forgets.
func (b *Bucket) SetRate(now time.Time, perSecond, burst int64) {
	if b.PerSecond == perSecond && b.Burst == burst {
		return
	}
	b.settle(now)
	switch {
	case perSecond <= 0 || b.PerSecond <= 0:
		b.empty = 0
	default:
		hi, lo := bits.Mul64(uint64(b.empty), uint64(b.PerSecond))
		b.empty = costMax
		if hi < uint64(perSecond) {
			q, _ := bits.Div64(hi, lo, uint64(perSecond))
			b.empty = int64(min(q, uint64(costMax)))
		}
	}
	b.PerSecond, b.Burst = perSecond, burst
	if perSecond > 0 {
		b.spend(b.empty)
	}
}

// Spent is how many tokens are missing, rounded to the nearest; more than Burst while the
// bucket is in debt.
func (b *Bucket) Spent(now time.Time) int64 {
	if b.PerSecond <= 0 {
		return 0
	}
	b.settle(now)
	second := uint64(time.Second) << fraction
	hi, lo := bits.Mul64(uint64(b.empty), uint64(b.PerSecond))
	lo, carry := bits.Add64(lo, second/2, 0)
	q, _ := bits.Div64(hi+carry, lo, second) // empty is at most two months: no overflow below 2^40 a second
	return int64(q)
}

// Rest is how long until the bucket has forgotten everything, if nobody spends.
func (b *Bucket) Rest(now time.Time) time.Duration {
	if b.PerSecond <= 0 {
		return 0
	}
	b.settle(now)
	const round = 1<<fraction - 1
	return time.Duration((b.empty + round) >> fraction)
}
