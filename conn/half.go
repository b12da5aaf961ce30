package conn

import (
	"io"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// half is what a connection holds of a packet that has not come whole.
type half struct {
	in      []byte // at most the packet limit and one read
	since   int64  // when it began, Unix milliseconds; 0: it has come whole, or was not looked at
	size    int32  // of the whole packet, bytes; 0 while its header is not known
	charged int32  // bytes of memory that the node's account has for it
	place   uint16
	known   int32 // bytes of those charged that are in the sum of its identity, at place
	end     ending
	tried   bool        // room for all of it was asked for before half of it had come
	room    *mqtt.Frame // in whose memory in is; nil: in a part of its own
}

// ending is what is known of the end of a connection whose packets wait for their turn: they were
// sent before it, and one of them may be a DISCONNECT.
type ending uint8

const (
	goesOn     ending = iota
	mayBeOver         // writing failed, or the peer has hung up: what the system still has of it is to be read
	surelyOver        // no more comes
)

// endsLater puts the end of c off if packets wait. Nothing is heard of its socket until they were
// served: a socket that was hung up would be ready all the time.
func (l *Loop) endsLater(c *Conn, how ending) bool {
	if c.stage != open || !c.greedy || len(c.half.rest()) == 0 {
		return false
	}
	if c.half.end == goesOn {
		c.sock.Leave()
	}
	c.half.end = max(c.half.end, how)
	return true
}

// endsNow goes on with an end that was put off, when all was served.
func (l *Loop) endsNow(c *Conn, how ending) {
	switch {
	case c.stage != open:
	case how == surelyOver:
		l.ended(c, io.EOF)
	default:
		if c.half != nil { // of a packet that has not come whole
			c.half.end = goesOn
		}
		c.sock.Join(l) // and is read on: that tells
	}
}

// rest is what has come of it.
func (h *half) rest() []byte {
	if h == nil {
		return nil
	}
	return h.in
}

// ending is what is known of the connection's end.
func (h *half) ending() ending {
	if h == nil {
		return goesOn
	}
	return h.end
}

// whole says that it has come whole.
func (h *half) whole() {
	if h != nil {
		h.since = 0
	}
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
	h := c.half
	bytes := h.takes()
	account := l.server.broker.Settings().Session.Account
	switch more := int64(bytes - h.charged); {
	case more > 0 && c.greedy && c.stage == open && h.begins(c): // we put it off: affords has judged it
		l.owe(c, account, more)
	case more > 0 && !l.charge(c, account, more):
		l.letGo(c)
		l.mistake(c, &mqtt.Error{Reason: mqtt.QuotaExceeded, Detail: "limits.mqueue_bytes_total leaves no room for a packet of this size"})
		return
	case more < 0:
		l.discharge(c, -more)
	}
	h.charged = bytes
	switch {
	case len(h.in) == 0:
		c.half = nil
	case h.since == 0:
		h.since, h.size, h.tried = l.now.UnixMilli(), 0, false
		h.measure(c)
		if c.stage == open && !c.armed {
			c.armed = true
			l.timers.Set(c.ref.Slot, c.deadline(h.until()))
		}
	case h.size == 0: // its header came in parts
		h.measure(c)
	}
}

// halfShare is the part of the account that incomplete packets of one identity may have
// together, or halfLeast packets: many connections of one set of credentials must not take
// what others need to say anything at all.
const (
	halfShare = 16
	halfLeast = 4
)

// charge puts bytes more of an incomplete packet on the account, unless they do not fit, or
// are too many for whose they are. Strangers have bounds of their own.
func (l *Loop) charge(c *Conn, account *session.Account, bytes int64) bool {
	if c.stage != open {
		return account.Reserve(bytes)
	}
	h, halves := c.half, l.server.halves
	if h.known == 0 {
		h.place = l.placeOf(c)
	}
	if halves.Add(h.place, bytes) > l.halfMost(account) || !account.Reserve(bytes) {
		halves.Add(h.place, -bytes)
		return false
	}
	h.known += int32(bytes)
	return true
}

// placeOf is where the sum of c's identity is.
func (l *Loop) placeOf(c *Conn) uint16 {
	return l.server.halves.Place(l.home.Who(c.session).Identity)
}

// halfMost is what one identity may have.
func (l *Loop) halfMost(account *session.Account) int64 {
	return max(account.Max()/halfShare, halfLeast*int64(partRoom(l.server.broker.Settings().PacketBytes)))
}

// affords tells whether n bytes that c has sent may wait for a turn. They are on the accounts meanwhile, and
// where there is no room they are served at once: nobody is refused because we put him off.
func (l *Loop) affords(c *Conn, n int) bool {
	if c.stage != open || n <= bufferMin {
		return true
	}
	more := int64(partRoom(n))
	if c.half != nil {
		more -= int64(c.half.charged)
	}
	account := l.server.broker.Settings().Session.Account
	return more <= 0 || account.Held()+more <= account.Max() && l.server.halves.Sum(l.placeOf(c))+more <= l.halfMost(account)
}

// owe is charge of what affords has judged. Between the two others may have come.
func (l *Loop) owe(c *Conn, account *session.Account, bytes int64) {
	h := c.half
	if h.known == 0 {
		h.place = l.placeOf(c)
	}
	l.server.halves.Add(h.place, bytes)
	account.Owe(bytes)
	h.known += int32(bytes)
}

// discharge gives bytes of it back.
func (l *Loop) discharge(c *Conn, bytes int64) {
	l.server.broker.Settings().Session.Account.Release(bytes)
	if known := min(int64(c.half.known), bytes); known > 0 {
		l.server.halves.Add(c.half.place, -known)
		c.half.known -= int32(known)
	}
}

// begins tells whether what has come begins with a packet that is whole.
func (h *half) begins(c *Conn) bool {
	head, ok, err := mqtt.ReadHeader(h.in, c.version)
	return err == nil && ok && len(h.in) >= head.Size+head.Remaining
}

// measure reads how large the packet is to be, if that has come.
func (h *half) measure(c *Conn) {
	if head, ok, _ := mqtt.ReadHeader(h.in, c.version); ok {
		h.size = int32(head.Size + head.Remaining)
	}
}

// letGo forgets an incomplete packet.
func (l *Loop) letGo(c *Conn) {
	if h := c.half; h != nil {
		if h.charged > 0 {
			l.discharge(c, int64(h.charged))
		}
		if h.room != nil {
			h.room.Release()
		}
	}
	c.half = nil
}

// unfinished judges an incomplete packet when the connection's timer fires: late
// is its client's fault only while we read. until is when to look again; zero: not
// for this.
func (l *Loop) unfinished(c *Conn) (late bool, until time.Time) {
	h := c.half
	if h == nil || h.since == 0 {
		c.armed = false
		return false, time.Time{}
	}
	if p := &c.pace; p.held || p.timed || p.choked || c.greedy {
		h.since = l.now.UnixMilli()
	}
	until = h.until()
	return !l.now.Before(until), until
}
