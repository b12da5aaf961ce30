package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Turns deals out processor time for what strangers ask for (handshakes), so that
// it is a part of the machine and no more: at most as many compute at once as that
// part is cores, rounded up, and what they held is charged to a budget that fills
// with the time that passes.
//
// Turns are dealt network by network, not first come first served: a flood waits
// behind itself, and one from elsewhere waits for one turn of each network that
// is there. A share of the time is for networks that are known; they have it on
// top of their place among all. Every operation takes constant time. It is safe
// for concurrent use, reads no clock, and waits for nobody: Ask and Done say when
// Deal is to be called.
type Turns struct {
	mu      sync.Mutex // guards everything below
	slots   int
	budget  Bucket // nanoseconds of a core
	share   int64  // of the known, percent
	held    int    // turns under way
	owed    int64  // nanoseconds that the known may take before anybody else
	waiting int
	timed   bool // somebody will call Deal
	lines   map[askerKey]*asker
	rings   [2]*asker // whose turn is next: of all, of the known
}

// turnBurst is how much unused time is kept: what is asked for at once after a
// quiet time computes without a pause for that long.
const turnBurst = 20 * time.Millisecond

// turnHeldMax bounds what one turn is charged. A turn that takes longer was kept
// from the processor by the rest of the broker, and is not to be charged for that.
const turnHeldMax = 10 * time.Millisecond

// owedMax bounds what the known are owed, so that they do not shut out the others
// for long after a time in which they asked for nothing.
const owedMax = 50 * time.Millisecond

// askerKey names one: the known of a network do not wait behind the strangers
// in it.
type askerKey struct {
	source netip.Prefix
	known  bool
}

// asker is the turns that one source asks for, first come, first served.
type asker struct {
	of          askerKey
	first, last *Turn
	in          [2]struct{ next, prev *asker } // of the rings
}

// Turn is one that is asked for. After Done it may be asked for again.
type Turn struct {
	// Dealt is called once when the turn has come, from within Ask, Done or Deal of anybody's. It must return at
	// once and ask nothing of the Turns.
	Dealt func()

	asker      *asker // nil: it does not wait
	next, prev *Turn
	since      time.Time
	running    bool
	owed       bool // it was dealt from the share of the known
}

// NewTurns deals percent of cores. share is what of it, in percent, the known have
// first. Percent 0 or less is 100.
func NewTurns(cores, percent, share int) *Turns {
	t := &Turns{lines: map[askerKey]*asker{}}
	t.Set(cores, percent, share)
	return t
}

// Set changes the part; turns under way go on.
func (t *Turns) Set(cores, percent, share int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if percent <= 0 {
		percent = 100
	}
	part := max(1, cores) * percent
	t.slots = (part + 99) / 100
	t.budget.PerSecond = int64(part) * int64(time.Second) / 100
	t.budget.Burst = int64(turnBurst) * int64(part) / 100
	if t.share = int64(share); t.owed > 0 && share == 0 {
		t.owed = 0
	}
}

// Ask puts turn, one of a's, in the queue. Whoever asks waits until it is dealt, or
// calls Done without having waited. A positive after is when the caller is to call
// Deal; it is answered once for all who wait.
func (t *Turns) Ask(now time.Time, a netip.Addr, known bool, turn *Turn) (after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := askerKey{sourceOf(a), known && t.share > 0}
	q := t.lines[of]
	if q == nil {
		q = &asker{of: of}
		t.lines[of] = q
		t.enter(0, q)
		if of.known {
			t.enter(1, q)
		}
	}
	turn.asker, turn.prev, turn.next = q, q.last, nil
	if q.last == nil {
		q.first = turn
	} else {
		q.last.next = turn
	}
	q.last = turn
	t.waiting++
	return t.deal(now)
}

// Done ends a turn, whether it had come or not. after is as in Ask.
func (t *Turns) Done(now time.Time, turn *Turn) (after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !turn.running {
		if turn.asker != nil {
			t.withdraw(turn)
		}
		return 0
	}
	turn.running = false
	t.held--
	held := int64(min(max(0, now.Sub(turn.since)), turnHeldMax))
	t.budget.Charge(now, held)
	if turn.owed {
		t.owed -= held
	}
	t.owed = min(int64(owedMax), t.owed+held*t.share/100)
	return t.deal(now)
}

// Deal is called after the time that Ask or Done has answered.
func (t *Turns) Deal(now time.Time) (after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timed = false
	return t.deal(now)
}

// deal lets those compute for whom there is a slot and time.
func (t *Turns) deal(now time.Time) (after time.Duration) {
	for t.waiting > 0 && t.held < t.slots {
		if wait := t.budget.Wait(now); wait > 0 {
			if t.timed {
				return 0
			}
			t.timed = true
			return wait
		}
		ring := 0
		if t.owed > 0 && t.rings[1] != nil {
			ring = 1
		}
		q := t.rings[ring]
		t.rings[ring] = q.in[ring].next
		turn := q.first
		t.withdraw(turn)
		turn.running, turn.since, turn.owed = true, now, ring == 1
		t.held++
		turn.Dealt()
	}
	return 0
}

// withdraw takes a turn out of its queue.
func (t *Turns) withdraw(turn *Turn) {
	q := turn.asker
	if turn.prev == nil {
		q.first = turn.next
	} else {
		turn.prev.next = turn.next
	}
	if turn.next == nil {
		q.last = turn.prev
	} else {
		turn.next.prev = turn.prev
	}
	turn.asker, turn.next, turn.prev = nil, nil, nil
	if t.waiting--; q.first != nil {
		return
	}
	delete(t.lines, q.of)
	t.leave(0, q)
	if q.of.known {
		t.leave(1, q)
	}
}

// enter lists q as the last to have its turn.
func (t *Turns) enter(ring int, q *asker) {
	head := t.rings[ring]
	if head == nil {
		q.in[ring].next, q.in[ring].prev = q, q
		t.rings[ring] = q
		return
	}
	last := head.in[ring].prev
	q.in[ring].next, q.in[ring].prev = head, last
	last.in[ring].next, head.in[ring].prev = q, q
}

func (t *Turns) leave(ring int, q *asker) {
	next, prev := q.in[ring].next, q.in[ring].prev
	switch {
	case next == q:
		t.rings[ring] = nil
	case t.rings[ring] == q:
		t.rings[ring] = next
		fallthrough
	default:
		next.in[ring].prev, prev.in[ring].next = prev, next
	}
}

// Waiting is how many have asked and do not compute yet, Computing how many do.
func (t *Turns) Waiting() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.waiting)
}

// Computing is how many turns are under way.
func (t *Turns) Computing() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.held)
}

// Slots is how many may compute at once.
func (t *Turns) Slots() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slots
}
