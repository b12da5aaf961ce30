package session

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// outState is where an outgoing QoS 1 or 2 message stands.
type outState uint8

const (
	awaitPuback  outState = iota + 1 // QoS 1, PUBLISH sent [MQTT-4.3.2-3]
	awaitPubrec                      // QoS 2, PUBLISH sent [MQTT-4.3.3-3]
	awaitPubcomp                     // QoS 2, PUBREL sent; the frame is gone [MQTT-4.3.3-5]
)

// inflightEntry is one outgoing message the client has not acknowledged.
type inflightEntry struct {
	frame  *mqtt.Frame // nil once PUBREC came, and while it is in the log only
	seq    uint64      // of the log; 0: the message is in memory only
	held   uint64      // the change that must be on disk before it is sent; 0: none
	subID  uint32
	subIDs []uint32
	group  Group
	id     uint16
	state  outState
	retain bool
	sent   bool // on this connection
	fresh  bool // never sent on any
}

// outbound is the sending half of a session.
type outbound struct {
	*burden
	cursor uint64 // the last number of the log that was sent, or given up
	lastID uint16
	skip   uint16 // bytes of every topic that the client does not see
	unsent int32  // entries of inflight not yet sent on this connection
	kept   *kept  // nil: the session ends with the process
}

// burden is what a session has under way to its client, and what waits. All that never had
// anything have the same.
type burden struct {
	inflight []inflightEntry // in the order of sending
	room     []inflightEntry // of a window larger than usual: its array, at whose end inflight is; nil: inflight has all of its own
	queue    mqueue
	unused   uint16 // identifiers after the last one that nothing in inflight has, at least
}

// unburdened is theirs. It stays empty: whoever has something to put in asks for loaded.
var unburdened burden

// loaded is the burden of this session, to be added to.
func (o *outbound) loaded() *burden {
	if o.burden == &unburdened {
		o.burden = new(burden)
	}
	return o.burden
}

// Deliver queues one message [MQTT-4.5.0-1] and appends to out what to send now. While the
// client is away QoS 0 is not kept; QoS 1 and 2 are.
func (s *Session) Deliver(now time.Time, d Delivery, out []Out) []Out {
	if !s.conn.online && d.QoS == 0 {
		s.drops().Offline++
		return out
	}
	if s.sendable(d.QoS) && (d.QoS == 0 || s.lim.Account.room(int64(d.Frame.Size()))) {
		d.Frame.Hold()
		return s.send(now, d, out)
	}
	if s.unaffordable(&d) {
		s.drops().Overload++
		return out
	}
	d.queuedAt = now.UnixMilli()
	if n := s.out.loaded().queue.push(d, s.lim); n > 0 {
		s.drops().QueueFull += n
	}
	return out
}

// sendable tells whether a message of this QoS may pass the queue: nothing of
// its order class waits, the socket takes more, and the window has room.
func (s *Session) sendable(q mqtt.QoS) bool {
	if !s.conn.online || s.conn.congested {
		return false
	}
	if q == 0 {
		return s.out.queue.q0.len() == 0
	}
	return s.out.queue.q12.len() == 0 && s.windowOpen()
}

// windowOpen tells whether one more message may be unacknowledged
// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]. Nothing but QoS 1 and 2 messages
// waits for it [MQTT-3.3.4-10] [MQTT-4.9.0-3]. Whatever is inflight from an earlier connection goes first.
func (s *Session) windowOpen() bool {
	return s.out.unsent == 0 && len(s.out.inflight) < int(s.conn.window) && !s.pinched()
}

// sendQueued sends what came out of the mqueue, unless it waited too long there.
func (s *Session) sendQueued(now time.Time, d Delivery, out []Out) []Out {
	if most := s.lim.WaitMax; most > 0 && now.UnixMilli()-d.queuedAt > most.Milliseconds() {
		s.drops().Expired++
		d.Frame.Release()
		return out
	}
	return s.send(now, d, out)
}

