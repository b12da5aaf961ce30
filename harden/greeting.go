package harden

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// greeting is how a server answered a ClientHello.
type greeting struct {
	accepted uint16 // version of its ServerHello; 0: none came
	hello    serverHello
	alert    uint8 // description of its alert, when alerted
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
func (e *Env) greet(ctx context.Context, a spot, h hello, meant bool) (greeting, error) {
	if a.network == networkUDP {
		return e.greetQUIC(ctx, a, h)
	}
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

// closedWordless is a connection that ended without an alert.
const closedWordless = "closed without a word"

// closing says how a connection ended, or did not.
func closing(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "silence"
	default:
		return closedWordless
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
	h, err := parseServerHello(body)
	if err != nil {
		return greeting{other: err.Error()}
	}
	return greeting{accepted: h.version, hello: h}
}

// serverHello is what a ServerHello chose.
type serverHello struct {
	version       uint16
	suite         uint16
	compression   byte
	group         uint16 // TLS 1.3; 0: it says none
	renegotiation bool   // it knows RFC 5746; TLS 1.2 and older
}

// parseServerHello reads one, or a HelloRetryRequest, which has the same form. The
// version is that of the extension supported_versions if it is there, else that of
// the field of old.
func parseServerHello(b []byte) (h serverHello, err error) {
	broken := errors.New("a broken ServerHello")
	const message = 2
	if len(b) < 4+2+32+1 || b[0] != message {
		return h, broken
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	b = b[4:]
	if n < len(b) {
		b = b[:n]
	}
	if len(b) < 35 {
		return h, broken
	}
	h.version = binary.BigEndian.Uint16(b)
	session := int(b[34])
	rest := b[35:]
	if len(rest) < session+3 {
		return h, broken
	}
	h.suite, h.compression = binary.BigEndian.Uint16(rest[session:]), rest[session+2]
	rest = rest[session+3:]
	if len(rest) < 2 {
		return h, nil // no extensions
	}
	rest = rest[2:]
	for len(rest) >= 4 {
		id, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+size {
			return h, broken
		}
		const supportedVersions, keyShare, renegotiationInfo = 43, 51, 0xff01
		switch {
		case id == supportedVersions && size == 2:
			h.version = binary.BigEndian.Uint16(rest[4:])
		case id == keyShare && size >= 2:
			h.group = binary.BigEndian.Uint16(rest[4:])
		case id == renegotiationInfo:
			h.renegotiation = true
		}
		rest = rest[4+size:]
	}
	return h, nil
}
