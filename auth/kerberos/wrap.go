package kerberos

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"slices"
)

// The last two messages of the exchange are wrapped: signed with the subkey, and not
// encrypted [RFC 4121 §4.2.6.2].

const (
	wrapHeader = 16

	sentByAcceptor = 1
	wrapSealed     = 2
	acceptorSubkey = 4
)

func header(flags byte, extra, rotation uint16, seq uint64) []byte {
	h := []byte{5, 4, flags, 0xff}
	h = binary.BigEndian.AppendUint16(h, extra)
	h = binary.BigEndian.AppendUint16(h, rotation)
	return binary.BigEndian.AppendUint64(h, seq)
}

// wrap signs what we say.
func (k key) wrap(seq uint64, text []byte) []byte {
	const flags = sentByAcceptor | acceptorSubkey
	sum := k.checksum(usageAcceptorSeal, text, header(flags, 0, 0, seq))
	return slices.Concat(header(flags, uint16(len(sum)), 0, seq), text, sum) //nolint:gosec // at most 24
}

// unwrap takes what the client has signed with our subkey, as its token number seq.
func (k key) unwrap(seq uint64, token []byte) (text []byte, ok bool) {
	size := profiles[k.etype].macBytes
	if len(token) < wrapHeader+size {
		return nil, false
	}
	head, body := token[:wrapHeader], token[wrapHeader:]
	rotation := int(binary.BigEndian.Uint16(head[6:]))
	if !bytes.Equal(head, header(acceptorSubkey, uint16(size), uint16(rotation), seq)) { //nolint:gosec // was 16 bits
		return nil, false
	}
	rotation %= len(body)
	body = slices.Concat(body[rotation:], body[:rotation])
	text, sum := body[:len(body)-size], body[len(body)-size:]
	return text, hmac.Equal(sum, k.checksum(usageInitiatorSeal, text, header(acceptorSubkey, 0, 0, seq)))
}
