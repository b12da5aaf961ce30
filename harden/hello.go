package harden

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
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

// hello is what one ClientHello offers.
type hello struct {
	legacy    uint16   // client_version, or legacy_version
	supported []uint16 // the extension supported_versions; nil: without it
	name      string   // server_name; empty: without it
}

// suites are offered whatever the version, so that only the version can be why a
// hello is refused: of TLS 1.3, the ECDHE suites of 1.2, and CBC and RSA key
// exchange for what is older.
var suites = []uint16{
	0x1301, 0x1302, 0x1303,
	0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
	0xc009, 0xc013, 0xc00a, 0xc014, 0x002f, 0x0035, 0x000a,
	0x00ff, // TLS_EMPTY_RENEGOTIATION_INFO_SCSV
}

// encode writes the hello as one record.
func (h *hello) encode() ([]byte, error) {
	body := binary.BigEndian.AppendUint16(nil, h.legacy)
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	body = append(body, random[:]...)
	body = append(body, 0) // no session to resume
	body = binary.BigEndian.AppendUint16(body, uint16(2*len(suites)))
	for _, s := range suites {
		body = binary.BigEndian.AppendUint16(body, s)
	}
	body = append(body, 1, 0) // no compression
	if h.legacy > ssl30 {     // SSL 3.0 has no extensions
		ext, err := h.extensions()
		if err != nil {
			return nil, err
		}
		body = vector16(body, ext)
	}
	msg := append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	record := uint16(tls10)
	if h.legacy == ssl30 {
		record = ssl30
	}
	out := binary.BigEndian.AppendUint16([]byte{22}, record)
	return vector16(out, msg), nil
}

func (h *hello) extensions() ([]byte, error) {
	var out []byte
	add := func(id uint16, data []byte) {
		out = vector16(binary.BigEndian.AppendUint16(out, id), data)
	}
	if h.name != "" {
		add(0, vector16(nil, vector16([]byte{0}, []byte(h.name))))
	}
	add(10, vector16(nil, []byte{0, 29, 0, 23, 0, 24}))                                              // supported_groups: X25519, P-256, P-384
	add(11, []byte{1, 0})                                                                            // ec_point_formats: uncompressed
	add(13, vector16(nil, []byte{4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 8, 7, 2, 3, 2, 1})) // signature_algorithms
	if h.supported == nil {
		return out, nil
	}
	versions := []byte{byte(2 * len(h.supported))}
	for _, v := range h.supported {
		versions = binary.BigEndian.AppendUint16(versions, v)
	}
	add(43, versions)
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	add(51, vector16(nil, vector16([]byte{0, 29}, key.PublicKey().Bytes()))) // key_share
	add(45, []byte{1, 1})                                                    // psk_key_exchange_modes
	return out, nil
}

// vector16 appends data with its length in two bytes.
func vector16(dst, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(data))), data...)
}

// greeting is how a server answered a ClientHello.
type greeting struct {
	accepted uint16 // version of its ServerHello; 0: none came
	alert    uint8  // description of its alert, when alerted
	alerted  bool
	other    string // neither: closed, silent, something that is not TLS
}

// alertProtocolVersion is the alert that says what is wrong (RFC 5246 §7.2.2).
const alertProtocolVersion = 70

func (g greeting) String() string {
	switch {
	case g.accepted != 0:
		return "ServerHello for " + versionName(g.accepted)
	case g.alerted && g.alert == alertProtocolVersion:
		return "alert protocol_version (70)"
	case g.alerted:
		return fmt.Sprintf("alert %d", g.alert)
	}
	return g.other
}

// greet sends one hello and reads the answer. Where nobody meant TLS, whoever
// answers is not waited for: the end of our words makes a server of something
// else say what it has to say.
func (e *Env) greet(ctx context.Context, a netip.AddrPort, h hello, meant bool) (greeting, error) {
	c, err := e.dial(ctx, a)
	if err != nil {
		return greeting{}, err
	}
	defer c.Close()
	b, err := h.encode()
	if err != nil {
		return greeting{}, err
	}
	if _, err := c.Write(b); err != nil {
		return greeting{other: closing(err)}, nil
	}
	if half, ok := c.(*net.TCPConn); ok && !meant {
		_ = half.CloseWrite() // it fails where the server has closed already
		_ = half.SetDeadline(e.Clock.Now().Add(min(e.step(), time.Second)))
	}
	return readGreeting(c), nil
}

// closing says how a connection ended, or did not.
func closing(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "silence"
	default:
		return "closed without a word"
	}
}

func readGreeting(c io.Reader) greeting {
	r := bufio.NewReader(c)
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return greeting{other: closing(err)}
	}
	const alert, handshake = 21, 22
	size := int(binary.BigEndian.Uint16(head[3:]))
	if head[1] != 3 || head[0] != alert && head[0] != handshake || size == 0 || size > 1<<14+256 {
		return greeting{other: "an answer that is not TLS"}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return greeting{other: closing(err)}
	}
	if head[0] == alert {
		if len(body) < 2 {
			return greeting{other: "a broken alert"}
		}
		return greeting{alerted: true, alert: body[1]}
	}
	v, err := serverHelloVersion(body)
	if err != nil {
		return greeting{other: err.Error()}
	}
	return greeting{accepted: v}
}

// serverHelloVersion finds the version a ServerHello chose: the extension
// supported_versions if it is there, else the field of old.
func serverHelloVersion(b []byte) (uint16, error) {
	broken := errors.New("a broken ServerHello")
	const serverHello = 2
	if len(b) < 4+2+32+1 || b[0] != serverHello {
		return 0, broken
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	b = b[4:]
	if n < len(b) {
		b = b[:n]
	}
	version := binary.BigEndian.Uint16(b)
	session := int(b[34])
	rest := b[35:]
	if len(rest) < session+3 {
		return 0, broken
	}
	rest = rest[session+3:]
	if len(rest) < 2 {
		return version, nil // no extensions
	}
	rest = rest[2:]
	for len(rest) >= 4 {
		id, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+size {
			return 0, broken
		}
		const supportedVersions = 43
		if id == supportedVersions && size == 2 {
			return binary.BigEndian.Uint16(rest[4:]), nil
		}
		rest = rest[4+size:]
	}
	return version, nil
}
