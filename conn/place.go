package conn

import (
	"runtime"
	rt "runtime/metrics"
	"time"
)

// yieldEvery is how long a loop that is busy keeps its place of the runtime at most. After 10 ms the runtime's watcher would take it
// away, wherever the loop is, and would look for the next one to take it from every 20 microseconds: some 5 % of a core that is full,
// for a loop that never gave it. It gives it as often as this because the collector's worker, if it is the one that waits, has the
// place until it has made up for the time since.
const yieldEvery = time.Millisecond

// place is what a loop knows of its place of the runtime.
type place struct {
	yielded time.Time // the turn after which others could have it last
	runnable
}

func (l *Loop) yield() {
	l.yielded = l.now
	l.server.yielding.Add(1)
	runtime.Gosched()
	l.server.yielding.Add(-1)
}

// offer yields if somebody waits, or if the loop has not for yieldEvery.
func (l *Loop) offer() {
	if l.now.Sub(l.yielded) >= yieldEvery || l.wanted() {
		l.yield()
	}
}

// runnable tells whether goroutines wait for a place of the runtime. A loop has a thread of its own, and to give its place away and
// have it back takes 20 microseconds, also where nobody wants it. To ask takes 50 ns, and more where there are many places, as
// the scheduler is locked meanwhile: hence askEvery. The collector's worker, timers that are due and sockets of the runtime's own
// are not told of: they have their turn with yieldEvery.
type runnable struct {
	asked  time.Time
	sample [1]rt.Sample
}

const askEvery = 20 * time.Microsecond

// wanted asks. Loops that have just given their places away are in the same queue, and want no other.
func (l *Loop) wanted() bool {
	if at := l.now.Sub(l.asked); at >= 0 && at < askEvery {
		return false
	}
	l.asked = l.now
	return l.waiting() > l.server.yielding.Load()
}

// waiting is how many goroutines wait, about.
func (r *runnable) waiting() int64 {
	r.sample[0].Name = "/sched/goroutines/runnable:goroutines"
	rt.Read(r.sample[:])
	v := &r.sample[0].Value
	if v.Kind() != rt.KindUint64 {
		return 1 << 32 // this runtime does not say
	}
	return int64(v.Uint64()) //nolint:gosec // goroutines
}
