package local

import (
	"sync"

	"github.com/redoubtmq/redoubt/store"
)

// queue is where batches wait for the committer. They are encoded into one
// buffer, as they will lie in the file, by whoever submits: the committer takes
// the buffer whole, and the next group collects in the other one.
type queue struct {
	recordsMax, bytesMax int
	wake                 chan struct{} // has room for one
	closing              chan struct{}

	mu      sync.Mutex // guards everything below
	filling group
	closed  bool
	refused bool // somebody was told that it is full, and not yet that there is room
}

// group is what is written at once.
type group struct {
	buf     []byte // frames, whose heads the committer fills in
	batches []batch
	records int
	idle    int // takes in a row that used little of buf
}

// batch is one Submit.
type batch struct {
	off   int // of its frame in buf
	count int
	first store.Seq
	err   error // known before anything was written: it has no frame
	done  func(store.Seq, error)
}

// bufKeepBytes is what an idle queue keeps for the next group, in bytes.
const bufKeepBytes = 256 << 10

// submit is Log.Submit; err is why the batch cannot be taken, if so.
func (q *queue) submit(recs []store.Record, err error, done func(store.Seq, error)) bool {
	size := frameBytes
	for i := range recs {
		size += recs[i].EncodedMax()
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	g := &q.filling
	if len(g.batches) > 0 && (g.records+len(recs) > q.recordsMax || len(g.buf)+size > q.bytesMax) {
		q.refused = true
		q.mu.Unlock()
		return false
	}
	b := batch{off: len(g.buf), count: len(recs), done: done, err: err}
	if err == nil {
		g.append(recs, size)
	} else {
		g.records++ // it takes a place
	}
	g.batches = append(g.batches, b)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// append encodes one batch behind room for its frame's head.
func (g *group) append(recs []store.Record, size int) {
	if need := len(g.buf) + size; need > cap(g.buf) {
		grown := make([]byte, len(g.buf), max(need, 2*cap(g.buf)))
		copy(grown, g.buf)
		g.buf = grown
	}
	var head [frameBytes]byte
	g.buf = append(g.buf, head[:]...)
	for i := range recs {
		g.buf = store.AppendRecord(g.buf, &recs[i])
	}
	g.records += len(recs)
}

// take swaps the full group for an empty one. room tells that somebody was
// refused and may try again.
func (q *queue) take(g *group) (room bool) {
	g.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	*g, q.filling = q.filling, *g
	room, q.refused = q.refused, false
	return room
}

// reset empties g and lets go of a buffer that has long been too large.
func (g *group) reset() {
	if cap(g.buf) > bufKeepBytes && len(g.buf) < cap(g.buf)/8 {
		g.idle++
	} else {
		g.idle = 0
	}
	if g.idle > 64 {
		g.buf, g.batches, g.idle = nil, nil, 0
	}
	clear(g.batches) // the callers' closures
	g.buf, g.batches, g.records = g.buf[:0], g.batches[:0], 0
}

// close refuses what comes; it answers false the second time.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	close(q.closing)
	return true
}
