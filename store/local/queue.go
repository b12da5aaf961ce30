package local

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/store"
)

// queue is where batches wait for the committer. They are encoded into one
// buffer, as they will lie in the file, by whoever submits: the committer takes
// the buffer whole, and the next group collects in the other one.
type queue struct {
	recordsMax, bytesMax int
	wake                 chan struct{} // has room for one
	closing              chan struct{}
	clock                clock.Clock // nil: nobody asks how long something waits

	mu      sync.Mutex // guards everything below
	filling group
	closed  bool
	refused bool      // somebody was told that it is full, and not yet that there is room
	writing time.Time // since when the oldest of what the committer has waits; zero: it has nothing
}

// group is what is written at once.
type group struct {
	buf     []byte // frames, whose heads the committer fills in
	batches []batch
	records int
	idle    int       // takes in a row that used little of buf
	since   time.Time // when the first came
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
	if len(g.batches) == 0 && q.clock != nil {
		g.since = q.clock.Now()
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
	if q.writing = (time.Time{}); len(g.batches) > 0 {
		q.writing = g.since
	}
	return room
}

// oldest is since when the oldest batch waits that is not decided; zero: none does.
func (q *queue) oldest() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing.IsZero() && len(q.filling.batches) > 0 {
		return q.filling.since
	}
	return q.writing
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
