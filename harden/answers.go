package harden

import (
	"encoding/binary"
	"fmt"
)

// packetIDOf is the identifier an acknowledgement is about; ok is false for
// other packets.
func (p *packet) packetIDOf() (id uint16, ok bool) {
	switch p.typ {
	case typePuback, typePubrec, typePubrel, typePubcomp, typeSuback:
		if len(p.body) >= 2 {
			return binary.BigEndian.Uint16(p.body), true
		}
	}
	return 0, false
}

// code is the reason a packet gives; what is left out is success.
func (p *packet) code(level byte) byte {
	at := 0
	switch p.typ {
	case typeConnack:
		at = 1
	case typePuback, typePubrec, typePubrel, typePubcomp:
		at = 2
	}
	if len(p.body) <= at {
		return 0
	}
	return p.body[at]
}

// subackCodes is one code for each filter.
func (p *packet) subackCodes(level byte) []byte {
	b := p.body
	if len(b) < 2 {
		return nil
	}
	b = b[2:]
	if level == level5 {
		n, used := sizeOf(b)
		if used == 0 || len(b) < used+n {
			return nil
		}
		b = b[used+n:]
	}
	return b
}

// topicOf is the topic of a PUBLISH, and its identifier at QoS 1 and 2.
func (p *packet) topicOf() (topic string, id uint16) {
	if len(p.body) < 2 {
		return "", 0
	}
	n := int(binary.BigEndian.Uint16(p.body))
	if len(p.body) < 2+n {
		return "", 0
	}
	topic = string(p.body[2 : 2+n])
	if p.flags&0x06 != 0 && len(p.body) >= 4+n {
		id = binary.BigEndian.Uint16(p.body[2+n:])
	}
	return topic, id
}

// offers is what a CONNACK of MQTT 5.0 says a client may do. What it leaves out is
// the protocol's default.
type offers struct {
	receiveMaximum int64
	aliases        int64
	maxQoS         byte
	retain         bool
	wildcards      bool
	shared         bool
}

// offers reads them. What is not a CONNACK of MQTT 5.0 says nothing, and offers
// the most.
func (p *packet) offers() offers {
	o := offers{receiveMaximum: 65535, maxQoS: 2, retain: true, wildcards: true, shared: true}
	if p.typ != typeConnack || len(p.body) < 3 {
		return o
	}
	n, used := sizeOf(p.body[2:])
	if used == 0 || len(p.body) < 2+used+n {
		return o
	}
	props := p.body[2+used : 2+used+n]
	for len(props) > 0 {
		size := connackPropertySize(props[0], props[1:])
		if size < 0 || len(props) < 1+size {
			return o
		}
		switch value := props[1:]; props[0] {
		case 0x21:
			o.receiveMaximum = int64(binary.BigEndian.Uint16(value))
		case 0x22:
			o.aliases = int64(binary.BigEndian.Uint16(value))
		case 0x24:
			o.maxQoS = value[0]
		case 0x25:
			o.retain = value[0] == 1
		case 0x28:
			o.wildcards = value[0] == 1
		case 0x2a:
			o.shared = value[0] == 1
		}
		props = props[1+size:]
	}
	return o
}

// connackPropertySize is how many bytes the value of a property takes; -1: it
// has no place in a CONNACK.
func connackPropertySize(id byte, b []byte) int {
	text := func(at int) int {
		if len(b) < at+2 {
			return -1
		}
		return at + 2 + int(binary.BigEndian.Uint16(b[at:]))
	}
	switch id {
	case 0x24, 0x25, 0x28, 0x29, 0x2a: // Maximum QoS and what is available
		return 1
	case 0x13, 0x21, 0x22: // Server Keep Alive, Receive Maximum, Topic Alias Maximum
		return 2
	case 0x11, 0x27: // Session Expiry Interval, Maximum Packet Size
		return 4
	case 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f: // identifier, method, data, response, reference, reason
		return text(0)
	case 0x26: // User Property: two strings
		if n := text(0); n >= 0 {
			return text(n)
		}
	}
	return -1
}

// describe is a packet in a word and its code.
func (p *packet) describe(level byte) string {
	name := typeNames[p.typ]
	if name == "" {
		name = fmt.Sprintf("packet type %d", p.typ)
	}
	switch p.typ {
	case typePublish, typePingresp:
		return name
	case typeSuback:
		if codes := p.subackCodes(level); len(codes) == 1 {
			return fmt.Sprintf("%s 0x%02X", name, codes[0])
		}
		return name
	}
	return fmt.Sprintf("%s 0x%02X", name, p.code(level))
}