// send takes over d's reference: it is passed to the Out, kept in inflight, or
// given back when the message expired or does not fit the client. DUP is clear,
// whatever the publisher said [MQTT-3.3.1-3] [MQTT-4.3.1-1] [MQTT-4.3.2-2]
// [MQTT-4.3.3-2].
func (s *Session) send(now time.Time, d Delivery, out []Out) []Out {
	if d.Seq != 0 {
		s.out.cursor = d.Seq
	}
	if expired(d.Frame, now) {
		s.drops().Expired++
		d.Frame.Release()
		return out
	}
	o := Out{Kind: OutPublish, Frame: d.Frame, SubID: d.SubID, SubIDs: d.SubIDs, Flags: Flags(d.QoS), Skip: s.out.skip}
	if d.Retain {
		o.Flags |= FlagRetain
	}
	if s.tooLarge(now, &o) {
		s.drops().TooLarge++
		d.Frame.Release()
		return out
	}
	if d.QoS == 0 {
		s.alias(now, &o)
		return append(out, o)
	}
	o.ID = s.nextID()
	e := inflightEntry{frame: d.Frame, seq: d.Seq, subID: d.SubID, subIDs: d.SubIDs, group: d.Group, id: o.ID, state: awaitPuback, retain: d.Retain, sent: true}
	s.lim.Account.add(int64(d.Frame.Size()))
	if s.out.kept != nil {
		s.out.counting().begun++
	}
	if d.QoS == 2 {
		e.state = awaitPubrec
		if s.out.kept != nil { // it must not be sent twice, so the log hears of it first
			e.held, e.fresh = s.out.counting().change(), true
			s.begin(e)
			return out
		}
	}
	d.Frame.Hold() // one for the Out, one for inflight
	s.begin(e)
	s.alias(now, &o)
	return append(out, o)
}

// begin keeps a message until the client has acknowledged it.
func (s *Session) begin(e inflightEntry) {
	b := s.out.loaded()
	switch n := len(b.inflight); {
	case n < cap(b.inflight):
	case b.room != nil || n >= windowUsual:
		b.widen()
	case n >= windowFew:
		b.borrow()
	}
	b.inflight = append(b.inflight, e)
}

// borrow has inflight in a window of the usual size.
func (b *burden) borrow() {
	w := windows.Get().(*window)
	b.inflight, b.room = w[:copy(w[:], b.inflight)], nil
}

// widen makes room at the end of a large window. What was acknowledged has left some before it: a window that goes on at its
// size moves each entry once, where one that closed up at each acknowledgement moved all of them. One that has become small gets a
// smaller array, or is a usual one again.
func (b *burden) widen() {
	n, old := len(b.inflight), b.room
	if old != nil && n <= windowUsual/2 {
		b.borrow()
		return
	}
	if len(old)-n < n/2 || len(old) > 8*n {
		b.room = make([]inflightEntry, 2*n)
	}
	copy(b.room, b.inflight)
	clear(b.room[n:])
	if old == nil && n == windowUsual {
		w := (*window)(b.inflight)
		clear(w[:])
		windows.Put(w)
	}
	b.inflight = b.room[:n]
}

// window is room for what most clients have under way at the most (limits.inflight, as
// shipped). A burst borrows one: it must not stay with an idle session, and to allocate
// one for each burst was half of the garbage of QoS 1.
type window [windowUsual]inflightEntry

const (
	windowUsual = 32
	windowFew   = 4 // entries a session has room for by itself, and keeps it
)

// narrow gives a borrowed window back where half of it is enough: whoever is away may be away for long.
func (o *outbound) narrow() {
	if len(o.inflight) == 0 && o.queue.len() == 0 {
		o.burden = &unburdened
		return
	}
	if n := len(o.inflight); o.room != nil {
		if n <= len(o.room)/4 {
			o.inflight, o.room = append(make([]inflightEntry, 0, n), o.inflight...), nil
		}
	} else if cap(o.inflight) == windowUsual && n <= windowUsual/2 {
		w := (*window)(o.inflight[:windowUsual])
		o.inflight = append(make([]inflightEntry, 0, n), o.inflight...)
		clear(w[:n])
		windows.Put(w)
	}
}

