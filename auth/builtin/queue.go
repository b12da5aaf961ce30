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
//
// Clients who have proved who they are lately (auth.Request.Known) have every second
// check while any of them waits, and half of the places while they want them: from
// however many networks wrong passwords come, a known client waits behind others who
// are known and as many checks of strangers. Its prefix counts apart from the strangers in it.
type queue struct {
	mu     sync.Mutex // guards everything below
	ready  sync.Cond  // on mu: there are more jobs, or closed
	closed bool
	size   int
	n      int
	share  int // most jobs of one source, those being hashed included
	from   map[source]*waiting
	rings  [2]ring // of strangers and of the known, by source.known
	last   int     // whose turn it was
}

// source is who is counted as one.
type source struct {
	at    netip.Prefix
	known int // 1: who is known in it
}

func sourceOf(req *auth.Request) source {
	s := source{at: prefixOf(req.Addr)}
	if req.Known {
		s.known = 1
	}
	return s
}

// ring is sources that have jobs, in the order of their turns.
type ring struct {
	turn *waiting // whose turn it is; nil: nobody waits
	n    int      // jobs of all of them
}

// waiting is one source.
type waiting struct {
	jobs       []job // oldest first
	hashed     int   // of it, at the moment
	of         source
	next, prev *waiting
}

func newQueue(size, share int) *queue {
	q := &queue{size: size, share: share, from: map[source]*waiting{}}
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
	of := sourceOf(j.req)
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.from[of]
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
		v := q.victim(of, had)
		if v == nil {
			return queueFull, job{}
		}
		last := len(v.jobs) - 1 // it has waited least
		out, v.jobs[last] = v.jobs[last], job{}
		v.jobs = v.jobs[:last]
		q.less(v)
	}
	if w == nil {
		w = &waiting{of: of}
		q.from[of] = w
	}
	r := &q.rings[of.known]
	if len(w.jobs) == 0 {
		r.enter(w)
	}
	w.jobs = append(w.jobs, j)
	q.n++
	r.n++
	q.ready.Signal()
	return "", out
}

// victim is who gives up a job for one of a source that has had; nil: nobody. A known
// client takes a stranger's place while the known have less than half of them, and no
// stranger takes one of that half.
func (q *queue) victim(of source, had int) *waiting {
	strangers, known := &q.rings[0], &q.rings[1]
	within := 2*known.n < q.size
	most := strangers.heaviest()
	if of.known == 1 && within && most != nil {
		return most
	}
	if of.known == 1 || !within {
		if k := known.heaviest(); most == nil || k != nil && len(k.jobs) > len(most.jobs) {
			most = k
		}
	}
	if most == nil || len(most.jobs) <= had+1 {
		return nil
	}
	return most
}

// heaviest is the source with the most jobs that wait. It looks at all: at most as
// many as the queue has places, and only when it is full.
func (r *ring) heaviest() (most *waiting) {
	for w, first := r.turn, true; w != nil && (first || w != r.turn); w, first = w.next, false {
		if most == nil || len(w.jobs) > len(most.jobs) {
			most = w
		}
	}
	return most
}

// enter lists w as the last to have its turn.
func (r *ring) enter(w *waiting) {
	if r.turn == nil {
		w.next, w.prev = w, w
		r.turn = w
		return
	}
	w.next, w.prev = r.turn, r.turn.prev
	w.prev.next, w.next.prev = w, w
}

// less counts a job out that w has no more.
func (q *queue) less(w *waiting) {
	r := &q.rings[w.of.known]
	q.n--
	r.n--
	if len(w.jobs) > 0 {
		return
	}
	w.jobs = nil
	w.next.prev, w.prev.next = w.prev, w.next
	switch {
	case w.next == w:
		r.turn = nil
	case r.turn == w:
		r.turn = w.next
	}
	w.next, w.prev = nil, nil
	if w.hashed == 0 {
		delete(q.from, w.of)
	}
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
	if q.last = 1 - q.last; q.rings[q.last].turn == nil {
		q.last = 1 - q.last
	}
	r := &q.rings[q.last]
	w := r.turn
	r.turn = w.next
	j = w.jobs[0]
	w.jobs[0] = job{} // let go of the password
	w.jobs = w.jobs[1:]
	w.hashed++
	q.less(w)
	return j, !q.closed, true
}

// finished gives the source its place back.
func (q *queue) finished(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := sourceOf(j.req)
	w := q.from[of]
	if w.hashed--; w.hashed == 0 && len(w.jobs) == 0 {
		delete(q.from, of)
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
