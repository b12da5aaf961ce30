package mqtt

import "encoding/binary"

// PublishHead is what differs between the deliveries of one Frame.
type PublishHead struct {
	Version         Version
	QoS             QoS
	Dup, Retain     bool
	PacketID        uint16   // not 0 if QoS > 0, and not written at QoS 0
	SubscriptionIDs []uint32 // 5.0, each 1 to SubscriptionIDMax
	Expiry          uint32   // 5.0, seconds left
	HasExpiry       bool
	TopicAlias      uint16 // 5.0; 0: none
	AliasOnly       bool   // with a TopicAlias: the receiver knows the topic, send it empty
	TopicSkip       uint16 // bytes left out at the front of the topic: a mountpoint the receiver does not see
}

// aliasOnly tells whether the topic is sent empty, which only an alias allows.
func (h *PublishHead) aliasOnly() bool {
	return h.AliasOnly && h.TopicAlias != 0 && h.Version == V5
}

// ownProps is the size of the properties the head itself adds, in bytes.
func (h *PublishHead) ownProps() int {
	n := 0
	if h.HasExpiry {
		n += 5
	}
	if h.TopicAlias != 0 {
		n += 3
	}
	for _, id := range h.SubscriptionIDs {
		n += 1 + varintSize(int(id))
	}
	return n
}

// hidden is how many bytes of the topic the receiver is not sent.
func (f *Frame) hidden(h *PublishHead) int {
	if h.aliasOnly() {
		return int(f.topicLen)
	}
	return min(int(h.TopicSkip), int(f.topicLen))
}

// remaining is the remaining length of the packet, and the property length if it
// is one of 5.0.
func (f *Frame) remaining(h *PublishHead) (remaining, props int) {
	remaining = len(f.message()) - f.hidden(h)
	if h.QoS > 0 {
		remaining += 2
	}
	if h.Version != V5 {
		return remaining - int(f.propsLen), 0
	}
	own := h.ownProps()
	props = own + int(f.propsLen)
	return remaining + own + varintSize(props), props
}

// WireSize is the size of the whole PUBLISH in bytes. The caller compares it with
// the client's Maximum Packet Size [MQTT-3.1.2-24], and without one with
// PacketMax: a message that came in at the very limit of one version may not fit
// into a packet of another, and AppendWire panics rather than wrap its length.
func (f *Frame) WireSize(h *PublishHead) int {
	remaining, _ := f.remaining(h)
	return 1 + varintSize(remaining) + remaining
}

// PacketMax is the size of the largest packet the wire format allows, in bytes.
const PacketMax = headerMax + RemainingMax

// AppendWire appends the bytes [off, off+max) of the PUBLISH to dst, fewer at its
// end. Called with rising offsets it writes a message of any size through a small
// buffer. It allocates nothing if dst has room.
func (f *Frame) AppendWire(dst []byte, h *PublishHead, off, max int) []byte {
	w := window{dst: dst, skip: off, room: max}
	remaining, props := f.remaining(h)
	topicEnd, message := 2+int(f.topicLen), f.message()

	var small [headerMax]byte
	head := append(small[:0], byte(PUBLISH)<<4|publishFlags(h.QoS, h.Dup, h.Retain))
	w.put(appendVarint(head, remaining))
	if hidden := f.hidden(h); hidden == 0 {
		w.put(message[:topicEnd])
	} else {
		w.put(binary.BigEndian.AppendUint16(small[:0], f.topicLen-uint16(hidden)))
		w.put(message[2+hidden : topicEnd])
	}
	if h.QoS > 0 {
		w.put(binary.BigEndian.AppendUint16(small[:0], h.PacketID))
	}
	if h.Version == V5 {
		w.put(appendVarint(small[:0], props))
		w.putProps(h)
		w.put(message[topicEnd:]) // shared properties and payload are one run
	} else {
		w.put(f.Payload())
	}
	return w.dst
}

// window lets through the bytes from skip on, room of them.
type window struct {
	dst        []byte
	skip, room int
}

func (w *window) put(b []byte) {
	if w.skip >= len(b) {
		w.skip -= len(b)
		return
	}
	b = b[w.skip:]
	w.skip = 0
	if len(b) > w.room {
		b = b[:w.room]
	}
	w.dst = append(w.dst, b...)
	w.room -= len(b)
}

// putProps writes the head's own properties, in front of the shared ones.
func (w *window) putProps(h *PublishHead) {
	var small [headerMax]byte
	if h.HasExpiry {
		w.put(binary.BigEndian.AppendUint32(append(small[:0], propMessageExpiry), h.Expiry)) // [MQTT-3.3.2-6]
	}
	if h.TopicAlias != 0 {
		w.put(binary.BigEndian.AppendUint16(append(small[:0], propTopicAlias), h.TopicAlias))
	}
	for _, id := range h.SubscriptionIDs { // [MQTT-3.3.4-3]
		w.put(appendVarint(append(small[:0], propSubscriptionID), int(id)))
	}
}
