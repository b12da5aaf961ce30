package conn

import (
	"sync"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// writeMax is what one connection writes in one turn, bytes.
const writeMax = 64 << 10

// writeSlack is how much more it may be if a packet is whole by that: one of 64 KiB and its head
// are not two writes.
const writeSlack = 8 << 10

// outQueue is what a connection still has to send. Publishes wait as shared
// frames with an offset, not as copies: a message of 1 MiB to a thousand slow
// readers is one message. It is bounded because the session stops at roomMax,
// and because the client is not read while its own answers pile up.
type outQueue struct {
	list    *outList // nil: there is nothing, and no write is under way
	writing bool
	full    bool // the session was told that there is no room
	dirty   bool // listed in Loop.dirty, or, if broad, in Loop.broad
	broad   bool
}

// outList is what an idle connection has none of: its loop lends one.
type outList struct {
	items   []session.Out // from head on
	head    int
	off     int            // of the first item, bytes already sent
	begun   int64          // Unix ns, when its first byte was encoded; its head says the time left until expiry
	cost    int            // of all items
	answers int            // of items that are not publishes
	lent    int            // size of the message from whose memory the write is that the system has not finished
	since   instant        // when the write began that the system has not finished
	first   [1]session.Out // room for the usual number, with no allocation of its own
}

func newOutList() *outList {
	q := new(outList)
	q.items = q.first[:0]
	return q
}

// roomMax is how much may wait before the session queues, and answersMax how
// many bytes of answers may wait before the client is not read any further.
const (
	roomMax    = session.Burst
	answersMax = 16 << 10
)

// has is the list, a new one if there is none.
func (q *outQueue) has() *outList {
	if q.list == nil {
		q.list = newOutList()
	}
	return q.list
}

func (q *outQueue) push(o session.Out) { q.has().push(o) }

func (q *outList) push(o session.Out) {
	if q.head > 32 && q.head >= len(q.items)/2 { // a queue that is never empty must not grow for ever
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	within := cap(q.items) == len(q.first)
	q.items = append(q.items, o)
	if within && cap(q.items) > len(q.first) {
		q.first = [1]session.Out{} // what it has was copied, and would keep a message that has been sent
	}
	n := o.Cost()
	q.cost += n
	if o.Kind != session.OutPublish {
		q.answers += n
	}
}

// room tells whether more publishes may come; the session is remembered as told.
func (q *outQueue) room() bool {
	if q.cost() >= roomMax {
		q.full = true
	}
	return !q.full
}

// cost is that of all items.
func (q *outQueue) cost() int {
	if q.list == nil {
		return 0
	}
	return q.list.cost + q.list.lent
}

// answers is the cost of those that are not publishes.
func (q *outQueue) answers() int {
	if q.list == nil {
		return 0
	}
	return q.list.answers
}

// since is when the write began that the system has not finished.
func (q *outQueue) since() instant {
	if q.list == nil {
		return 0
	}
	return q.list.since
}

// bytes is what the list takes, without what its items are.
func (q *outQueue) bytes() int64 {
	if q.list == nil {
		return 0
	}
	return int64(unsafe.Sizeof(*q.list)) + int64(cap(q.list.items))*int64(unsafe.Sizeof(session.Out{}))
}

func (q *outQueue) empty() bool { return q.list == nil || q.list.empty() }

func (q *outList) empty() bool { return q.head == len(q.items) }

// pop takes the first item, which has been sent or is dropped.
func (q *outList) pop() {
	o := &q.items[q.head]
	n := o.Cost()
	q.cost -= n
	if o.Kind != session.OutPublish {
		q.answers -= n
	}
	o.Done()
	*o = session.Out{}
	q.head++
	q.off = 0
	if q.empty() {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > itemsMax {
			q.items = q.first[:0] // a burst must not stay
		}
	}
}

// What a loop keeps of empty lists: as many connections as have something to send in a turn or
// two need no memory of their own for it, not even in bursts, and none stays with those who are
// idle. 1.2 MB for each loop at the most.
const (
	spareMax  = 512     // lists
	itemsMax  = 80      // items that one of them has room for
	sparesMax = 1 << 14 // items that all of them have room for, beside the one in each
)

// spareLists are lent to who has something to send.
type spareLists struct {
	lists []*outList
	items int // room of those that have grown
}

// more is how many items the list has room for beside its own one.
func (q *outList) more() int {
	if n := cap(q.items); n > len(q.first) {
		return n
	}
	return 0
}

// lend gives a queue that has no list one.
func (l *Loop) lend(q *outQueue) {
	s := &l.spare
	if n := len(s.lists); q.list == nil && n > 0 {
		q.list, s.lists[n-1] = s.lists[n-1], nil
		s.lists = s.lists[:n-1]
		s.items -= q.list.more()
	}
}

// takeBack takes the list of an empty queue of which no write is under way.
func (l *Loop) takeBack(q *outQueue) {
	if q.list == nil || !q.empty() || q.writing {
		return
	}
	if s := &l.spare; len(s.lists) < spareMax {
		if n := q.list.more(); s.items+n <= sparesMax {
			s.items += n
		} else {
			q.list.items = q.list.first[:0]
		}
		s.lists = append(s.lists, q.list)
	}
	q.list = nil
}

// encode appends at most writeMax bytes of what waits.
func (q *outQueue) encode(dst []byte, v mqtt.Version, now time.Time, count *metrics.Shard) []byte {
	if q.list == nil {
		return dst
	}
	return q.list.encode(dst, v, now, count)
}

func (q *outList) encode(dst []byte, v mqtt.Version, now time.Time, count *metrics.Shard) []byte {
	for !q.empty() && len(dst) < writeMax {
		var n int
		var end bool
		dst, n, end = q.items[q.head].Append(dst, v, q.at(now), q.off, writeMax-len(dst))
		if q.sent(n, end, count); !end {
			break
		}
	}
	return dst
}

// at is the time that the head of the first item says.
func (q *outList) at(now time.Time) time.Time {
	if q.off == 0 {
		q.begun = now.UnixNano()
	}
	return time.Unix(0, q.begun)
}

// sent notes that n bytes of the first item were encoded, and whether that was its end.
func (q *outList) sent(n int, end bool, count *metrics.Shard) {
	if !end {
		q.off += n
		return
	}
	count.Inc(metrics.PacketsSent.At(int(packetType(&q.items[q.head]))))
	q.pop()
}

// lends tells whether the first item is to be lent, whose payload has n bytes. With what is lent a write
// ends, so of messages that wait one behind the other a write would take one, where it takes as
// many as are 64 KiB: who keeps up must not fall behind for that.
func (q *outList) lends(n int) bool {
	return lentMin <= n && n <= lentMax && (2*n > writeMax || q.head+1 == len(q.items))
}

// lend is encode up to the first payload that is lent, which is not copied, or as much of it
// as a write takes. What is left of a packet goes with it if that is little.
func (q *outList) lend(dst []byte, v mqtt.Version, now time.Time, count *metrics.Shard) ([]byte, lent) {
	for !q.empty() && len(dst) < writeMax {
		o := &q.items[q.head]
		if !q.lends(o.Payload()) {
			var n int
			var end bool
			dst, n, end = o.Append(dst, v, q.at(now), q.off, writeMax-len(dst))
			if q.sent(n, end, count); !end {
				break
			}
			continue
		}
		room := writeMax - len(dst)
		if room < lentMin {
			break
		}
		head, payload, n, end := o.Lend(dst, v, q.at(now), q.off, room, room+writeSlack)
		p := lent{bytes: payload, of: o.Frame.Hold()}
		q.sent(n, end, count)
		return head, p
	}
	return dst, lent{}
}

// cut drops publishes that have not begun, when the connection is ending: those
// of QoS 1 and 2 stay with their session. Answers still leave.
func (q *outQueue) cut() {
	old := q.list
	*q = outQueue{writing: q.writing, dirty: q.dirty, broad: q.broad}
	if old == nil {
		return
	}
	keep := newOutList()
	keep.since, keep.begun, keep.off, keep.lent = old.since, old.begun, old.off, old.lent
	for i := old.head; i < len(old.items); i++ {
		if o := &old.items[i]; o.Kind != session.OutPublish || (i == old.head && old.off > 0) {
			keep.push(*o)
		} else {
			o.Done()
		}
	}
	q.list = keep
}

// discard drops everything.
func (q *outQueue) discard() {
	for !q.empty() {
		q.list.pop()
	}
}

func packetType(o *session.Out) mqtt.Type {
	switch o.Kind {
	case session.OutPublish:
		return mqtt.PUBLISH
	case session.OutAck:
		return o.Ack
	}
	return mqtt.Type(o.Bytes[0] >> 4)
}

// buffers are for reads and writes; they return at the end of a write or of a
// turn, so that an idle connection has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferMin); return &b }}

const (
	bufferMin = 4 << 10
	bufferMax = 64 << 10 // a larger one, grown for one huge head, is not kept
)

// readBuffers are the portable engine's: one waits in every reader, so they stay
// small.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, bufferMin); return &b }}

func getReadBuffer() []byte { return take(&readBuffers) }

func putReadBuffer(b []byte) {
	if cap(b) == bufferMin {
		give(&readBuffers, b[:bufferMin])
	}
}

func getBuffer() []byte { return take(&buffers) }

func putBuffer(b []byte) {
	if cap(b) >= bufferMin && cap(b) <= 2*bufferMax {
		give(&buffers, b[:0])
	}
}

// heads are what a pool has beside the bytes of a slice, of those that are not in one. A new
// one for each slice that is given back would be garbage of each write.
var heads = sync.Pool{New: func() any { return new([]byte) }}

// take is a slice of a pool.
func take(of *sync.Pool) []byte {
	h := of.Get().(*[]byte)
	b := *h
	*h = nil
	heads.Put(h)
	return b
}

// give gives it back.
func give(to *sync.Pool, b []byte) {
	h := heads.Get().(*[]byte)
	*h = b
	to.Put(h)
}
