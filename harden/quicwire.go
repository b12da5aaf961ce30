package harden

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// As much of QUIC as it takes to put a hand-written ClientHello before a server and read its
// answer: Initial packets, which everybody on the way can read, because their keys follow
// from what is in them. A library would not offer what has to be refused.
//
// Rules: RFC 9000 §12, §17.2 and §19; RFC 9001 §5.2 to §5.4. Version 1.

const (
	quicVersion1 = 1
	quicPadded   = 1200 // bytes that a datagram with an Initial packet of a client has at least (RFC 9000 §14.1)
	quicTagBytes = 16
	quicIDMax    = 20
	// quicHelloMax bounds what is taken of a server's answer.
	quicHelloMax = 1 << 16
)

var errQUICBroken = errors.New("an answer that is not QUIC")

// quicKeys protect the Initial packets of one side.
type quicKeys struct {
	aead cipher.AEAD
	iv   []byte
	hp   cipher.Block
}

// initialKeys are those of both sides for the identifier that the client has sent to.
func initialKeys(to []byte) (client, server *quicKeys, err error) {
	salt, _ := hex.DecodeString("38762cf7f55934b34d179ae6a4c80cadccbb7f0a") // RFC 9001 §5.2
	initial, err := hkdf.Extract(sha256.New, to, salt)
	if err != nil {
		return nil, nil, err
	}
	if client, err = keysOf(initial, "client in"); err != nil {
		return nil, nil, err
	}
	server, err = keysOf(initial, "server in")
	return client, server, err
}

func keysOf(initial []byte, side string) (*quicKeys, error) {
	secret, err := expandLabel(initial, side, 32)
	if err != nil {
		return nil, err
	}
	k := &quicKeys{}
	key, err1 := expandLabel(secret, "quic key", 16)
	hp, err2 := expandLabel(secret, "quic hp", 16)
	iv, err3 := expandLabel(secret, "quic iv", 12)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	k.iv = iv
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	k.hp, err = aes.NewCipher(hp)
	return k, err
}

// expandLabel is HKDF-Expand-Label of TLS 1.3 without a context (RFC 8446 §7.1).
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	return hkdf.Expand(sha256.New, secret, string(info), n)
}

// nonce is that of a packet.
func (k *quicKeys) nonce(number uint64) []byte {
	n := make([]byte, len(k.iv))
	binary.BigEndian.PutUint64(n[len(n)-8:], number)
	for i := range n {
		n[i] ^= k.iv[i]
	}
	return n
}

// mask hides, or shows, the first byte and the number of a packet.
func (k *quicKeys) mask(b []byte, at, n int) {
	var m [aes.BlockSize]byte
	k.hp.Encrypt(m[:], b[at+4:at+4+aes.BlockSize])
	for i := range n {
		b[at+i] ^= m[1+i]
	}
}

func (k *quicKeys) first(b []byte, at int) byte {
	var m [aes.BlockSize]byte
	k.hp.Encrypt(m[:], b[at+4:at+4+aes.BlockSize])
	return b[0] ^ m[0]&0x0f
}

// quicInitial is one Initial packet, or a Retry.
type quicInitial struct {
	to, from []byte // connection identifiers
	token    []byte
	number   uint32
	frames   []byte
}

// seal makes the datagram of a client, padded to what it has to have at least.
func (p *quicInitial) seal(k *quicKeys) []byte {
	const numberBytes = 4
	b := binary.BigEndian.AppendUint32([]byte{0xc0 | numberBytes - 1}, quicVersion1)
	b = append(append(b, byte(len(p.to))), p.to...)
	b = append(append(b, byte(len(p.from))), p.from...)
	b = append(appendVarint(b, uint64(len(p.token))), p.token...)
	frames := p.frames
	if missing := quicPadded - (len(b) + 2 + numberBytes + len(frames) + quicTagBytes); missing > 0 {
		frames = append(frames[:len(frames):len(frames)], make([]byte, missing)...) // PADDING is 0
	}
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(numberBytes+len(frames)+quicTagBytes))
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, p.number)
	b = k.aead.Seal(b, k.nonce(uint64(p.number)), frames, b)
	first := k.first(b, at)
	k.mask(b, at, numberBytes)
	b[0] = first
	return b
}

