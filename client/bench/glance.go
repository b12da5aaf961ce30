package bench

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/mqtt"
)

// glanced is a PUBLISH of which all that counts was seen at once.
type glanced struct {
	size    int // of the packet; 0: package mqtt has to look
	qos     mqtt.QoS
	id      uint16
	payload []byte
}

// glance reads a PUBLISH that is like most: complete, shorter than 16 KiB, with a topic in ASCII and
// no properties. Of such it accepts what package mqtt accepts, and leaves all others to it, and with
// them all that is wrong.
func glance(b []byte, v mqtt.Version) (m glanced) {
	if len(b) < 3 || mqtt.Type(b[0]>>4) != mqtt.PUBLISH {
		return glanced{}
	}
	m.qos = mqtt.QoS(b[0] >> 1 & 3)
	size, at := int(b[1]), 2
	if size >= 0x80 {
		size, at = size&0x7f|int(b[2])<<7, 3
	}
	if m.qos == 3 || m.qos == 0 && b[0]&8 != 0 || at == 3 && (b[2] == 0 || b[2] >= 0x80) || len(b) < at+size || size < 3 {
		return glanced{}
	}
	body := b[at : at+size]
	n := int(binary.BigEndian.Uint16(body))
	if body = body[2:]; n == 0 || n > len(body) || !plainName(body[:n]) {
		return glanced{}
	}
	body = body[n:]
	if m.qos > 0 {
		if len(body) < 2 {
			return glanced{}
		}
		if m.id, body = binary.BigEndian.Uint16(body), body[2:]; m.id == 0 {
			return glanced{}
		}
	}
	if v == mqtt.V5 {
		if len(body) == 0 || body[0] != 0 {
			return glanced{}
		}
		body = body[1:]
	}
	m.size, m.payload = at+size, body
	return m
}

// plainName tells whether a topic name is ASCII, and nothing in it needs a second look.
func plainName(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c >= 0x7f || c == '+' || c == '#' {
			return false
		}
	}
	return true
}