var windows = sync.Pool{New: func() any { return new(window) }}

// tooLarge tells whether the client said it cannot take a packet of this size
// [MQTT-3.1.2-24]; such a message counts as sent [MQTT-3.1.2-25].
func (s *Session) tooLarge(now time.Time, o *Out) bool {
	most := int(s.conn.sizeMax)
	if most == 0 {
		most = mqtt.PacketMax
	}
	if o.Cost() <= most {
		return false // without counting
	}
	var one [1]uint32
	h := o.head(&one, s.conn.version, now)
	return o.Frame.WireSize(&h) > most
}

// nextID is a packet identifier that is not zero and not in use
// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]. The window is at most 65,535, so there is one.
func (s *Session) nextID() uint16 {
	o := &s.out
	b := o.loaded()
	for {
		if b.unused == 0 {
			// Very many in a row may be in use.
			for i := o.find(o.lastID + 1); i >= 0 && i < len(o.inflight) && o.inflight[i].id == o.lastID+1; i++ {
				o.lastID++
			}
			b.unused = o.gap()
			continue
		}
		o.lastID++
		if b.unused--; o.lastID != 0 {
			return o.lastID
		}
	}
}

// gap is how many identifiers after the last one nothing in inflight has.
func (o *outbound) gap() uint16 {
	least := uint16(65535)
	for i := range o.inflight {
		if ahead := o.inflight[i].id - o.lastID; ahead != 0 { // it is as far behind as can be
			least = min(least, ahead-1)
		}
	}
	return least
}

// find is the position of id in inflight, or -1. Identifiers are given out in turn, so that it is as far from the first entry
// as its identifier is, or nearer where some in between have gone. Acknowledgements come in order [MQTT-4.6.0-2]: it is
// nearly always the first.
func (o *outbound) find(id uint16) int {
	if len(o.inflight) == 0 {
		return -1
	}
	most := min(int(id-o.inflight[0].id), len(o.inflight)-1)
	for i := most; i >= 0; i-- {
		if o.inflight[i].id == id {
			return i
		}
	}
	for i := most + 1; i < len(o.inflight); i++ { // the log had them in another order
		if o.inflight[i].id == id {
			return i
		}
	}
	return -1
}

// Burst is how much a session sends in one go from what waits, bytes. A
// connection that was given this much has no room for more until its socket has
// taken it; so a long queue stays in the mqueue, where its limits hold. What is
// dropped on the way does not count: Pump leaves something behind only when it
// has filled the connection, because then somebody will call Writable.
const Burst = 64 << 10

// Pump appends to out what may be sent now: packets owed from an earlier
// connection, then what waits.
func (s *Session) Pump(now time.Time, out []Out) []Out {
	if !s.conn.online || s.conn.congested {
		return out
	}
	out = s.resend(now, out)
	// Half of the room is for QoS 1 and 2 first, so that a flood of QoS 0 cannot
	// keep them waiting; what one kind leaves is the other's.
	q := &s.out.queue
	out, left := s.drain(now, &q.q12, Burst/2, out)
	out, left = s.drain(now, &q.q0, Burst/2+left, out)
	out, _ = s.drain(now, &q.q12, left, out)
	return out
}

// drain sends from r until room bytes are used up, and answers what is left of
// them.
func (s *Session) drain(now time.Time, r *ring[Delivery], room int, out []Out) (_ []Out, left int) {
	for room > 0 && r.len() > 0 && (r == &s.out.queue.q0 || s.windowOpen()) {
		d := s.take(r)
		size, before := d.Frame.Size(), len(out)
		if out = s.sendQueued(now, d, out); len(out) > before {
			room -= size
		}
	}
	return out, room
}

