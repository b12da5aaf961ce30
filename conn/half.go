package conn

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// half is what a connection holds of a packet that has not come whole.
type half struct {
	since   int64 // when it began, Unix milliseconds; 0: there is none
	size    int32 // of the whole packet, bytes; 0 while its header is not known
	charged int32 // bytes of memory that the node's account has for it
	armed   bool  // the connection's timer looks at it
}

// A packet that has begun has halfTime to come, and a second more for each
// halfRate of its bytes. Nobody who wants to say something needs longer, and who
// does not must not hold the memory for as long as the keep alive lets him (A075,
// D-04).
const (
	halfTime = 30 * time.Second
	halfRate = 4 << 10 // bytes per second
)

func (h *half) until() time.Time {
	return time.UnixMilli(h.since).Add(halfTime + time.Duration(h.size/halfRate)*time.Second)
}

// hold gives an incomplete packet its time and puts what it takes on the node's
// account (A001). What fits into the buffer of one small read is not counted.
func (l *Loop) hold(c *Conn) {
	h := &c.half
	bytes := int32(0)
	if cap(c.in) > bufferMin {
		bytes = int32(cap(c.in))
	}
	account := l.server.broker.Settings().Session.Account
	if more := int64(bytes - h.charged); more > 0 && !account.Reserve(more) {
		l.letGo(c)
		l.mistake(c, &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "limits.mqueue_bytes_total leaves no room for a packet of this size"})
		return
	} else if more < 0 {
		account.Release(-more)
	}
	h.charged = bytes
	switch {
	case len(c.in) == 0:
		h.since = 0
	case h.since == 0:
		h.since, h.size = l.now.UnixMilli(), 0
		h.measure(c)
		if c.stage == open && !h.armed {
			h.armed = true
			l.timers.Set(c.ref.Slot, c.deadline(h.until()))
		}
	case h.size == 0: // its header came in parts
		h.measure(c)
	}
}

// measure reads how large the packet is to be, if that has come.
func (h *half) measure(c *Conn) {
	if head, ok, _ := mqtt.ReadHeader(c.in, c.version); ok {
		h.size = int32(head.Size + head.Remaining)
	}
}

// letGo forgets an incomplete packet.
func (l *Loop) letGo(c *Conn) {
	c.in, c.half.since = nil, 0
	if c.half.charged > 0 {
		l.server.broker.Settings().Session.Account.Release(int64(c.half.charged))
		c.half.charged = 0
	}
}

// unfinished judges an incomplete packet when the connection's timer fires: late
// is its client's fault only while we read. until is when to look again; zero: not
// for this.
func (l *Loop) unfinished(c *Conn) (late bool, until time.Time) {
	h := &c.half
	if h.since == 0 {
		h.armed = false
		return false, time.Time{}
	}
	if p := &c.pace; p.held || p.timed || p.choked || p.greedy {
		h.since = l.now.UnixMilli()
	}
	until = h.until()
	return !l.now.Before(until), until
}
