package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// FairRate bounds what many spend together, per second; 0 is no limit of that kind.
type FairRate struct {
	Messages int64
	Bytes    int64
	Burst    time.Duration // that much of the rate may come at once
}

// Limited tells whether it is a limit at all.
func (r *FairRate) Limited() bool { return r.Messages > 0 || r.Bytes > 0 }

// cost is which part of a second's total something is, in nanoseconds: of messages or of
// bytes, whichever is more.
func (r *FairRate) cost(messages, bytes int64) float64 {
	c := 0.0
	if r.Messages > 0 {
		c = float64(messages) / float64(r.Messages)
	}
	if r.Bytes > 0 {
		c = max(c, float64(bytes)/float64(r.Bytes))
	}
	return c * float64(time.Second)
}

// Fair is a rate that many clients on several loops share, so that whoever sends most
// waits most. It never refuses: it tells a client that has spent for how long not to be
// read.
//
// While they stay under the rate together nobody waits. Over it each may have a fair part
// of it, which is found as in core-stateless fair queueing (Stoica, Shenker, Zhang,
// SIGCOMM 1998): it shrinks by how much is too much, and grows while there is room, until
// what those over it are left and what the others send are the rate together. A client
// under the fair part does not wait, however many others are over it.
//
// It is safe for concurrent use. What clients spend is reported by each loop's Share, in
// batches; nobody takes the lock for each message.
type Fair struct {
	pace atomic.Pointer[pace] // replaced, never changed

	mu       sync.Mutex // guards everything below
	messages Bucket
	bytes    Bucket
	used     FairRate // messages and bytes since the pace began
}

// pace is how fast clients are let spend. Paid counts in its time, which runs part
// nanoseconds a nanosecond: who has spent c of the total has paid when it is c later.
type pace struct {
	rate FairRate
	at   int64   // Unix ns
	time float64 // then
	part float64 // of the total, that one client may have: over 0, at most 1
}

// How the fair part is found.
const (
	pacePeriod   = 200 * time.Millisecond // between two looks
	partMin      = 1e-7
	partGrowth   = 1.25        // a period, at most
	partShrink   = 1e-3        // a period, at most
	payOff       = 0.5         // of the rate, at most, goes into paying a debt
	totalDebtMax = time.Second // more is forgotten: those who come later have not made it
)

// NewFair is a total that allows rate from now on.
func NewFair(now time.Time, rate FairRate) *Fair {
	t := &Fair{}
	t.pace.Store(&pace{rate: rate, at: now.UnixNano(), part: 1})
	t.fill(now, rate)
	return t
}

// SetRate changes the rate. What was spent stays spent.
func (t *Fair) SetRate(now time.Time, rate FairRate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pace.Load()
	if p.rate == rate {
		return
	}
	t.fill(now, rate)
	t.used = FairRate{}
	t.pace.Store(&pace{rate: rate, at: p.latest(now), time: p.now(now), part: p.part})
}

// fill sets the buckets. The caller has the lock, or nobody else has t.
func (t *Fair) fill(now time.Time, rate FairRate) {
	burst := func(n int64) int64 { return int64(float64(n) * rate.Burst.Seconds()) }
	t.messages.SetRate(now, rate.Messages, burst(rate.Messages))
	t.bytes.SetRate(now, rate.Bytes, burst(rate.Bytes))
}

// Rate is what is allowed.
func (t *Fair) Rate() FairRate { return t.pace.Load().rate }

// Part is how much of the total one client may have; 1 while there is enough.
func (t *Fair) Part() float64 { return t.pace.Load().part }

// current is the pace of now. A clock that was set back must not leave everybody waiting
// for the old time to come again: it counts on from there.
func (t *Fair) current(now time.Time) *pace {
	p := t.pace.Load()
	if now.UnixNano() > p.at-int64(setBack) {
		return p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p = t.pace.Load(); now.UnixNano() <= p.at-int64(setBack) {
		back := *p
		back.at = now.UnixNano()
		p = &back
		t.pace.Store(p)
	}
	return p
}

// latest is now, or a little later where two loops read the clock in turns.
func (p *pace) latest(now time.Time) int64 { return max(p.at, now.UnixNano()) }

// now is the time of p.
func (p *pace) now(now time.Time) float64 {
	return p.time + p.part*float64(p.latest(now)-p.at)
}

// report adds up what a loop's clients have spent, and now and then looks anew what is
// fair.
func (t *Fair) report(now time.Time, messages, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages.Charge(now, messages)
	t.bytes.Charge(now, bytes)
	t.messages.forgive()
	t.bytes.forgive()
	t.used.Messages += messages
	t.used.Bytes += bytes
	p := t.pace.Load()
	passed := p.latest(now) - p.at
	if passed < int64(pacePeriod) {
		return
	}
	load := p.rate.cost(t.used.Messages, t.used.Bytes) / float64(passed)
	t.used = FairRate{}
	change := partGrowth
	if debt := max(t.messages.Wait(now), t.bytes.Wait(now)); debt > 0 {
		change = max(partShrink, min(partGrowth, (1-min(debt.Seconds(), payOff))/load))
	} else if load > 0 {
		change = max(1, min(partGrowth, partGrowth/load))
	}
	t.pace.Store(&pace{rate: p.rate, at: p.at + passed, time: p.now(now), part: max(partMin, min(1, p.part*change))})
}

// forgive bounds the debt of a total.
func (b *Bucket) forgive() {
	if b.PerSecond > 0 {
		b.empty = min(b.empty, b.span()+int64(totalDebtMax)<<fraction)
	}
}

// Paid is until when, in the time of a Fair, one client has paid for what it spent. The
// zero Paid has spent nothing.
type Paid float64

// Share is how one loop spends from a Fair. It belongs to the loop.
type Share struct {
	of              *Fair
	messages, bytes int64 // spent and not reported
}

// batch is how much of the total a loop spends before it says so.
const batch = float64(time.Millisecond)

// Share is a loop's way to t.
func (t *Fair) Share() *Share { return &Share{of: t} }

// Charge spends for the client that has paid, and tells for how long it should not be
// read. What is charged was read, and is taken whatever the answer.
func (s *Share) Charge(now time.Time, paid *Paid, messages, bytes int64) time.Duration {
	p := s.of.current(now)
	s.messages, s.bytes = s.messages+messages, s.bytes+bytes
	if p.rate.cost(s.messages, s.bytes) >= batch || p.latest(now)-p.at >= int64(pacePeriod) {
		s.of.report(now, s.messages, s.bytes)
		s.messages, s.bytes = 0, 0
		p = s.of.pace.Load()
	}
	cost := p.rate.cost(messages, bytes)
	// Who was away has a burst to spend, and always one message.
	*paid = max(*paid, Paid(p.now(now)-max(cost, p.part*float64(p.rate.Burst)))) + Paid(cost)
	return p.wait(now, *paid)
}

// Wait is for how much longer the client that has paid should not be read.
func (s *Share) Wait(now time.Time, paid Paid) time.Duration {
	return s.of.current(now).wait(now, paid)
}

func (p *pace) wait(now time.Time, paid Paid) time.Duration {
	ahead := float64(paid) - p.now(now)
	if ahead < 1 || !p.rate.Limited() {
		return 0
	}
	return time.Duration(min(ahead/p.part, float64(DebtMax)))
}
