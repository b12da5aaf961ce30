package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// cursor reads fields off the front of a packet body. Every length is checked
// against what is left (A007, A022). The first failure sticks: later reads answer
// zero values, so that a decoder reads its fields in one go and asks once.
type cursor struct {
	b   []byte
	v   Version
	err *Error
}

func (c *cursor) fail(e *Error) {
	if c.err == nil {
		c.err = e
	}
	c.b = nil
}

func (c *cursor) short(field string) {
	c.fail(malformed("", "packet ends within "+field))
}

func (c *cursor) byte(field string) byte {
	if len(c.b) < 1 {
		c.short(field)
		return 0
	}
	x := c.b[0]
	c.b = c.b[1:]
	return x
}

func (c *cursor) uint16(field string) uint16 {
	if len(c.b) < 2 {
		c.short(field)
		return 0
	}
	x := binary.BigEndian.Uint16(c.b)
	c.b = c.b[2:]
	return x
}

// binary reads a length and that many bytes, which alias the packet.
func (c *cursor) binary(field string) []byte {
	if len(c.b) < 2 {
		c.short(field)
		return nil
	}
	n := int(binary.BigEndian.Uint16(c.b))
	if n > len(c.b)-2 {
		c.short(field)
		return nil
	}
	x := c.b[2 : 2+n : 2+n]
	c.b = c.b[2+n:]
	return x
}

// text reads a string, which aliases the packet.
func (c *cursor) text(field string) []byte {
	s := c.binary(field)
	if e := checkText(s, c.v, field); e != nil {
		c.fail(e)
		return nil
	}
	return s
}

// packetID reads an identifier, which is never 0.
func (c *cursor) packetID() uint16 {
	id := c.uint16("packet identifier")
	if id == 0 && c.err == nil {
		c.fail(protocolError(pick(c.v, "MQTT-2.2.1-3", "MQTT-2.3.1-1"), "packet identifier 0"))
	}
	return id
}

// section reads a property length and answers that many bytes.
func (c *cursor) section() []byte {
	if c.err != nil {
		return nil
	}
	n, size, e := readVarint(c.b, true)
	if e != nil {
		c.fail(e)
		return nil
	}
	if size == 0 || int(n) > len(c.b)-size {
		c.short("properties")
		return nil
	}
	s := c.b[size : size+int(n) : size+int(n)]
	c.b = c.b[size+int(n):]
	return s
}

// end refuses what is left over: bytes no rule accounts for are a second reading
// of the packet waiting to happen.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) != 0 {
		c.fail(malformed("", "bytes after the end of the packet"))
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

// checkText enforces the rules for UTF-8 strings: well formed, thus no surrogates
// and no overlong forms, and no U+0000. Nothing is stripped, a byte order mark
// included [MQTT-1.5.4-3].
func checkText(s []byte, v Version, field string) *Error {
	if len(s) <= 64 && plainASCII(s) { // most strings; for long ones the library is faster
		return nil
	}
	if !utf8.Valid(s) {
		return malformed(pick(v, "MQTT-1.5.4-1", "MQTT-1.5.3-1"), field+" is not well-formed UTF-8")
	}
	if bytes.IndexByte(s, 0) >= 0 {
		return malformed(pick(v, "MQTT-1.5.4-2", "MQTT-1.5.3-2"), field+" holds U+0000")
	}
	return nil
}

// plainASCII tells whether s is ASCII without U+0000.
func plainASCII(s []byte) bool {
	for _, b := range s {
		if b == 0 || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hasWildcard tells whether a topic name holds a character that only filters may.
func hasWildcard(s []byte) bool {
	return bytes.IndexByte(s, '#') >= 0 || bytes.IndexByte(s, '+') >= 0
}

// own copies b. The copy is not nil, so that an empty field stays a present one.
func own(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