// quicHeader reads the long header of a packet that came, up to its payload. size is the
// whole packet's; 0: the rest of the datagram.
func quicHeader(b []byte) (kind byte, p quicInitial, at, size int, err error) {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return 0, p, 0, 0, errQUICBroken
	}
	version, rest := binary.BigEndian.Uint32(b[1:]), b[5:]
	for _, id := range []*[]byte{&p.to, &p.from} {
		if len(rest) < 1 || int(rest[0]) > quicIDMax || len(rest) < 1+int(rest[0]) {
			return 0, p, 0, 0, errQUICBroken
		}
		*id, rest = rest[1:1+rest[0]], rest[1+rest[0]:]
	}
	kind = b[0] >> 4 & 3
	switch {
	case version == 0:
		return 0, p, 0, 0, errors.New("the server does not speak version 1 of QUIC")
	case version != quicVersion1:
		return 0, p, 0, 0, fmt.Errorf("an answer in version 0x%08x of QUIC", version)
	case kind == quicRetry:
		if len(rest) <= quicTagBytes {
			return 0, p, 0, 0, errQUICBroken
		}
		p.token = rest[:len(rest)-quicTagBytes]
		return kind, p, 0, 0, nil
	case kind == quicInitialKind:
		n, used := varint(rest)
		if used == 0 || uint64(len(rest)-used) < n {
			return 0, p, 0, 0, errQUICBroken
		}
		rest = rest[used+int(n):]
	}
	n, used := varint(rest)
	if used == 0 || uint64(len(rest)-used) < n {
		return 0, p, 0, 0, errQUICBroken
	}
	at = len(b) - len(rest) + used
	return kind, p, at, at + int(n), nil
}

// The types of long headers.
const (
	quicInitialKind = 0
	quicRetry       = 3
)

// open reads the frames of an Initial packet of a server, whose number is at b[at].
func (k *quicKeys) open(b []byte, at int) (frames []byte, err error) {
	if len(b) < at+4+aes.BlockSize {
		return nil, errQUICBroken
	}
	b = append([]byte(nil), b...)
	first := k.first(b, at)
	n := int(first&3) + 1
	k.mask(b, at, n)
	b[0] = first
	number := uint64(0)
	for _, x := range b[at : at+n] {
		number = number<<8 | uint64(x)
	}
	// A server's first packets have small numbers, so that what is cut off is 0.
	frames, err = k.aead.Open(nil, k.nonce(number), b[at+n:], b[:at+n])
	if err != nil {
		return nil, errQUICBroken
	}
	return frames, nil
}

// quicHeard is what Initial packets of a server say.
type quicHeard struct {
	crypto []byte // of the handshake, as far as it is there
	have   []bool
	ended  bool // CONNECTION_CLOSE
	code   uint64
}

// frames reads those of one packet (RFC 9000 §12.4, table 3: those that Initial packets may have).
func (h *quicHeard) frames(b []byte) error {
	next := func() uint64 {
		n, used := varint(b)
		if used == 0 {
			b = nil
			return 0
		}
		b = b[used:]
		return n
	}
	for len(b) > 0 {
		const padding, ping, ack, ackECN, crypto, closes = 0, 1, 2, 3, 6, 0x1c
		switch kind := next(); kind {
		case padding, ping:
		case ack, ackECN:
			next()
			next()
			ranges := next()
			for next(); ranges > 0 && len(b) > 0; ranges-- {
				next()
				next()
			}
			if kind == ackECN {
				next()
				next()
				next()
			}
		case crypto:
			at, n := next(), next()
			if uint64(len(b)) < n || at > quicHelloMax || n > quicHelloMax {
				return errQUICBroken
			}
			h.keep(int(at), b[:n])
			b = b[n:]
		case closes:
			h.ended, h.code = true, next()
			return nil
		default:
			return errQUICBroken
		}
	}
	return nil
}

func (h *quicHeard) keep(at int, b []byte) {
	if missing := at + len(b) - len(h.crypto); missing > 0 {
		h.crypto, h.have = append(h.crypto, make([]byte, missing)...), append(h.have, make([]bool, missing)...)
	}
	copy(h.crypto[at:], b)
	for i := range b {
		h.have[at+i] = true
	}
}

// message is the first message of the handshake, once all of it is there.
func (h *quicHeard) message() []byte {
	whole := func(n int) bool {
		for i := range n {
			if i >= len(h.have) || !h.have[i] {
				return false
			}
		}
		return true
	}
	if !whole(4) {
		return nil
	}
	if n := 4 + (int(h.crypto[1])<<16 | int(h.crypto[2])<<8 | int(h.crypto[3])); n <= quicHelloMax && whole(n) {
		return h.crypto[:n]
	}
	return nil
}

// appendVarint appends a number in the form of RFC 9000 §16.
func appendVarint(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(dst, uint16(n)|0x4000)
	case n < 1<<30:
		return binary.BigEndian.AppendUint32(dst, uint32(n)|0x8000_0000)
	}
	return binary.BigEndian.AppendUint64(dst, n|0xc000_0000_0000_0000)
}

// varint reads one; used 0: there is none.
func varint(b []byte) (n uint64, used int) {
	if len(b) == 0 {
		return 0, 0
	}
	used = 1 << (b[0] >> 6)
	if len(b) < used {
		return 0, 0
	}
	n = uint64(b[0] & 0x3f)
	for _, x := range b[1:used] {
		n = n<<8 | uint64(x)
	}
	return n, used
}
