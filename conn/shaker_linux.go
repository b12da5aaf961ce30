package conn

import (
	"runtime"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/cores"
)

// shaker is a thread that computes handshakes, one at a time. Whoever is connected comes before it: to the kernel it has
// a smaller part of the processor than the event loops, for good, and is interrupted when one of them wakes up
// (cores.Behind). That is a property of a thread, so each handshake is a coroutine of the shaker on which it began, and
// rests there while it waits for its client: to the runtime all of them are one goroutine, and not many that stand in the
// queue before a loop, or have its place.
type shaker struct {
	engine *Epoll

	mu    sync.Mutex   // guards everything below
	some  *sync.Cond   // ready is not empty any more, or the engine has closed
	ready []*handshake // may go on
	turns int          // that its handshakes have
	ended bool         // by Close
}

// shaker is the one whose handshakes have the fewest turns: those that rest do not count, as who lets many rest would say where the next
// ones go. There are as many as processors, each from when it is needed on.
func (e *Epoll) shaker() *shaker {
	e.mu.Lock()
	defer e.mu.Unlock()
	var best *shaker
	least := 0
	for _, k := range e.shakers {
		if n := k.many(); best == nil || n < least {
			best, least = k, n
		}
	}
	if best == nil || least > 0 && len(e.shakers) < cores.Count() {
		best = &shaker{engine: e}
		best.some = sync.NewCond(&best.mu)
		e.shakers = append(e.shakers, best)
		e.threads.Add(1)
		go func() {
			defer e.threads.Done()
			best.run()
		}()
	}
	return best
}

// count is of a turn that came or went.
func (k *shaker) count(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turns += n
}

func (k *shaker) many() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.turns
}

// push has h go on when those before it have. It may be called anywhere, and does not wait.
func (k *shaker) push(h *handshake) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = append(k.ready, h)
	k.some.Signal()
}

// shakerSlice is longer than that of all others, who need not wait for its end, and not by much: it is what is let go before each
// handshake (cores.Behind). Beside a processor that is always busy that leaves a twelfth of it, a hundred handshakes a second and more.
const shakerSlice = time.Millisecond

// run is the shaker's goroutine.
func (k *shaker) run() {
	cores.Behind(shakerSlice)
	runtime.LockOSThread() // in any case: a coroutine stays on the thread on which it began
	var now []*handshake
	for {
		k.mu.Lock()
		for len(k.ready) == 0 && !k.ended {
			k.some.Wait()
		}
		now, k.ready = k.ready, now[:0]
		k.mu.Unlock()
		if len(now) == 0 {
			return
		}
		for i, h := range now {
			now[i] = nil
			if !h.ended.Load() { // else there is nothing to compute: nobody waits for it
				k.letOthers()
			}
			h.goOn()
		}
		if cap(now) > shakerRoom { // many were ended at once
			now = nil
		}
	}
}

// letOthers is for before a handshake goes on. A thread that wakes up interrupts one that is behind, but only where it has not
// just had more than its part: a loop that has run, and one that wakes up at the same time as the shaker, would wait until the
// handshake rests. Who offers the processor counts as if its slice had been used up, and those who wake up meanwhile come first.
// A loop that waits for a place of the runtime has that as well. Without clients who are served, a storm of connects costs less
// where a loop finds much each time it comes.
func (k *shaker) letOthers() {
	if s := k.engine.server; s.serves(s.clock.Now()) {
		runtime.Gosched()
		offer()
	}
}

// shakerRoom is how many that may go on a shaker keeps room for.
const shakerRoom = 64

// close ends the shaker when all its handshakes are over.
func (k *shaker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.some.Signal()
}
