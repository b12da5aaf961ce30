package harden

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
)

// A server that answers some hellos as no library of today would, and leaves the
// others to one.

// offered is what a ClientHello offers, as far as these flaws need it.
type offered struct {
	suites     []uint16
	compresses bool
	name       string
	groups     []uint16
	tls13      bool
}

// readHello reads the first record of a connection and answers it with the bytes
// it had.
func readHello(conn net.Conn) (offered, []byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return offered{}, nil, err
	}
	if head[0] != 22 || head[1] != 3 {
		return offered{}, head, nil // no TLS; let the library say so
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return offered{}, nil, err
	}
	var o offered
	b := body[4+2+32:]
	b = b[1+int(b[0]):]
	n := int(binary.BigEndian.Uint16(b))
	o.suites = numbers(b[2 : 2+n])
	b = b[2+n:]
	o.compresses = slices.Contains(b[1:1+int(b[0])], 1)
	b = b[1+int(b[0]):]
	if len(b) >= 2 {
		b = b[2:]
	}
	for len(b) >= 4 {
		id, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		data := b[4 : 4+size]
		switch id {
		case 0:
			o.name = string(data[5:])
		case 10:
			o.groups = numbers(data[2:])
		case 43:
			o.tls13 = slices.Contains(numbers(data[1:]), tls13)
		}
		b = b[4+size:]
	}
	return o, append(head, body...), nil
}

func numbers(b []byte) (out []uint16) {
	for ; len(b) >= 2; b = b[2:] {
		out = append(out, binary.BigEndian.Uint16(b))
	}
	return out
}

// badSuites are the flaws that accept one suite too much.
var badSuites = map[flaw]uint16{
	nullSuite: 0x0002, exportSuite: 0x0003, anonymousSuite: 0x0034, rc4Suite: 0xc007, tripleDES: 0x000a, rsaExchange: 0x009c, dheSuite: 0x0033,
	cbcSuite: 0xc023, cbcByName: 0xc009, ccmSuite: 0xc0ac, unencrypted13: 0xc0b4,
}

// meddle answers a hello wrongly where a flaw of f is about it. done is true if
// the connection is over; otherwise the returned one begins with the hello again.
func (f *fake) meddle(conn net.Conn) (again net.Conn, done bool) {
	o, raw, err := readHello(conn)
	if err != nil {
		return nil, true
	}
	for fl, suite := range badSuites {
		if f.has(fl) && slices.Contains(o.suites, suite) && !(fl == cbcByName && o.name != "old.example") {
			_, _ = conn.Write(serverHelloOf(suite, 0, o.tls13, 29))
			return nil, true
		}
	}
	good := func(s uint16) bool { return slices.Contains(goodSuites, s) || s == secureRenegotiation }
	switch {
	case f.has(compresses) && o.compresses:
		_, _ = conn.Write(serverHelloOf(0xc02b, 1, false, 0))
		return nil, true
	case f.has(oldRenegotiation) && !o.tls13 && !slices.ContainsFunc(o.suites, func(s uint16) bool { return !good(s) }):
		_, _ = conn.Write(serverHelloOf(o.suites[0], 0, false, 0))
		return nil, true
	case f.has(weakCurve) && o.tls13 && slices.Contains(o.groups, 21):
		_, _ = conn.Write(serverHelloOf(0x1301, 0, true, 21))
		return nil, true
	case f.has(knowsProbes) && slices.ContainsFunc(o.suites, func(s uint16) bool { return s < 0xc000 && s > 0x1303 || s < 0x00ff }):
		_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
		return nil, true
	}
	return &replayed{conn, io.MultiReader(bytes.NewReader(raw), conn)}, false
}

type replayed struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (r *replayed) Read(b []byte) (int, error) { return r.r.Read(b) }

// serverHelloOf is a ServerHello that chose these, without renegotiation_info.
func serverHelloOf(suite uint16, compression byte, modern bool, group uint16) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0)
	body = binary.BigEndian.AppendUint16(body, suite)
	body = append(body, compression)
	if modern {
		ext := append([]byte{0, 43, 0, 2, 3, 4, 0, 51, 0, 2}, byte(group>>8), byte(group))
		body = vector16(body, ext)
	}
	msg := append([]byte{2, 0, 0, byte(len(body))}, body...)
	return vector16([]byte{22, 3, 3}, msg)
}

// spoilTLS makes the library's part of the flaws.
func (f *fake) spoilTLS(conf *tls.Config) {
	switch {
	case f.has(goCBC):
		conf.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
	case f.has(anyProtocol):
		conf.NextProtos = nil
	case f.has(noHybrid):
		conf.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	case f.has(loneP521):
		conf.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP521}
	case f.has(only12):
		conf.MaxVersion = tls.VersionTLS12
	case f.has(only13):
		conf.MinVersion = tls.VersionTLS13
	}
	if conf.CipherSuites == nil {
		conf.CipherSuites = goodSuites
	}
	if conf.CurvePreferences == nil {
		conf.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	}
}
