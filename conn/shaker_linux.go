package conn

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/cores"
)

// shaker is a thread that computes handshakes, one at a time. Whoever is connected comes before it: to the kernel it has
// a smaller part of the processor than the event loops, for good, and is interrupted when one of them wakes up
// (cores.Behind). That is a property of a thread, so each handshake is a coroutine of the shaker on which it began, and
// rests there while it waits for its client: to the runtime all of them are one goroutine, and not many that stand in the
// queue before a loop, or have its place.
//
// Where nobody is served a storm of connects costs less if no thread has to wake another one for each step of each of them: a
// handshake that begins then is computed by the loop that has accepted it, to its end, and each loop has a shaker for these.
type shaker struct {
	engine *Epoll
	bell   int // eventfd of a thread, which blocks who reads it

	// Of a loop's goroutine.
	loop    *Loop     // whose turns it computes in; nil: it is a thread
	resting time.Time // until when none computes

	mu     sync.Mutex   // guards everything below
	ready  []*handshake // may go on
	taken  int          // of ready, by next
	turns  int          // that its handshakes have
	asleep bool         // it waits for the bell, or is about to
	ended  bool         // by Close
}

// shaker is the one for a handshake of p that begins now: p's own while nobody is served, otherwise the thread whose handshakes have the fewest turns: those that rest do not count, as who lets many rest would say where the next
// ones go. There are as many as processors, each from when it is needed on.
func (e *Epoll) shaker(p *epoller) *shaker {
	if s := e.server; !s.serves(s.clock.Now()) {
		return &p.own
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var best *shaker
	least := 0
	for _, k := range e.shakers {
		if n := k.many(); best == nil || n < least {
			best, least = k, n
		}
	}
	if best == nil || least > 0 && len(e.shakers) < len(e.bells) {
		best = &shaker{engine: e, bell: e.bells[len(e.shakers)]}
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
	k.ready = append(k.ready, h)
	k.rouse()
}

// rouse lets go of mu and wakes the shaker if it sleeps: once, whoever comes first.
func (k *shaker) rouse() {
	asleep := k.asleep
	k.asleep = false
	k.mu.Unlock()
	switch {
	case k.loop != nil:
		k.loop.inbox.ring()
	case asleep:
		ring(k.bell)
	}
}

// next takes the first of those that may go on; nil: there is none.
func (k *shaker) next() (h *handshake) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken == len(k.ready) {
		if k.taken, k.ready = 0, k.ready[:0]; cap(k.ready) > shakerRoom {
			k.ready = nil // many were ended at once
		}
		return nil
	}
	if k.taken >= shakerRoom && 2*k.taken >= len(k.ready) { // a storm in which there is always one
		k.ready, k.taken = slices.Delete(k.ready, 0, k.taken), 0
	}
	h, k.ready[k.taken] = k.ready[k.taken], nil
	k.taken++
	return h
}

// idle tells whether none may go on.
func (k *shaker) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken == len(k.ready)
}

// take is for the handshakes that may go on, and waits for them; none when the engine has closed. It waits in the kernel and not
// for the runtime, which would have another thread look for the shaker's own, and that one for a place, each time.
func (k *shaker) take(now []*handshake) []*handshake {
	for {
		k.mu.Lock()
		if len(k.ready) > 0 || k.ended {
			now, k.ready = k.ready, now[:0]
			k.mu.Unlock()
			return now
		}
		k.asleep = true
		k.mu.Unlock()
		var b [8]byte
		_, _ = unix.Read(k.bell, b[:]) // EINTR: it looks, and waits again
	}
}

const (
	// ownTime is what a loop that serves nobody computes of handshakes in a turn, before it looks for clients who have come in or have
	// something to say.
	ownTime = time.Millisecond
	// ownRest is how much longer than each step a loop rests from handshakes that are its own when it serves somebody: who has begun many
	// while nobody was served, and goes on with all of them at once, has a quarter of a loop.
	ownRest = 3
)

// shake has those handshakes go on that are the loop's, until their part of the turn is over: one, and then none for as long as
// it takes to have been a quarter, while somebody is served.
func (p *epoller) shake() {
	k, l := &p.own, p.loop
	served := !l.last.IsZero() && l.now.Sub(l.last) <= servingFor || l.serves
	if !served {
		p.own.resting = time.Time{}
	}
	for n := 0; ; n++ {
		now := l.server.clock.Now()
		switch {
		case now.Before(p.own.resting):
			return // wait comes back in time
		case n > 0 && (!l.strangersMay() || now.Sub(l.begun) > ownTime):
			l.again = l.again || !k.idle()
			return
		}
		h := k.next()
		if h == nil {
			return
		}
		computes := !h.ended.Load()
		l.guard(nil, h.goOn)
		if served && computes {
			done := l.server.clock.Now()
			p.own.resting = done.Add(ownRest * done.Sub(now))
		}
	}
}

// shakerSlice is longer than that of a loop, which need not wait for its end, and not by much: it is what is let go each time that the processor is
// offered (cores.Behind), four or five times in a handshake. Beside a processor that is always busy some hundred handshakes a second are left.
const shakerSlice = 200 * time.Microsecond

// run is the shaker's goroutine.
func (k *shaker) run() {
	cores.Behind(shakerSlice)
	runtime.LockOSThread() // in any case: a coroutine stays on the thread on which it began
	var now []*handshake
	for {
		if now = k.take(now); len(now) == 0 {
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
	k.ended = true
	k.rouse()
}