// resend repeats, in order and with DUP [MQTT-3.3.1-1], expired or not
// [MQTT-4.3.3-7], what the previous connection left unacknowledged,
// as far as this client's Receive Maximum lets it.
func (s *Session) resend(now time.Time, out []Out) []Out {
	for i := 0; s.out.unsent > 0 && i < len(s.out.inflight) && i < int(s.conn.window); {
		e := &s.out.inflight[i]
		if e.sent {
			i++
			continue
		}
		if e.held != 0 || e.frame == nil && e.state != awaitPubcomp {
			break // the log has not said that it may go, or has not brought it back: order is order
		}
		s.out.unsent--
		e.sent = true
		if e.state == awaitPubcomp {
			out = append(out, Out{Kind: OutAck, Ack: mqtt.PUBREL, ID: e.id})
			i++
			continue
		}
		o := s.again(e)
		if s.tooLarge(now, &o) { // the new connection takes less than the old one did
			s.drops().TooLarge++
			s.remove(i)
			continue
		}
		s.alias(now, &o)
		e.frame.Hold()
		out = append(out, o)
		i++
	}
	return out
}

// again is the PUBLISH of an entry of inflight, as a repetition unless it has never
// been sent.
func (s *Session) again(e *inflightEntry) Out {
	o := Out{Kind: OutPublish, Frame: e.frame, SubID: e.subID, SubIDs: e.subIDs, ID: e.id, Flags: Flags(e.state.qos()), Skip: s.out.skip}
	if !e.fresh {
		o.Flags |= FlagDup
	}
	if e.retain {
		o.Flags |= FlagRetain
	}
	e.fresh = false
	return o
}

func (st outState) qos() mqtt.QoS {
	if st == awaitPuback {
		return 1
	}
	return 2
}

// rewind marks everything unacknowledged as not yet sent on this connection.
func (o *outbound) rewind() {
	for i := range o.inflight {
		o.inflight[i].sent = false
	}
	o.unsent = int32(len(o.inflight)) //nolint:gosec // at most 65,535
}

// letGo gives back the frame of an entry that needs it no longer.
func (s *Session) letGo(e *inflightEntry) {
	if e.frame != nil {
		s.lim.Account.add(-int64(e.frame.Size()))
		e.frame.Release()
		e.frame = nil
	}
}

// remove takes entry i out and gives its frame back.
func (s *Session) remove(i int) {
	o := &s.out
	e := o.inflight[i]
	s.letGo(&e)
	if !e.sent {
		o.unsent--
	}
	if o.kept != nil {
		o.counting().ended++
	}
	last := len(o.inflight) - 1
	if o.room != nil && i <= last/2 {
		copy(o.inflight[1:i+1], o.inflight[:i])
		o.inflight[0] = inflightEntry{}
		o.inflight = o.inflight[1:]
	} else {
		copy(o.inflight[i:], o.inflight[i+1:])
		o.inflight[last] = inflightEntry{}
		o.inflight = o.inflight[:last]
	}
	if room := cap(o.inflight); last == 0 && (room > windowFew || o.room != nil) {
		if room == windowUsual && o.room == nil {
			windows.Put((*window)(o.inflight[:room]))
		}
		o.inflight, o.room = nil, nil // a burst must not stay with an idle session
	}
}

// unload gives back all that waits and is under way.
func (s *Session) unload() {
	for len(s.out.inflight) > 0 {
		s.remove(len(s.out.inflight) - 1)
	}
	s.out.queue.discard(s.lim.Account)
}

// take pops the oldest of r, one of the rings of the queue; its reference goes to the caller.
func (s *Session) take(r *ring[Delivery]) Delivery { return s.out.queue.take(r, s.lim.Account) }

// Queued is how many messages wait, and their bytes; Inflight how many are
// unacknowledged.
func (s *Session) Queued() (messages int, bytes int64) { return s.out.queue.len(), s.out.queue.bytes }

// Inflight is how many outgoing messages are unacknowledged.
func (s *Session) Inflight() int { return len(s.out.inflight) }

// RoomForReplay tells whether the session can take one more message at its own
// pace: retained messages for a new subscription wait in the retained store,
// not in the mqueue, where they would push out live ones.
func (s *Session) RoomForReplay(q mqtt.QoS) bool {
	if q == 0 {
		return s.conn.online && !s.conn.congested
	}
	return s.sendable(q)
}
