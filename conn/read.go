package conn

import (
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// readMax is how much of one connection is read in one turn, bytes.
const readMax = 64 << 10

// input takes the packets off what a read brought. What is left of an
// incomplete packet is kept; it cannot be more than the packet limit, because
// the verdict falls on the fixed header.
func (l *Loop) input(c *Conn, b []byte) {
	l.count.Add(metrics.BytesReceived, int64(len(b)))
	b = l.plain(c, b)
	if h := c.half; h != nil && 2*(len(h.in)+len(b)) >= int(h.size) {
		l.widen(c)
	}
	if n := copy(c.half.space(), b); n > 0 {
		l.filled(c, n)
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	if h := c.half; h != nil && len(h.in) > 0 {
		h.vacate() // a packet that is whole waits for its turn
		h.in = extend(h.in, b, int(h.size))
		b = h.in
	}
	l.consume(c, b)
}

// deliveriesPerTurn is how much work for others one connection may cause in a
// turn. Past it the packets it has sent wait until everybody had theirs; a packet
// that is begun is finished, whatever it costs.
const deliveriesPerTurn = 4096

// packetsTime is how long one connection may be served in a turn, about: the loop's other clients wait for
// it. Whoever sends as fast as it can has more in one read than fits (D-07). In company it is less: see share.
const packetsTime = 100 * time.Microsecond

// filtersTime is the same for who subscribes or unsubscribes. What others have for him waits for the next turn, and what he says
// is no message of anybody's: a shorter part costs him some turns more, and others wait for half as long.
const filtersTime = 50 * time.Microsecond

// A clock is looked at after packetsLook packets, and after each that may name many filters; where
// fewer bytes than packetsFew have come, there is nothing that could take long.
const (
	packetsLook = 8
	packetsFew  = 512
)

// putOff lets c wait: for the next turn, and, if it has sent something for many since there
// were so many listed, for those.
func (l *Loop) putOff(c *Conn, listed uint64) {
	if c.greedy {
		return
	}
	c.greedy = true
	d := deferred{conn: c}
	if l.broad.listed > listed {
		d.after = l.broad.listed
	}
	l.greedy = append(l.greedy, d)
}

// goOn takes up what a connection had to leave for this turn.
func (l *Loop) goOn(c *Conn) {
	c.greedy = false
	if c.stage == open {
		l.consume(c, c.half.rest())
		l.resumeReading(c)
	}
}

// packets handles the whole packets in b, as far as the turn allows, and answers
// the rest.
func (l *Loop) packets(c *Conn, b []byte) (rest []byte) {
	spent, broad := l.home.Spent(), l.broad.listed
	var begun time.Time
	if len(b) >= packetsFew {
		begun = l.server.clock.Now()
	}
	share := l.share(c)
	for n := 1; c.listens(); n++ {
		if l.home.Spent()-spent > deliveriesPerTurn && l.affords(c, len(b)) {
			l.putOff(c, broad)
		}
		if c.greedy || c.pace.timed { // who is over a rate is not, by what one read brought
			return b
		}
		h, ok, err := mqtt.ReadHeader(b, c.version)
		if err == nil && h.Type != 0 {
			err = l.admissible(c, &h)
		}
		if err != nil {
			l.mistake(c, err)
			return nil
		}
		if !ok || len(b) < h.Size+h.Remaining {
			if l.broad.listed > broad { // it is read again when those have it
				l.putOff(c, broad)
			}
			return b
		}
		c.pace.lastSeen = l.moment
		if h.Type == mqtt.PUBLISH {
			l.publishes(c)
		}
		c.half.whole()
		l.count.Inc(metrics.PacketsReceived.At(int(h.Type)))
		if err := l.packet(c, &h, b[h.Size:h.Size+h.Remaining]); err != nil {
			l.mistake(c, err)
			return nil
		}
		b = b[h.Size+h.Remaining:]
		most, look := share, n%packetsLook == 0
		if h.Type == mqtt.SUBSCRIBE || h.Type == mqtt.UNSUBSCRIBE {
			most, look = min(share, filtersTime), true
		}
		if look && len(b) > 0 && !begun.IsZero() && l.server.clock.Now().Sub(begun) >= most && l.affords(c, len(b)) {
			c.bulk |= exceeds
			l.putOff(c, broad)
		}
	}
	return b
}

// admissible is the verdict from the fixed header, before any of the body is
// kept (A001, A002, A005).
func (l *Loop) admissible(c *Conn, h *mqtt.Header) error {
	set := l.server.broker.Settings()
	size := h.Size + h.Remaining
	if c.stage == awaitingConnect {
		if h.Type != mqtt.CONNECT {
			return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.1.0-1", Detail: "the first packet is " + h.Type.String() + ", not CONNECT"}
		}
		if size > set.ConnectPacketBytes {
			return &mqtt.Error{Reason: mqtt.PacketTooLarge, Detail: "CONNECT over limits.connect_packet_bytes"}
		}
		return nil
	}
	if c.stage == exchanging {
		if h.Type != mqtt.AUTH && h.Type != mqtt.DISCONNECT {
			return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.1.2-30", Detail: h.Type.String() + " before authentication has ended"}
		}
		if size > set.ConnectPacketBytes {
			return &mqtt.Error{Reason: mqtt.PacketTooLarge, Detail: "AUTH over limits.connect_packet_bytes"}
		}
		return nil
	}
	if size > set.PacketBytes {
		return &mqtt.Error{Reason: mqtt.PacketTooLarge, Rule: "§3.2.2.3.6", Detail: "packet over limits.packet_bytes"}
	}
	return nil
}

// keep remembers an incomplete packet, or a packet nobody may look at yet. What was there
// before, whose bytes rest may be, is in had.
func (l *Loop) keep(c *Conn, had, rest []byte) {
	room := l.roomed
	l.roomed = nil
	if len(rest) == 0 || c.stage == closing || c.stage == gone {
		if room != nil {
			room.Release()
		}
		putPart(had)
		if c.half == nil {
			return
		}
		c.half.in = nil // a large packet must not stay with an idle connection
		l.hold(c)
		return
	}
	if c.half == nil {
		c.half = new(half)
	}
	switch h := c.half; {
	case room != nil:
		h.in, h.room = rest, room
	case l.halfOf(c, rest) && l.enter(c, rest):
		putPart(had)
	case len(had) > 0 && cap(had) <= 4*len(rest)+bufferMin: // rest lies in it already
		if len(rest) < len(had) {
			copy(had, rest)
		}
		h.in = had[:len(rest)]
	default:
		h.in = extend(nil, rest, 0)
		putPart(had)
	}
	l.hold(c)
}

// mistake ends a connection for what its peer did.
func (l *Loop) mistake(c *Conn, err error) {
	e := err.(*mqtt.Error) // package mqtt and this one make no other kind
	switch c.stage {
	case open:
		l.misbehaved(c, e)
		l.home.Fail(l.now, c.session, e)
	case exchanging:
		l.refuse(c, e, c.hello().connect.MaximumPacketSize)
	case awaitingConnect:
		l.refused(c, "", e)
		l.part(c, nil, broker.CauseOf(e))
	}
}
