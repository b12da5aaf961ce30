package harden

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
)

// A ClientHello written by hand, byte for byte, because a TLS library of today
// does not offer what has to be refused. Rules: RFC 6101 (SSL 3.0), RFC 2246,
// 4346, 5246 §7.4.1.2 and RFC 8446 §4.1.2.

// The versions as they are on the wire.
const (
	ssl30 = 0x0300
	tls10 = 0x0301
	tls11 = 0x0302
	tls12 = 0x0303
	tls13 = 0x0304
)

// versionName is how people call a version.
func versionName(v uint16) string {
	switch v {
	case ssl30:
		return "SSL 3.0"
	case tls10:
		return "TLS 1.0"
	case tls11:
		return "TLS 1.1"
	case tls12:
		return "TLS 1.2"
	case tls13:
		return "TLS 1.3"
	}
	return fmt.Sprintf("version 0x%04x", v)
}

// hello is what one ClientHello offers. What is nil or empty is as a client of
// today has it.
type hello struct {
	legacy    uint16   // client_version, or legacy_version
	supported []uint16 // the extension supported_versions; nil: without it
	name      string   // server_name; empty: without it
	suites    []uint16 // nil: everySuite
	groups    []uint16 // supported_groups; nil: X25519, P-256, P-384
	shares    []uint16 // key_share, where supported is set; nil: X25519. Empty leaves the choice of a group to the server
	deflate   bool     // TLS compression is offered before none
	alpn      string   // one protocol; empty: without the extension
	transport []byte   // parameters of QUIC; nil: it is not for that
	verify    []byte   // of the handshake before, for one that renegotiates; nil: this is the first
}

// everySuite is offered whatever the version, so that only the version can be why
// a hello is refused: suites of TLS 1.3, the ECDHE suites of 1.2, and CBC and RSA
// key exchange for what is older.
var everySuite = []uint16{
	0x1301, 0x1302, 0x1303,
	0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
	0xc009, 0xc013, 0xc00a, 0xc014, 0x002f, 0x0035, 0x000a,
}

// secureRenegotiation is TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 §3.3).
const secureRenegotiation = 0x00ff

// Groups of key exchanges (IANA TLS Supported Groups).
const (
	groupP256     = 23
	groupP384     = 24
	groupX25519   = 29
	groupMLKEM768 = 0x11ec // X25519MLKEM768
)

// encode writes the hello as one record.
func (h *hello) encode() ([]byte, error) {
	msg, err := h.message()
	if err != nil {
		return nil, err
	}
	record := uint16(tls10)
	if h.legacy == ssl30 {
		record = ssl30
	}
	out := binary.BigEndian.AppendUint16([]byte{22}, record)
	return vector16(out, msg), nil
}

// message writes the hello as a message of the handshake.
func (h *hello) message() ([]byte, error) {
	body := binary.BigEndian.AppendUint16(nil, h.legacy)
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	body = append(body, random[:]...)
	body = append(body, 0) // no session to resume
	suites := h.suites
	if suites == nil {
		suites = everySuite
	}
	if h.verify == nil {
		suites = slices.Concat(suites, []uint16{secureRenegotiation})
	}
	body = vector16(body, list16(suites))
	if h.deflate {
		body = append(body, 2, 1, 0)
	} else {
		body = append(body, 1, 0)
	}
	if h.legacy > ssl30 { // SSL 3.0 has no extensions
		ext, err := h.extensions()
		if err != nil {
			return nil, err
		}
		body = vector16(body, ext)
	}
	return append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...), nil
}

func (h *hello) extensions() ([]byte, error) {
	var out []byte
	add := func(id uint16, data []byte) {
		out = vector16(binary.BigEndian.AppendUint16(out, id), data)
	}
	if h.name != "" {
		add(0, vector16(nil, vector16([]byte{0}, []byte(h.name))))
	}
	groups := h.groups
	if groups == nil {
		groups = []uint16{groupX25519, groupP256, groupP384}
	}
	add(10, vector16(nil, list16(groups)))                                                           // supported_groups
	add(11, []byte{1, 0})                                                                            // ec_point_formats: uncompressed
	add(13, vector16(nil, []byte{4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 8, 7, 2, 3, 2, 1})) // signature_algorithms
	if h.verify != nil {
		add(0xff01, append([]byte{byte(len(h.verify))}, h.verify...)) // renegotiation_info
		add(23, nil)                                                  // extended_master_secret, as the handshake before had it
	}
	if h.alpn != "" {
		add(16, vector16(nil, append([]byte{byte(len(h.alpn))}, h.alpn...)))
	}
	if h.transport != nil {
		add(57, h.transport) // quic_transport_parameters
	}
	if h.supported == nil {
		return out, nil
	}
	add(43, append([]byte{byte(2 * len(h.supported))}, list16(h.supported)...))
	shares := h.shares
	if shares == nil {
		shares = []uint16{groupX25519}
	}
	var all []byte
	for _, group := range shares {
		key, err := keyShare(group)
		if err != nil {
			return nil, err
		}
		all = vector16(binary.BigEndian.AppendUint16(all, group), key)
	}
	add(51, vector16(nil, all)) // key_share
	add(45, []byte{1, 1})       // psk_key_exchange_modes
	return out, nil
}

// keyShare is our half of a key exchange. Nobody keeps the private one: no probe
// of this encoder goes beyond the server's answer.
func keyShare(group uint16) ([]byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	switch own := key.PublicKey().Bytes(); group {
	case groupX25519:
		return own, nil
	case groupMLKEM768:
		kem, err := mlkem.GenerateKey768()
		if err != nil {
			return nil, err
		}
		return append(kem.EncapsulationKey().Bytes(), own...), nil
	}
	return nil, fmt.Errorf("BUG: no key share for group 0x%04x", group)
}

// list16 is numbers of two bytes each.
func list16(all []uint16) (out []byte) {
	for _, x := range all {
		out = binary.BigEndian.AppendUint16(out, x)
	}
	return out
}

// vector16 appends data with its length in two bytes.
func vector16(dst, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(data))), data...)
}
