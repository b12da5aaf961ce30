package conn

import (
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A PUBLISH of roomMin to mqtt.RoomMax bytes is read into the memory in which its subscribers will share
// it (mqtt.NewRoom): it is not put together first, and not copied out of that. Whoever announces a
// packet has not sent it, so there is no such room before half of it has come; but for the moment in
// which the system is asked what it has of it.
const roomMin = 16 << 10

// behind is how much of what follows such a packet is read with the rest of it: enough for the head
// of another, and little to be copied into its room.
const behind = 1 << 10

// space is where the rest of a packet is to be read to.
func (h *half) space() []byte {
	if h == nil || h.room == nil {
		return nil
	}
	return h.in[len(h.in):cap(h.in)]
}

// takes is how many bytes of memory h takes, as far as they are counted.
func (h *half) takes() int32 {
	switch {
	case h.room != nil:
		return int32(mqtt.RoomBytes(cap(h.in))) //nolint:gosec // within a packet
	case cap(h.in) > bufferMin:
		return int32(cap(h.in)) //nolint:gosec // within a packet, and one read
	}
	return 0
}

// lend takes the room from h, for the time in which its packet is looked at.
func (h *half) lend() *mqtt.Frame {
	if h == nil {
		return nil
	}
	room := h.room
	h.room = nil
	return room
}

// vacate moves what has come into a part.
func (h *half) vacate() {
	if h.room != nil {
		h.in = extend(nil, h.in, 0)
		h.lend().Release()
	}
}

// roomy is how large the packet that b is the beginning of is, if it is one for a room; 0: it is not.
func (c *Conn) roomy(b []byte) int {
	if c.stage != open || len(b) == 0 || mqtt.Type(b[0]>>4) != mqtt.PUBLISH {
		return 0
	}
	head, ok, err := mqtt.ReadHeader(b, c.version)
	if size := head.Size + head.Remaining; err == nil && ok && roomMin <= size && size <= min(mqtt.RoomMax, c.loop.server.broker.Settings().PacketBytes) && len(b) < size {
		return size
	}
	return 0
}

// halfOf tells whether half of a packet for a room has come, or more.
func (l *Loop) halfOf(c *Conn, b []byte) bool {
	size := c.roomy(b)
	return size > 0 && 2*len(b) >= size
}

// enter gives the packet of c a room, with what has come of it, if the accounts have that much. hold
// puts it on them.
func (l *Loop) enter(c *Conn, came []byte) bool {
	size := c.roomy(came)
	if size == 0 || !l.affords(c, size) {
		return false
	}
	h := c.half
	h.room = mqtt.NewRoom(size)
	h.in = h.room.Room(size)
	h.in = h.in[:copy(h.in, came)]
	return true
}

// widen moves what has come of a packet from its part into a room.
func (l *Loop) widen(c *Conn) {
	if had := c.half.in; c.half.room == nil && l.enter(c, had) {
		putPart(had)
		l.hold(c)
	}
}

// filled takes the packet, if n bytes more make it whole.
func (l *Loop) filled(c *Conn, n int) {
	h := c.half
	h.in = h.in[:len(h.in)+n]
	l.consume(c, h.in)
}

// ahead is space for who has begun a packet, before half of it has come: see direct.
func (l *Loop) ahead(c *Conn) []byte {
	if h := c.half; h != nil && !h.tried && h.since != 0 {
		h.tried = true
		if l.affords(c, len(l.server.loops)*mqtt.RoomMax) { // nobody is refused for what has not come, on any loop
			l.widen(c)
		}
	}
	return c.half.space()
}

// direct takes n bytes that were read into the space that ahead answered, and what followed them. Where
// that was not half of the packet, it has no room any more.
func (l *Loop) direct(c *Conn, n int, more []byte) {
	l.count.Add(metrics.BytesReceived, int64(n))
	l.filled(c, n)
	if len(more) > 0 {
		l.input(c, more)
	}
	l.narrow(c)
}

// narrow takes the room from a packet of which too little has come.
func (l *Loop) narrow(c *Conn) {
	if h := c.half; h != nil && h.room != nil && 2*len(h.in) < cap(h.in) {
		h.vacate()
		l.hold(c)
	}
}
