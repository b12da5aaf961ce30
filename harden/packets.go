package harden

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// As much of MQTT 3.1, 3.1.1 and 5.0 as a probe speaks, written apart from package
// mqtt so that a mistake there is not made here too.

// The packet types.
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typePubrec     = 5
	typePubrel     = 6
	typePubcomp    = 7
	typeSubscribe  = 8
	typeSuback     = 9
	typePingreq    = 12
	typePingresp   = 13
	typeDisconnect = 14
)

var typeNames = map[byte]string{
	typeConnack: "CONNACK", typePublish: "PUBLISH", typePuback: "PUBACK", typePubrec: "PUBREC", typePubrel: "PUBREL",
	typePubcomp: "PUBCOMP", typeSuback: "SUBACK", typePingresp: "PINGRESP", typeDisconnect: "DISCONNECT",
}

// The protocol levels.
const (
	level3 = 3 // MQTT 3.1
	level4 = 4 // MQTT 3.1.1
	level5 = 5 // MQTT 5.0
)

func levelName(level byte) string {
	switch level {
	case level5:
		return "MQTT 5.0"
	case level3:
		return "MQTT 3.1"
	}
	return "MQTT 3.1.1"
}

// packet is one packet as it came.
type packet struct {
	typ, flags byte
	body       []byte
}

// packetReadMax bounds a packet that is read: nothing a probe asks for is larger.
const packetReadMax = 1 << 20

func readPacket(r *bufio.Reader) (packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return packet{}, errors.New("an answer that is not MQTT")
		}
	}
	if first>>4 == 0 || n > packetReadMax {
		return packet{}, errors.New("an answer that is not MQTT")
	}
	p := packet{typ: first >> 4, flags: first & 0x0f, body: make([]byte, n)}
	if _, err := io.ReadFull(r, p.body); err != nil {
		return packet{}, err
	}
	return p, nil
}

// appendSize appends a Variable Byte Integer.
func appendSize(dst []byte, n int) []byte {
	for n > 0x7f {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// sizeOf reads a Variable Byte Integer; used 0: there is none.
func sizeOf(b []byte) (n, used int) {
	for i := 0; i < len(b) && i < 4; i++ {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return n, i + 1
		}
	}
	return 0, 0
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// whole puts the fixed header before a body.
func whole(first byte, body []byte) []byte {
	return append(appendSize([]byte{first}, len(body)), body...)
}

// connectPacket is what a CONNECT says. The session is clean.
type connectPacket struct {
	level    byte
	clientID string
	user     *string // nil: no user name
	password []byte  // with hasPassword
	hasPass  bool
	method   string // authentication method, MQTT 5.0
	will     *publishPacket
}

func (c *connectPacket) encode() []byte {
	protocol := "MQTT"
	if c.level == level3 {
		protocol = "MQIsdp"
	}
	body := append(appendString(nil, protocol), c.level)
	flags := byte(0x02) // clean start
	if c.user != nil {
		flags |= 0x80
	}
	if c.hasPass {
		flags |= 0x40
	}
	if w := c.will; w != nil {
		flags |= 0x04 | w.qos<<3
		if w.retain {
			flags |= 0x20
		}
	}
	body = append(body, flags, 0, 60) // keep alive: 60 s
	if c.level == level5 {
		var props []byte
		if c.method != "" {
			props = appendString(append(props, 0x15), c.method)
		}
		body = append(appendSize(body, len(props)), props...)
	}
	body = appendString(body, c.clientID)
	if w := c.will; w != nil {
		if c.level == level5 {
			body = append(body, 0)
		}
		body = appendString(appendString(body, w.topic), string(w.payload))
	}
	if c.user != nil {
		body = appendString(body, *c.user)
	}
	if c.hasPass {
		body = appendString(body, string(c.password))
	}
	return whole(typeConnect<<4, body)
}

// padded is the packet with a will payload that makes it total bytes long.
func (c *connectPacket) padded(total int) []byte {
	for size := total; size > 0; size-- {
		c.will.payload = make([]byte, size)
		if b := c.encode(); len(b) <= total {
			return b
		}
	}
	return c.encode()
}

// publishPacket is what a PUBLISH says.
type publishPacket struct {
	topic   string
	qos     byte
	retain  bool
	id      uint16
	alias   uint16 // 0: none
	payload []byte
}

func (p *publishPacket) encode(level byte) []byte {
	body := appendString(nil, p.topic)
	if p.qos > 0 {
		body = binary.BigEndian.AppendUint16(body, p.id)
	}
	if level == level5 {
		if p.alias != 0 {
			body = binary.BigEndian.AppendUint16(append(body, 3, 0x23), p.alias)
		} else {
			body = append(body, 0)
		}
	}
	first := byte(typePublish<<4) | p.qos<<1
	if p.retain {
		first |= 1
	}
	return whole(first, append(body, p.payload...))
}

func subscribePacket(level byte, id uint16, qos byte, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if level == level5 {
		body = append(body, 0)
	}
	for _, f := range filters {
		body = append(appendString(body, f), qos)
	}
	return whole(typeSubscribe<<4|2, body)
}

// ackPacket is PUBACK, PUBREC, PUBREL or PUBCOMP without a reason.
func ackPacket(typ byte, id uint16) []byte {
	first := typ << 4
	if typ == typePubrel {
		first |= 2
	}
	return []byte{first, 2, byte(id >> 8), byte(id)}
}

// announce is the fixed header alone of a packet with that many bytes in all, so
// that what is judged is the announcement.
func announce(first byte, total int64) []byte {
	for header := int64(2); ; header++ {
		b := appendSize([]byte{first}, int(total-header))
		if int64(len(b)) <= header {
			return b
		}
	}
}
