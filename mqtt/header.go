package mqtt

// Header is a fixed header: what follows, and how many bytes of it.
type Header struct {
	Type      Type
	Flags     byte // the low four bits of the first byte
	Remaining int  // bytes after the header
	Size      int  // bytes the header itself takes, 2 to 5
}

// QoS is the quality of service in the flags of a PUBLISH.
func (h Header) QoS() QoS { return QoS(h.Flags >> 1 & 3) }

// Dup tells whether a PUBLISH is marked as sent before.
func (h Header) Dup() bool { return h.Flags&8 != 0 }

// Retain is the RETAIN flag of a PUBLISH.
func (h Header) Retain() bool { return h.Flags&1 != 0 }

// ReadHeader reads a fixed header from the front of b. If b does not hold all of
// it, ok is false and err nil. The first byte is judged as soon as it is there, so
// that nothing is buffered for a packet that can only be refused (A002, A015).
//
// v is the version that CONNECT agreed on, and 0 before: then only CONNECT may
// come [MQTT-3.1.0-1]. Whether a packet of this type may come from this side, and
// whether Remaining is within the limit, is for the caller to judge (A001, A014).
func ReadHeader(b []byte, v Version) (h Header, ok bool, err error) {
	if len(b) == 0 {
		return Header{}, false, nil
	}
	h.Type, h.Flags = Type(b[0]>>4), b[0]&15
	if e := checkFirstByte(h, v); e != nil {
		return Header{}, false, e
	}
	n, size, e := readVarint(b[1:], v == V5)
	if e != nil {
		return Header{}, false, e
	}
	if size == 0 {
		return Header{}, false, nil
	}
	h.Remaining, h.Size = int(n), 1+size
	if n != 0 && (h.Type == PINGREQ || h.Type == PINGRESP) {
		return Header{}, false, malformed("", h.Type.String()+" has no body")
	}
	return h, true, nil
}

// checkFirstByte refuses reserved types and reserved flags.
func checkFirstByte(h Header, v Version) *Error {
	if h.Type == 0 || (h.Type == AUTH && v != V5 && v != 0) {
		return malformed("", "reserved packet type")
	}
	if v == 0 && h.Type != CONNECT {
		return protocolError("MQTT-3.1.0-1", h.Type.String()+" before CONNECT")
	}
	want := byte(0)
	rule := pick(v, "MQTT-2.1.3-1", "MQTT-2.2.2-2")
	switch h.Type {
	case PUBLISH:
		if h.QoS() == 3 {
			return malformed("MQTT-3.3.1-4", "PUBLISH with QoS 3")
		}
		if h.Dup() && h.QoS() == 0 {
			return malformed("MQTT-3.3.1-2", "PUBLISH with DUP at QoS 0")
		}
		return nil
	case PUBREL:
		want, rule = 2, "MQTT-3.6.1-1"
	case SUBSCRIBE:
		want, rule = 2, "MQTT-3.8.1-1"
	case UNSUBSCRIBE:
		want, rule = 2, "MQTT-3.10.1-1"
	case DISCONNECT:
		rule = "MQTT-3.14.1-1"
	case AUTH:
		rule = "MQTT-3.15.1-1"
	}
	// 3.1 lets the three packets that carry QoS 1 be sent again with DUP set.
	if v == V31 && want == 2 && h.Flags == 2|8 {
		return nil
	}
	if h.Flags != want {
		return malformed(rule, "reserved flags of "+h.Type.String())
	}
	return nil
}

// readVarint reads a variable byte integer. size is 0 if b ends within it. A
// fourth byte that announces a fifth is refused without waiting for it (A009,
// A010); minimal refuses padding as well [MQTT-1.5.5-1].
func readVarint(b []byte, minimal bool) (n uint32, size int, err *Error) {
	for i := 0; i < 4 && i < len(b); i++ {
		n |= uint32(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 != 0 {
			continue
		}
		if minimal && i > 0 && b[i] == 0 {
			return 0, 0, malformed("MQTT-1.5.5-1", "variable byte integer is longer than it needs to be")
		}
		return n, i + 1, nil
	}
	if len(b) >= 4 {
		return 0, 0, malformed("§1.5.5", "variable byte integer of more than four bytes")
	}
	return 0, 0, nil
}

// varintSize is how many bytes appendVarint writes for n.
func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// appendVarint writes n in the fewest bytes [MQTT-1.5.5-1]. A length above
// RemainingMax has no encoding; only our own code can ask for it.
func appendVarint(dst []byte, n int) []byte {
	if n < 0 || n > RemainingMax {
		panic("BUG: mqtt: length has no encoding as a variable byte integer")
	}
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// AppendPingreq appends a PINGREQ packet.
func AppendPingreq(dst []byte) []byte { return append(dst, byte(PINGREQ)<<4, 0) }

// AppendPingresp appends a PINGRESP packet.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(PINGRESP)<<4, 0) }
