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

// queue is where checks wait: first come, first served, bounded in all and per
// address prefix. It never blocks the side that pushes.
type queue struct {
	mu     sync.Mutex // guards everything below
	ready  sync.Cond  // on mu: jobs grew, or closed
	closed bool
	jobs   []job // ring of fixed size
	head   int
	n      int
	share  int // most jobs of one prefix, those being hashed included
	from   map[netip.Prefix]int
}

func newQueue(size, share int) *queue {
	q := &queue{jobs: make([]job, size), share: share, from: map[netip.Prefix]int{}}
	q.ready.L = &q.mu
	return q
}

// push answers why the job was not taken, or "".
func (q *queue) push(j job) (refusal string) {
	at := prefixOf(j.req.Addr)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return "the password was not checked: the server is shutting down"
	case q.n == len(q.jobs):
		return "the password was not checked: too many password checks are waiting"
	case q.from[at] >= q.share:
		return "the password was not checked: too many password checks from this address prefix are waiting"
	}
	q.from[at]++
	q.jobs[(q.head+q.n)%len(q.jobs)] = j
	q.n++
	q.ready.Signal()
	return ""
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
	j = q.jobs[q.head]
	q.jobs[q.head] = job{} // let go of the password
	q.head = (q.head + 1) % len(q.jobs)
	q.n--
	return j, !q.closed, true
}

// finished gives the prefix its place back.
func (q *queue) finished(j job) {
	at := prefixOf(j.req.Addr)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.from[at]--; q.from[at] == 0 {
		delete(q.from, at)
	}
}

// len is how many wait or are being hashed.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, k := range q.from {
		n += k
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
