package conn

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// Content types and handshake messages that tests build themselves.
const (
	contentAlert     = 21
	contentHandshake = 22
	contentData      = 23

	messageTicket      = 4
	messageCertificate = 11
	messageKeyUpdate   = 24
)

var (
	keyUpdate       = []byte{messageKeyUpdate, 0, 0, 1, 0}
	keyUpdateWanted = []byte{messageKeyUpdate, 0, 0, 1, 1}
)

// keyLog is a tls.Config.KeyLogWriter that remembers secrets by their label.
type keyLog map[string][]byte

func (k keyLog) Write(line []byte) (int, error) {
	label, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	_, secret, _ := strings.Cut(rest, " ")
	b, err := hex.DecodeString(secret)
	k[label] = b
	return len(line), err
}

// hand is one direction of a TLS 1.3 record layer, driven by hand (RFC 8446 §5):
// crypto/tls does the handshake and tells the traffic secret through its key log,
// and from there on a test can send what no well-behaved client would.
type hand struct {
	newHash func() hash.Hash
	newAEAD func(key []byte) (cipher.AEAD, error)
	keySize int

	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newHand starts behind the handshake of a connection with state.
func newHand(t testing.TB, state tls.ConnectionState, secret []byte) *hand {
	gcm := func(key []byte) (cipher.AEAD, error) {
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(b)
	}
	h := &hand{newHash: sha256.New, newAEAD: gcm, keySize: 16}
	switch state.CipherSuite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		h.newHash, h.keySize = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		h.newAEAD, h.keySize = chacha20poly1305.New, 32
	default:
		t.Fatalf("cipher suite %#x is none of TLS 1.3", state.CipherSuite)
	}
	h.use(secret)
	return h
}

func (h *hand) use(secret []byte) {
	aead, err := h.newAEAD(h.expand(secret, "key", h.keySize))
	if err != nil {
		panic(err)
	}
	h.secret, h.aead, h.iv, h.seq = secret, aead, h.expand(secret, "iv", 12), 0
}

// next is what follows a KeyUpdate (RFC 8446 §7.2).
func (h *hand) next() { h.use(h.expand(h.secret, "traffic upd", len(h.secret))) }

// expand is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func (h *hand) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	out, err := hkdf.Expand(h.newHash, secret, info, n)
	if err != nil {
		panic(err)
	}
	return out
}

func (h *hand) nonce() []byte {
	n := bytes.Clone(h.iv)
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^h.seq)
	h.seq++
	return n
}

// seal is one record.
func (h *hand) seal(contentType byte, content []byte) []byte {
	inner := append(bytes.Clone(content), contentType)
	head := []byte{contentData, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+h.aead.Overhead()))
	return h.aead.Seal(head, h.nonce(), inner, head)
}

// update is a KeyUpdate and the new key.
func (h *hand) update(message []byte) []byte {
	b := h.seal(contentHandshake, message)
	h.next()
	return b
}

// open takes one record off b; ok is false while it is not all there.
func (h *hand) open(b []byte) (contentType byte, content, rest []byte, ok bool, err error) {
	if len(b) < recordHead {
		return 0, nil, b, false, nil
	}
	end := recordHead + int(binary.BigEndian.Uint16(b[3:]))
	if len(b) < end {
		return 0, nil, b, false, nil
	}
	inner, err := h.aead.Open(nil, h.nonce(), b[recordHead:end], b[:recordHead])
	if err != nil {
		return 0, nil, b, false, fmt.Errorf("record %d: %w", h.seq-1, err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	last := len(inner) - 1
	return inner[last], inner[:last], b[end:], true, nil
}

// recordHead is the bytes before a record's content.
const recordHead = 5
