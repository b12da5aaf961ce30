package mqtt

import "encoding/binary"

// encoder appends one packet to a buffer. The fixed header and the property
// length depend on what follows; room for the longest is left and closed again
// by moving the bytes down, which for packets of this size is cheaper than
// counting first.
type encoder struct {
	b     []byte
	start int // where the packet begins
	props int // where the open property section begins
}

const sectionMax = 4 // longest property length

func newEncoder(dst []byte) encoder {
	e := encoder{b: dst, start: len(dst)}
	e.b = append(e.b, make([]byte, headerMax)...)
	return e
}

// finish writes the fixed header and answers the buffer with the packet in it.
func (e *encoder) finish(t Type, flags byte) []byte {
	body := e.b[e.start+headerMax:]
	head := append(e.b[e.start:e.start], byte(t)<<4|flags)
	head = appendVarint(head, len(body))
	return append(e.b[:e.start+len(head)], body...)
}

func (e *encoder) openProps() {
	e.props = len(e.b)
	e.b = append(e.b, make([]byte, sectionMax)...)
}

// propsLen is how many bytes the open section holds.
func (e *encoder) propsLen() int { return len(e.b) - e.props - sectionMax }

// closeProps writes the property length; no properties are a length of 0
// [MQTT-2.2.2-1].
func (e *encoder) closeProps() {
	section := e.b[e.props+sectionMax:]
	head := appendVarint(e.b[e.props:e.props], len(section))
	e.b = append(e.b[:e.props+len(head)], section...)
}

// dropProps takes an empty section back, where the packet may end without one.
func (e *encoder) dropProps() { e.b = e.b[:e.props] }

func (e *encoder) byte(x byte)     { e.b = append(e.b, x) }
func (e *encoder) uint16(x uint16) { e.b = binary.BigEndian.AppendUint16(e.b, x) }
func (e *encoder) text(s string)   { e.b = appendField(e.b, s) }
func (e *encoder) binary(s []byte) { e.b = appendField(e.b, s) }

func (e *encoder) propByte(id, x byte) { e.b = append(e.b, id, x) }

func (e *encoder) propBool(id byte, x bool) {
	e.b = append(e.b, id, 0)
	if x {
		e.b[len(e.b)-1] = 1
	}
}

func (e *encoder) propUint16(id byte, x uint16) {
	e.b = binary.BigEndian.AppendUint16(append(e.b, id), x)
}

func (e *encoder) propUint32(id byte, x uint32) {
	e.b = binary.BigEndian.AppendUint32(append(e.b, id), x)
}

func (e *encoder) propText(id byte, s string) { e.b = appendField(append(e.b, id), s) }

func (e *encoder) propBinary(id byte, s []byte) { e.b = appendField(append(e.b, id), s) }

// extras adds the Reason String and the User Properties to the open section,
// each only if the packet then stays within max bytes [MQTT-3.2.2-19]
// [MQTT-3.2.2-20]; the same holds for every other packet that has them. after is
// how many bytes follow the section; max 0 means no limit. What is too long for
// its length field is left out as well (A026).
func (e *encoder) extras(reason string, users []UserProperty, max uint32, after int) {
	if n := len(reason); n > 0 && n <= StringMax && e.fits(3+n, max, after) {
		e.propText(propReasonString, reason)
	}
	n := 0
	for i := range users {
		if len(users[i].Name) > StringMax || len(users[i].Value) > StringMax {
			return
		}
		n += 5 + len(users[i].Name) + len(users[i].Value)
	}
	if n == 0 || !e.fits(n, max, after) {
		return
	}
	e.b = appendUserProperties(e.b, users)
}

// fits tells whether the packet stays within max when the open section grows by
// more bytes and after bytes follow it.
func (e *encoder) fits(more int, max uint32, after int) bool {
	props := e.propsLen() + more
	remaining := e.props - e.start - headerMax + varintSize(props) + props + after
	if remaining > RemainingMax {
		return false
	}
	return max == 0 || uint64(1+varintSize(remaining)+remaining) <= uint64(max)
}

func appendUserProperties(dst []byte, users []UserProperty) []byte {
	for i := range users {
		dst = appendField(append(dst, propUserProperty), users[i].Name)
		dst = appendField(dst, users[i].Value)
	}
	return dst
}

// appendField appends a length and s. A wrapped length would let the rest of s be
// read as packets (A026): what is too long never gets here from a peer, so it is
// our own mistake.
func appendField[T ~string | ~[]byte](dst []byte, s T) []byte {
	if len(s) > StringMax {
		panic("BUG: mqtt: field is longer than 65535 bytes")
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
