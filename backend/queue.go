package backend

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// job is one piece of work that waits: exactly one of run and refuse is called.
type job struct {
	run      func(context.Context)
	refuse   func(Kind)
	deadline time.Time
	of       *network
	inLine   link // of its network, first come first served
	inAll    link // of all, which is the order of their deadlines
}

type link struct{ prev, next *job }

// network is one /24 or /56 that has jobs.
type network struct {
	at          netip.Prefix
	first, last *job
	waiting     int
	under       int // way
	prev, next  *network
}

// queue is where jobs wait, bounded in all and per network. Networks take turns, so
// that a flood waits behind itself, and one from elsewhere for one job of each
// network that is there. When it is full, the network that has the most in it gives
// up its newest for one that has less. Jobs do not wait beyond their deadline. It
// never blocks the side that pushes.
type queue struct {
	mu          sync.Mutex // guards everything below
	ready       sync.Cond  // on mu: there is a job, or closed
	closed      bool       // nothing more comes in
	size, share int
	n, under    int
	networks    map[netip.Prefix]*network
	turn        *network // whose turn it is; nil: nobody waits
	first, last *job     // of all
}

func newQueue(size, share int) *queue {
	q := &queue{size: size, share: share, networks: map[netip.Prefix]*network{}}
	q.ready.L = &q.mu
	return q
}

// push answers why the job was not taken, or Answered; out is one that had to make
// room and is to be refused, alone tells that nobody waited before it.
func (q *queue) push(from netip.Addr, j *job) (refused Kind, out *job, alone bool) {
	at := networkOf(from)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.networks[at]
	had := 0
	if w != nil {
		had = w.waiting + w.under
	}
	switch {
	case q.closed:
		return Closed, nil, false
	case had >= q.share:
		return QueueFull, nil, false
	case q.n >= q.size:
		heaviest := q.heaviest()
		if heaviest == nil || heaviest.waiting <= had+1 {
			return QueueFull, nil, false
		}
		out = heaviest.last // it has waited least
		q.remove(out)
		w = q.networks[at]
	}
	if w == nil {
		w = &network{at: at}
		q.networks[at] = w
	}
	if w.waiting == 0 {
		q.enter(w)
	}
	j.of = w
	alone = q.first == nil
	j.inAll.prev, j.inLine.prev = q.last, w.last
	if q.last == nil {
		q.first = j
	} else {
		q.last.inAll.next = j
	}
	if w.last == nil {
		w.first = j
	} else {
		w.last.inLine.next = j
	}
	q.last, w.last = j, j
	w.waiting++
	q.n++
	q.ready.Signal()
	return Answered, out, alone
}

// heaviest is the network with the most jobs that wait. It looks at all: at most as
// many as there are places, and only when the queue is full.
func (q *queue) heaviest() (most *network) {
	for w, first := q.turn, true; w != nil && (first || w != q.turn); w, first = w.next, false {
		if most == nil || w.waiting > most.waiting {
			most = w
		}
	}
	return most
}

// enter lists w as the last to have its turn.
func (q *queue) enter(w *network) {
	if q.turn == nil {
		w.next, w.prev = w, w
		q.turn = w
		return
	}
	w.next, w.prev = q.turn, q.turn.prev
	w.prev.next, w.next.prev = w, w
}

// remove takes a job that waits out of all lists.
func (q *queue) remove(j *job) {
	w := j.of
	if j.inAll.prev == nil {
		q.first = j.inAll.next
	} else {
		j.inAll.prev.inAll.next = j.inAll.next
	}
	if j.inAll.next == nil {
		q.last = j.inAll.prev
	} else {
		j.inAll.next.inAll.prev = j.inAll.prev
	}
	if j.inLine.prev == nil {
		w.first = j.inLine.next
	} else {
		j.inLine.prev.inLine.next = j.inLine.next
	}
	if j.inLine.next == nil {
		w.last = j.inLine.prev
	} else {
		j.inLine.next.inLine.prev = j.inLine.prev
	}
	j.inAll, j.inLine = link{}, link{}
	q.n--
	if w.waiting--; w.waiting > 0 {
		return
	}
	if q.turn == w {
		q.turn = w.next
	}
	if w.next == w {
		q.turn = nil
	}
	w.next.prev, w.prev.next = w.prev, w.next
	w.next, w.prev = nil, nil
	q.forget(w)
}

func (q *queue) forget(w *network) {
	if w.waiting == 0 && w.under == 0 {
		delete(q.networks, w.at)
	}
}

// pop waits for a job; nil: the queue is closed and empty.
func (q *queue) pop() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.n == 0 {
		return nil
	}
	w := q.turn
	q.turn = w.next
	j := w.first
	w.under++ // before remove, which forgets who has nothing
	q.under++
	q.remove(j)
	return j
}

// finished gives the network its place back.
func (q *queue) finished(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.under--
	j.of.under--
	q.forget(j.of)
}

// late takes out those whose time has passed, and says when the next one's does; the
// zero time: nobody waits.
func (q *queue) late(now time.Time) (out []*job, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && !now.Before(q.first.deadline) {
		j := q.first
		q.remove(j)
		out = append(out, j)
	}
	if q.first != nil {
		next = q.first.deadline
	}
	return out, next
}

// close lets nothing more in, and takes out what waits if all is set.
func (q *queue) close(all bool) (out []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for all && q.first != nil {
		j := q.first
		q.remove(j)
		out = append(out, j)
	}
	q.ready.Broadcast()
	return out
}

// load is how many wait, and how many are under way.
func (q *queue) load() (waiting, under int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n, q.under
}

// networkOf is what one attacker is taken to own: a /24 of IPv4 or a /56 of IPv6. All
// of a unix socket is one.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	width := 56
	if a.Is4() {
		width = 24
	}
	p, err := a.Prefix(width)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
