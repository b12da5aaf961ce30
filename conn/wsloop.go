package conn

import (
	"encoding/binary"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// packetsPerFrame is how many packets of the largest size one frame may hold. A
// browser that was held up sends all that waits in one frame, and since nothing
// of a frame is kept, its length costs nothing: the packets in it are judged one
// by one. The limit is for lengths that no client means.
const packetsPerFrame = 16

// plain answers what of b is MQTT.
func (l *Loop) plain(c *Conn, b []byte) []byte {
	if c.ws() == nil {
		return b
	}
	b = c.ws().take(b, packetsPerFrame*int64(l.server.broker.Settings().PacketBytes))
	if c.ws().pong && c.stage == open {
		l.mark(c)
	}
	return b
}

// consume handles the packets in b and then, if the frames around them have
// ended, the end.
func (l *Loop) consume(c *Conn, b []byte) {
	had, end := c.half.rest(), c.half.ending()
	if l.roomed = c.half.lend(); l.roomed != nil {
		had = nil // there is no part
	}
	l.keep(c, had, l.packets(c, b))
	if end != goesOn && (!c.greedy || len(c.half.rest()) == 0) {
		defer l.endsNow(c, end)
	}
	if c.ws() == nil || c.ws().end == nil || c.greedy || c.pace.timed {
		return // a packet that waits for its turn was sent before the end
	}
	e := c.ws().end
	switch {
	case !c.listens():
	case e.Reason != mqtt.Success:
		l.mistake(c, e)
	default: // the client closed, without a DISCONNECT: that is a network connection that has gone
		if c.stage == open {
			l.home.Gone(l.now, c.session)
		} else {
			l.refused(c, "the connection ended before CONNECT was accepted", nil)
		}
		l.part(c, nil, broker.CauseGone)
	}
}

// idle tells whether there is nothing to send to c. A ping that came before
// CONNECT was accepted is answered afterwards: until then nothing is written to
// anybody, and a connection on its way home must not have a write under way.
func (c *Conn) idle() bool {
	f := c.ws()
	switch {
	case !c.out.empty():
		return false
	case f == nil || f.closed:
		return true
	}
	return c.stage != closing && !(f.pong && c.stage == open)
}

// encode appends what one write to c takes. Over WebSocket that is an answer to
// the last ping, a binary frame around what waits, and, when the connection is
// closing and nothing more waits, a close frame.
func (c *Conn) encode(dst []byte, now time.Time, count *metrics.Shard) []byte {
	f := c.ws()
	if f == nil {
		return c.out.encode(dst, c.version, now, count)
	}
	if f.closed {
		return dst
	}
	if f.pong {
		dst = append(dst, final|opPong, byte(len(f.ping)))
		dst = append(dst, f.ping...)
		f.ping, f.pong = nil, false
	}
	at := len(dst)
	dst = frameFrom(c.out.encode(append(dst, final|opBinary, length16, 0, 0), c.version, now, count), at)
	if c.stage == closing && c.out.empty() {
		dst = append(dst, final|opClose, 2)
		dst = binary.BigEndian.AppendUint16(dst, max(f.status, statusNormal))
		f.closed = true
	}
	return dst
}

// frameFrom gives the frame at dst[at:], which has a header of four bytes, the
// header that its length needs: RFC 6455 §5.2 asks for the shortest. An empty one
// is left out.
func frameFrom(dst []byte, at int) []byte {
	payload := dst[at+4:]
	switch n := len(payload); {
	case n == 0:
		return dst[:at]
	case n < length16:
		dst[at+1] = byte(n)
		return dst[:at+2+copy(dst[at+2:], payload)]
	case n < 1<<16:
		binary.BigEndian.PutUint16(dst[at+2:], uint16(n))
		return dst
	default: // one write is 64 KiB and what its last packet is over it
		dst[at+1] = length64
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[at+10:], dst[at+4:at+4+n])
		binary.BigEndian.PutUint64(dst[at+2:], uint64(n))
		return dst
	}
}
