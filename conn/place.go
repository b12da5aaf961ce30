package conn

import (
	"runtime"
	rt "runtime/metrics"
	"time"
)

// yieldEvery is how long a loop that is busy keeps its place of the runtime at most, before it asks whether
// somebody waits for it. After 10 ms the runtime's watcher would take it away, wherever the loop is, and would look for the
// next one to take it from every 20 microseconds: some 5 % of a core that is full, for a loop that never asked. It asks as
// often as this because the collector's worker, if it is the one that waits, has the place until it has made up for the time since.
const yieldEvery = time.Millisecond

func (l *Loop) yield() {
	l.yielded = l.now
	runtime.Gosched()
}

// offer yields if somebody waits, or has not been asked for long.
func (l *Loop) offer() {
	if l.now.Sub(l.yielded) >= yieldEvery || l.wanted() {
		l.yield()
	}
}

// runnable tells whether goroutines wait for a place of the runtime. To ask takes 50 ns. A loop has a thread of its own, and to
// give its place away and have it back takes 20 microseconds, also where nobody wants it. The collector's worker is not
// told of: it has its turn with yieldEvery.
type runnable struct{ sample [1]rt.Sample }

func (p *runnable) wanted() bool {
	p.sample[0].Name = "/sched/goroutines/runnable:goroutines"
	rt.Read(p.sample[:])
	v := &p.sample[0].Value
	return v.Kind() != rt.KindUint64 || v.Uint64() > 0
}
