package conn

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// The other parts of a header's first two bytes.
const (
	final    = 0x80
	masked   = 0x80
	length16 = 126 // the length follows in 16 bits
	length64 = 127
)

// Status codes of a close frame, RFC 6455 §7.4.1.
const (
	statusNormal   = 1000
	statusProtocol = 1002
	statusData     = 1003 // a kind of data we do not take
	statusTooBig   = 1009
)

// controlMax is the longest payload of a control frame, RFC 6455 §5.5.
const controlMax = 125

// frames is the WebSocket framing of one connection, as a value: bytes go in and
// the bytes of MQTT come out, however they were cut [MQTT-6.0.0-2]. Nothing of a frame is kept
// but its header, so a frame that is never finished costs as much as none. It
// belongs to its connection's loop.
//
// Rules: RFC 6455 §5; MQTT 5.0 §6.0.
type frames struct {
	head  [14]byte // of the frame that is coming in: two bytes, its length, its mask
	have  uint8    // how many of them have come
	body  bool     // the head is whole, its payload is coming
	begun bool     // of a fragmented message; only continuation frames may follow
	spun  uint8    // payload bytes unmasked so far, modulo 4
	left  int64    // payload bytes that have not come

	control []byte // payload of the control frame that is coming in
	ping    []byte // payload of the last ping that was not answered
	pong    bool   // there is one

	first  []byte      // what came right behind the upgrade, until it is looked at
	end    *mqtt.Error // why no more frames are taken; its Reason is Success where the client closed
	status uint16      // what our close frame says; 0: we close, and nothing was wrong
	closed bool        // it has been encoded, and nothing may follow it
}

// take unmasks what came in place and answers the bytes of MQTT in it, at most
// until the frames end: f.end then says why. A frame over max bytes ends them at
// its header. The answer lies in b, which must be the caller's to change.
func (f *frames) take(b []byte, max int64) []byte {
	data := b[:0] // stays behind b: what is taken off for it is never shorter
	for len(b) > 0 && f.end == nil {
		if !f.body {
			n := copy(f.head[f.have:f.headBytes()], b)
			f.have += uint8(n)
			b = b[n:]
			f.header(max)
			continue
		}
		n := int(min(int64(len(b)), f.left))
		f.unmask(b[:n])
		if f.opcode() < opClose {
			data = append(data, b[:n]...)
		} else {
			f.control = append(f.control, b[:n]...)
		}
		b = b[n:]
		if f.left -= int64(n); f.left == 0 {
			f.finish()
		}
	}
	return data
}

func (f *frames) opcode() byte { return f.head[0] & 0x0F }

// headBytes is how long the header is, as far as is known.
func (f *frames) headBytes() uint8 {
	switch {
	case f.have < 2:
		return 2
	case f.head[1]&0x7F == length16:
		return 8
	case f.head[1]&0x7F == length64:
		return 14
	}
	return 6
}

// header judges the frame as soon as its first two bytes are there, and its
// length as soon as that is.
func (f *frames) header(max int64) {
	switch f.have {
	case 2:
		f.judge()
	case f.headBytes():
		if f.measure(max); f.end == nil {
			if f.body = true; f.left == 0 {
				f.finish()
			}
		}
	}
}

// judge is the verdict from the first two bytes (A147).
func (f *frames) judge() {
	whole, op := f.head[0]&final != 0, f.opcode()
	switch {
	case f.head[0]&0x70 != 0:
		f.fail(statusProtocol, "§5.2", "reserved bits in a frame: no extension was agreed")
	case op == opText:
		f.fail(statusData, "MQTT-6.0.0-1", "a text frame; MQTT is carried in binary frames")
	case op != opContinuation && op != opBinary && op != opClose && op != opPing && op != opPong:
		f.fail(statusProtocol, "§5.2", "a frame with a reserved opcode")
	case f.head[1]&masked == 0:
		f.fail(statusProtocol, "§5.1", "a frame without a mask")
	case op >= opClose && (!whole || f.head[1]&0x7F > controlMax):
		f.fail(statusProtocol, "§5.5", "a control frame in fragments, or longer than 125 bytes")
	case op == opContinuation && !f.begun:
		f.fail(statusProtocol, "§5.4", "a continuation frame without a beginning")
	case op == opBinary && f.begun:
		f.fail(statusProtocol, "§5.4", "a new message in the middle of a fragmented one")
	}
	if op < opClose {
		f.begun = !whole
	}
}

// measure is the verdict on the length, whose shortest form is required. A length
// with the highest bit set would be negative (A143).
func (f *frames) measure(max int64) {
	size := uint64(f.head[1] & 0x7F)
	least := uint64(0)
	switch size {
	case length16:
		size, least = uint64(binary.BigEndian.Uint16(f.head[2:])), length16
	case length64:
		size, least = binary.BigEndian.Uint64(f.head[2:]), 1<<16
	}
	switch {
	case size < least:
		f.fail(statusProtocol, "§5.2", "a frame length that is longer than it needs to be")
	case size>>63 != 0:
		f.fail(statusProtocol, "§5.2", "a frame length with its highest bit set")
	case size > uint64(max):
		f.fail(statusTooBig, "§10.4", "a frame over sixteen times limits.packet_bytes")
	}
	f.left = int64(size)
}

// fail ends the frames.
func (f *frames) fail(status uint16, rule, detail string) {
	if rule[0] != 'M' {
		rule = "RFC 6455 " + rule
	}
	e := &mqtt.Error{Reason: mqtt.ProtocolError, Rule: rule, Detail: detail}
	if status == statusTooBig {
		e.Reason = mqtt.PacketTooLarge
	}
	f.end, f.status = e, status
}

// finish ends a frame whose last byte has come.
func (f *frames) finish() {
	switch f.opcode() {
	case opPing: // only the latest is answered, RFC 6455 §5.5.3: nothing piles up
		f.ping, f.pong = f.control, true
	case opClose:
		f.end, f.status = &mqtt.Error{Detail: "the client closed the WebSocket"}, closeStatus(f.control)
	}
	f.control = nil // an idle connection has none
	f.have, f.spun, f.body = 0, 0, false
}

// closeStatus is what answers a close frame: its own status, or that this is
// none.
func closeStatus(payload []byte) uint16 {
	if len(payload) == 0 {
		return statusNormal
	}
	if len(payload) == 1 {
		return statusProtocol
	}
	s := binary.BigEndian.Uint16(payload)
	switch {
	case s >= 1000 && s <= 1003, s >= 1007 && s <= 1014, s >= 3000 && s <= 4999:
		return s
	}
	return statusProtocol
}

// unmask takes the client's mask off, eight bytes at a time.
func (f *frames) unmask(b []byte) {
	mask := f.head[f.have-4 : f.have]
	var key [8]byte
	for i := range key {
		key[i] = mask[(i+int(f.spun))&3]
	}
	f.spun = uint8((int(f.spun) + len(b)) & 3)
	wide := binary.LittleEndian.Uint64(key[:])
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= key[i]
	}
}
