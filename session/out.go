package session

import (
	"math"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Kind says what an Out is.
type Kind uint8

// What a session can ask to be sent.
const (
	OutPublish Kind = iota + 1 // Frame under Head
	OutAck                     // PUBACK, PUBREC, PUBREL or PUBCOMP
	OutPacket                  // a whole encoded packet, in Bytes
)

// Flags of an OutPublish.
type Flags uint8

// Bits 0 and 1 are the QoS of the delivery.
const (
	FlagQoS    Flags = 3
	FlagDup    Flags = 1 << 2
	FlagRetain Flags = 1 << 3
	// FlagAliasOnly goes with an Alias the client has been told already: the topic
	// is sent empty.
	FlagAliasOnly Flags = 1 << 4
)

// Out is one thing to send. Publishes are not packets yet: all subscribers
// share the bytes of Frame, and only the head differs. An Out with a Frame owns
// one reference to it, which whoever sends or drops the Out gives back with
// Done.
type Out struct {
	Frame  *mqtt.Frame
	Bytes  []byte
	SubIDs []uint32 // see Delivery
	SubID  uint32
	ID     uint16
	Alias  uint16 // topic alias; 0: none
	Skip   uint16 // bytes of the mountpoint, which the client does not see
	Kind   Kind
	Flags  Flags
	Ack    mqtt.Type // OutAck: which
	Reason mqtt.ReasonCode
}

// QoS is the QoS a publish is delivered with.
func (o *Out) QoS() mqtt.QoS { return mqtt.QoS(o.Flags & FlagQoS) }

// Done gives back the frame, if there is one.
func (o *Out) Done() {
	if o.Frame != nil {
		o.Frame.Release()
		o.Frame = nil
	}
}

// Packet wraps an encoded packet; b must not change afterwards.
func Packet(b []byte) Out { return Out{Kind: OutPacket, Bytes: b} }

// Cost is about how many bytes o will take on the wire: an upper bound that
// needs no encoding. Send queues are bounded by it.
func (o *Out) Cost() int {
	const head = 32 // fixed header, identifiers, expiry, a few subscription identifiers
	if o.Frame != nil {
		return o.Frame.Size() + head + 5*len(o.SubIDs)
	}
	return len(o.Bytes) + 8
}

// head is how o's publish differs from that of other subscribers. one gives a
// single subscription identifier a place that needs no allocation; it stays on
// the caller's stack because the head is a result.
func (o *Out) head(one *[1]uint32, v mqtt.Version, now time.Time) mqtt.PublishHead {
	h := mqtt.PublishHead{
		Version:  v,
		QoS:      o.QoS(),
		Dup:      o.Flags&FlagDup != 0,
		Retain:   o.Flags&FlagRetain != 0,
		PacketID: o.ID, TopicSkip: o.Skip,
		TopicAlias: o.Alias, AliasOnly: o.Flags&FlagAliasOnly != 0,
	}
	if v != mqtt.V5 {
		return h
	}
	switch {
	case o.SubIDs != nil:
		h.SubscriptionIDs = o.SubIDs
	case o.SubID != 0:
		one[0] = o.SubID
		h.SubscriptionIDs = one[:]
	}
	if o.Frame.ExpiresAt != 0 {
		h.HasExpiry, h.Expiry = true, remaining(o.Frame, now)
	}
	return h
}

// remaining is the received Message Expiry Interval less the time the message
// waited here, in seconds [MQTT-3.3.2-6]. A message that is still sent in its
// last second says 1, because 0 would read as expired.
func remaining(f *mqtt.Frame, now time.Time) uint32 {
	left := (f.ExpiresAt - now.UnixMilli() + 999) / 1000
	return uint32(min(max(left, 1), math.MaxUint32)) // a clock set back must not wrap it (A091)
}

// expired tells whether f's Message Expiry Interval has passed [MQTT-3.3.2-5].
func expired(f *mqtt.Frame, now time.Time) bool {
	return f.ExpiresAt != 0 && f.ExpiresAt <= now.UnixMilli()
}

// Payload is how long that of a publish is; 0: it is none.
func (o *Out) Payload() int {
	if o.Kind != OutPublish {
		return 0
	}
	return len(o.Frame.Payload())
}

// Lend is Append of a publish that copies nothing of the payload: what would be there of it is
// answered, and is the frame's. If most bytes are enough for what is left, that is all of it.
func (o *Out) Lend(dst []byte, v mqtt.Version, now time.Time, off, room, most int) (_, payload []byte, n int, end bool) {
	var one [1]uint32
	h := o.head(&one, v, now)
	size := o.Frame.WireSize(&h)
	if size-off <= most {
		room = size - off
	}
	all := o.Frame.Payload()
	head := size - len(all)
	if off < head {
		before := len(dst)
		dst = o.Frame.AppendWire(dst, &h, off, min(room, head-off))
		n = len(dst) - before
	}
	if from := off + n - head; from >= 0 {
		payload = all[from:min(len(all), from+room-n)]
		n += len(payload)
	}
	return dst, payload, n, off+n >= size
}

// Append encodes at most room bytes of o from wire offset off and tells whether
// that was the end. Every call for one Out must be given the same version and,
// once begun, the same now. It allocates nothing beyond dst.
func (o *Out) Append(dst []byte, v mqtt.Version, now time.Time, off, room int) (_ []byte, n int, end bool) {
	before := len(dst)
	switch o.Kind {
	case OutPublish:
		var one [1]uint32
		h := o.head(&one, v, now)
		size := o.Frame.WireSize(&h)
		dst = o.Frame.AppendWire(dst, &h, off, room)
		n = len(dst) - before
		return dst, n, off+n >= size
	case OutAck:
		a := mqtt.Ack{Type: o.Ack, PacketID: o.ID, Reason: o.Reason} // never more words than that [MQTT-3.1.2-29]
		dst = a.Append(dst, v, 0)
		return dst, len(dst) - before, true
	case OutPacket:
		rest := o.Bytes[off:]
		rest = rest[:min(len(rest), room)]
		dst = append(dst, rest...)
		return dst, len(rest), off+len(rest) >= len(o.Bytes)
	}
	panic("BUG: an Out of no kind was queued")
}
