package limit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// plainBucket is the bucket everybody has in mind, with nanotokens so that it is
// exact for the rates the test draws.
type plainBucket struct {
	perSecond, burst int64
	nano             int64 // tokens times a billion; below 0: debt
	at               time.Time
}

func (p *plainBucket) fill(now time.Time) {
	p.nano = min(p.burst*int64(time.Second), p.nano+p.perSecond*int64(now.Sub(p.at)))
	p.at = now
}

// Rates that divide a second without remainder must agree to the nanosecond.
func TestBucketAgainstAPlainTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]int64{1, 2, 10, 1000, 1_000_000}).Draw(t, "rate")
		burst := rapid.Int64Range(1, 50).Draw(t, "burst")
		b := Bucket{PerSecond: rate, Burst: burst}
		p := plainBucket{rate, burst, burst * int64(time.Second), start}
		now := start
		for range 100 {
			now = now.Add(time.Duration(rapid.Int64Range(0, 3*int64(time.Second)/rate).Draw(t, "ns")))
			n := rapid.Int64Range(1, burst).Draw(t, "n")
			p.fill(now)
			if rapid.Bool().Draw(t, "charge") && p.nano > 0 {
				b.Charge(now, n)
				p.nano -= n * int64(time.Second)
			} else {
				want := p.nano >= n*int64(time.Second)
				if want {
					p.nano -= n * int64(time.Second)
				}
				if got := b.Take(now, n); got != want {
					t.Fatalf("take %d with %d nanotokens: %v", n, p.nano, got)
				}
			}
			wait := time.Duration(max(0, -p.nano+rate-1) / rate)
			if got := b.Wait(now); got != wait {
				t.Fatalf("wait %v, want %v", got, wait)
			}
			if got, want := b.Full(now), p.nano == burst*int64(time.Second); got != want {
				t.Fatalf("full: %v, want %v", got, want)
			}
		}
	})
}

// Whatever is asked for, no span of time yields more than the burst and the rate.
func TestBucketNeverGivesMoreThanItGot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, burst := rapid.Int64Range(1, 1<<40).Draw(t, "rate"), rapid.Int64Range(1, 1<<40).Draw(t, "burst")
		b := Bucket{PerSecond: rate, Burst: burst}
		now, got := start, 0.0
		for range 50 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "ns")))
			if n := rapid.Int64Range(1, burst).Draw(t, "n"); b.Take(now, n) {
				got += float64(n)
			}
		}
		if most := float64(burst) + float64(rate)*now.Sub(start).Seconds(); got > most*1.000001+1 {
			t.Fatalf("%.0f tokens in %v, at most %.0f", got, now.Sub(start), most)
		}
	})
}

func TestBucketEdges(t *testing.T) {
	var unlimited Bucket
	if !unlimited.Take(start, 1<<62) || unlimited.Wait(start) != 0 || !unlimited.Full(start) {
		t.Error("the zero bucket limits")
	}
	b := Bucket{PerSecond: 1, Burst: 2}
	if !b.Take(start, 100) {
		t.Error("what is larger than the burst can never pass")
	}
	if b.Take(start, 1) {
		t.Error("a bucket in debt gave a token")
	}
	if !b.Take(start, 0) || !b.Take(start, -5) {
		t.Error("nothing was refused")
	}
	b.Charge(start, 1<<62)
	if w := b.Wait(start); w != DebtMax {
		t.Errorf("wait %v, want at most %v", w, DebtMax)
	}
	if !b.Take(start.Add(DebtMax+2*time.Second), 2) {
		t.Error("the debt is not forgiven")
	}
	none := Bucket{PerSecond: 5}
	if !none.Take(start, 1) || none.Take(start, 1) {
		t.Error("a burst below 1 is not 1")
	}
	huge := Bucket{PerSecond: 1 << 62, Burst: 1 << 62}
	for i := range 10 {
		if !huge.Take(start.Add(time.Duration(i)*time.Second), 1<<61) {
			t.Error("a huge rate overflows")
		}
	}
}

// A clock set back by an hour must not stop everybody for an hour, and two loops
// that read the clock in turns must not fill the bucket.
func TestBucketAndAClockThatRunsBack(t *testing.T) {
	b := Bucket{PerSecond: 1, Burst: 2}
	b.Charge(start, 4)
	if w := b.Wait(start.Add(-time.Hour)); w != 2*time.Second {
		t.Errorf("wait %v after the clock was set back, want 2s", w)
	}
	b = Bucket{PerSecond: 1, Burst: 1}
	given := 0
	for i := range 10_000 {
		if b.Take(start.Add(time.Duration(i%2)*time.Millisecond), 1) {
			given++
		}
	}
	if given != 1 {
		t.Errorf("%d tokens within a millisecond, want 1", given)
	}
}

func BenchmarkTake(b *testing.B) {
	l := Bucket{PerSecond: 1000, Burst: 2000}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		l.Take(now, 1)
	}
}
