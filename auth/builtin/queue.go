package builtin

import (
	"net/netip"
	"sync"

	"github.com/redoubtmq/redoubt/auth"
)

// job is one check that waits for a worker.
type job struct {
	req  *auth.Request
	done func(auth.Result)
}

// queue is where checks wait, bounded in all and per address prefix. Prefixes take
// turns, and within one it is first come, first served: after a restart, when
// nothing is in the cache, a client waits for one check of each network that is
// there and not for all that a flood has sent. When the queue is full, the prefix
// that has the most in it gives one up for one that has less. It never blocks the
// side that pushes.
type queue struct {
	mu     sync.Mutex // guards everything below
	ready  sync.Cond  // on mu: there are more jobs, or closed
	closed bool
	size   int
	n      int
	share  int // most jobs of one prefix, those being hashed included
	from   map[netip.Prefix]*waiting
	turn   *waiting // whose turn it is; nil: nobody waits
}

// waiting is one prefix.
type waiting struct {
	jobs       []job // oldest first
	hashed     int   // of it, at the moment
	next, prev *waiting
}

func newQueue(size, share int) *queue {
	q := &queue{size: size, share: share, from: map[netip.Prefix]*waiting{}}
	q.ready.L = &q.mu
	return q
}

const (
	shuttingDown = "the password was not checked: the server is shutting down"
	queueFull    = "the password was not checked: too many password checks are waiting"
	prefixFull   = "the password was not checked: too many password checks from this address prefix are waiting"
)

// push answers why the job was not taken, or "". out is a job that had to make
// room and is to be refused; its done is nil if there is none.
func (q *queue) push(j job) (refusal string, out job) {
	at := prefixOf(j.req.Addr)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.from[at]
	had := 0
	if w != nil {
		had = len(w.jobs) + w.hashed
	}
	switch {
	case q.closed:
		return shuttingDown, job{}
	case had >= q.share:
		return prefixFull, job{}
	case q.n == q.size:
		heaviest := q.heaviest()
		if heaviest == nil || len(heaviest.jobs) <= had+1 {
			return queueFull, job{}
		}
		last := len(heaviest.jobs) - 1 // it has waited least
		out, heaviest.jobs[last] = heaviest.jobs[last], job{}
		heaviest.jobs = heaviest.jobs[:last]
		q.n--
	}
	if w == nil {
		w = &waiting{}
		q.from[at] = w
	}
	if len(w.jobs) == 0 {
		q.enter(w)
	}
	w.jobs = append(w.jobs, j)
	q.n++
	q.ready.Signal()
	return "", out
}

// heaviest is the prefix with the most jobs that wait. It looks at all: at most as
// many as the queue has places, and only when it is full.
func (q *queue) heaviest() (most *waiting) {
	for w, first := q.turn, true; w != nil && (first || w != q.turn); w, first = w.next, false {
		if most == nil || len(w.jobs) > len(most.jobs) {
			most = w
		}
	}
	return most
}

// enter lists w as the last to have its turn.
func (q *queue) enter(w *waiting) {
	if q.turn == nil {
		w.next, w.prev = w, w
		q.turn = w
		return
	}
	w.next, w.prev = q.turn, q.turn.prev
	w.prev.next, w.next.prev = w, w
}

// pop waits for a job. open is false once the queue is closed: what still waits is
// then handed out to be refused, and ok is false after the last.
func (q *queue) pop() (j job, open, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.n == 0 {
		return job{}, false, false
	}
	w := q.turn
	q.turn = w.next
	j = w.jobs[0]
	w.jobs[0] = job{} // let go of the password
	if w.jobs = w.jobs[1:]; len(w.jobs) == 0 {
		w.jobs = nil
		w.next.prev, w.prev.next = w.prev, w.next
		if q.turn == w {
			q.turn = nil
		}
	}
	w.hashed++
	q.n--
	return j, !q.closed, true
}

// finished gives the prefix its place back.
func (q *queue) finished(j job) {
	at := prefixOf(j.req.Addr)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.from[at]
	if w.hashed--; w.hashed == 0 && len(w.jobs) == 0 {
		delete(q.from, at)
	}
}

// len is how many wait or are being hashed.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, w := range q.from {
		n += len(w.jobs) + w.hashed
	}
	return n
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// prefixOf is what one attacker is taken to own: a /24 of IPv4 or a /56 of IPv6.
// All of a unix socket is one.
func prefixOf(a netip.Addr) netip.Prefix {
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
