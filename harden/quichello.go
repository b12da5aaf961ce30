package harden

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

// quicALPN is what MQTT is called in the handshake, without which QUIC has none.
const quicALPN = "mqtt"

// greetQUIC is greet on QUIC: the hello is the same, but for the protocol and the transport
// parameters, which QUIC demands. What a server says against it is in CONNECTION_CLOSE.
func (e *Env) greetQUIC(ctx context.Context, a spot, h hello) (greeting, error) {
	c, err := e.dial(ctx, a)
	if err != nil {
		return greeting{}, err
	}
	defer c.Close()
	x := quicExchange{e: e, c: c, until: e.deadline(ctx), us: make([]byte, 8), to: make([]byte, 8)}
	_, _ = rand.Read(x.us) // never fails: it ends the program instead
	_, _ = rand.Read(x.to)
	if h.alpn == "" {
		h.alpn = quicALPN
	}
	const initialSourceConnectionID = 0x0f
	h.transport = append(appendVarint(appendVarint(nil, initialSourceConnectionID), uint64(len(x.us))), x.us...)
	if x.hello, err = h.message(); err != nil {
		return greeting{}, err
	}
	return x.run()
}

// quicExchange is one hello and what a server says to it.
type quicExchange struct {
	e      *Env
	c      net.Conn
	until  time.Time
	us, to []byte // connection identifiers
	token  []byte // of a Retry
	hello  []byte

	ours, theirs *quicKeys
	number       uint32
	heard        quicHeard
	server       []byte // the identifier that it has chosen; nil: it has not
}

// again is after how long datagrams are sent once more: one may be lost on a busy machine.
const again = 500 * time.Millisecond

func (x *quicExchange) run() (greeting, error) {
	flight, err := x.flight()
	if err != nil {
		return greeting{}, err
	}
	buf := make([]byte, 65535)
	for {
		for _, b := range flight {
			if _, err := x.c.Write(b); err != nil {
				return greeting{other: nobodyWords(err)}, nil
			}
		}
		wait := x.e.Clock.Now().Add(again)
		if wait.After(x.until) {
			wait = x.until
		}
		if err := x.c.SetReadDeadline(wait); err != nil {
			return greeting{}, err
		}
		retried := false
		for !retried {
			n, err := x.c.Read(buf)
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				if !x.e.Clock.Now().Before(x.until) {
					return greeting{other: "silence"}, nil
				}
			case err != nil:
				return greeting{other: nobodyWords(err)}, nil
			}
			if err != nil {
				break // and say it again
			}
			if retried, err = x.datagram(buf[:n]); err != nil {
				return greeting{other: err.Error()}, nil
			}
			if g, done := x.verdict(); done {
				return g, nil
			}
		}
		if retried {
			if flight, err = x.flight(); err != nil {
				return greeting{}, err
			}
		}
	}
}

func nobodyWords(err error) string { return "no answer: " + shortened(err.Error()) }

// flight are the datagrams that carry the hello.
func (x *quicExchange) flight() (out [][]byte, err error) {
	if x.ours, x.theirs, err = initialKeys(x.to); err != nil {
		return nil, err
	}
	const each = 1000 // bytes of the hello in one datagram, beside a token
	for at := 0; at < len(x.hello); at += each {
		part := x.hello[at:min(at+each, len(x.hello))]
		const crypto = 6
		frames := appendVarint(appendVarint([]byte{crypto}, uint64(at)), uint64(len(part)))
		out = append(out, x.packet(append(frames, part...)))
	}
	return out, nil
}

func (x *quicExchange) packet(frames []byte) []byte {
	p := quicInitial{to: x.to, from: x.us, token: x.token, number: x.number, frames: frames}
	x.number++
	return p.seal(x.ours)
}

// datagram reads the packets of one. retried: the server wants the hello again, with a token.
func (x *quicExchange) datagram(b []byte) (retried bool, err error) {
	for len(b) > 0 {
		if b[0] == 0 || b[0]&0x80 == 0 { // padding, or a packet of another kind
			return false, nil
		}
		kind, p, at, size, err := quicHeader(b)
		if err != nil {
			return false, err
		}
		switch {
		case kind == quicRetry:
			if x.token != nil || x.server != nil { // only the first one counts (RFC 9000 §17.2.5.2)
				return false, nil
			}
			x.to, x.token = append([]byte(nil), p.from...), append([]byte(nil), p.token...)
			return true, nil
		case kind == quicInitialKind:
			frames, err := x.theirs.open(b[:size], at)
			if err != nil { // RFC 9001 §5.5: it is passed over
				return false, nil
			}
			x.server = append([]byte(nil), p.from...)
			if err := x.heard.frames(frames); err != nil {
				return false, err
			}
		}
		b = b[size:]
	}
	return false, nil
}

// verdict is what the server has said, once it has. Who was answered with a ServerHello
// takes its leave, so that nothing waits for a handshake that never ends.
func (x *quicExchange) verdict() (g greeting, done bool) {
	const cryptoError, userCanceled, closes = 0x100, 90, 0x1c
	switch m := x.heard.message(); {
	case x.heard.ended && x.heard.code >= cryptoError && x.heard.code < cryptoError+0x100:
		return greeting{alerted: true, alert: uint8(x.heard.code - cryptoError)}, true
	case x.heard.ended && x.heard.code == 2: // CONNECTION_REFUSED
		return greeting{other: "refused at the door"}, true
	case x.heard.ended:
		return greeting{other: fmt.Sprintf("closed with error 0x%x of QUIC", x.heard.code)}, true
	case m != nil:
		x.to = x.server
		leave := appendVarint([]byte{closes}, cryptoError+userCanceled)
		_, _ = x.c.Write(x.packet(append(leave, 0, 0))) // it would find out by itself
		h, err := parseServerHello(m)
		if err != nil {
			return greeting{other: err.Error()}, true
		}
		return greeting{accepted: h.version, hello: h}, true
	}
	return greeting{}, false
}

// secureQUIC makes a connection of QUIC and opens its stream.
func (e *Env) secureQUIC(ctx context.Context, a spot, conf *tls.Config) (secured, error) {
	if err := e.pace(ctx); err != nil {
		return nil, err
	}
	conf = conf.Clone()
	conf.MinVersion, conf.MaxVersion, conf.NextProtos = tls.VersionTLS13, tls.VersionTLS13, []string{quicALPN}
	c, err := quic.DialAddr(ctx, a.AddrPort.String(), conf, quicConfig(e))
	if err != nil {
		return nil, quicFailed(err)
	}
	s, err := c.OpenStream()
	if err != nil {
		_ = c.CloseWithError(0, "")
		return nil, quicFailed(err)
	}
	q := &quicStream{s, c}
	if err := q.SetDeadline(e.deadline(ctx)); err != nil {
		_ = q.Close()
		return nil, err
	}
	return q, nil
}

func quicConfig(e *Env) *quic.Config {
	return &quic.Config{HandshakeIdleTimeout: e.step(), MaxIncomingStreams: -1, MaxIncomingUniStreams: -1}
}

// quicFailed tells a failure of the handshake from one of the network.
func quicFailed(err error) error {
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.ErrorCode.IsCryptoError() {
		return &handshakeError{plainQUIC(err)}
	}
	return err
}

// plainQUIC puts an error into the form it has over TCP.
func plainQUIC(err error) error {
	var transport *quic.TransportError
	var application *quic.ApplicationError
	var stream *quic.StreamError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &application) && application.Remote, errors.As(err, &stream) && stream.Remote:
		return io.EOF
	case errors.As(err, &transport) && transport.ErrorCode.IsCryptoError() && transport.Remote:
		return &net.OpError{Op: "remote error", Err: tls.AlertError(transport.ErrorCode - 0x100)}
	case errors.As(err, &transport) && transport.Remote:
		return io.EOF
	}
	return err
}

// quicStream is the one stream of a connection, as a net.Conn.
type quicStream struct {
	*quic.Stream
	conn *quic.Conn
}

// ConnectionState implements secured.
func (q *quicStream) ConnectionState() tls.ConnectionState { return q.conn.ConnectionState().TLS }

// Read implements net.Conn.
func (q *quicStream) Read(b []byte) (int, error) {
	n, err := q.Stream.Read(b)
	return n, plainQUIC(err)
}

// Write implements net.Conn.
func (q *quicStream) Write(b []byte) (int, error) {
	n, err := q.Stream.Write(b)
	return n, plainQUIC(err)
}

// Close implements net.Conn. What the other side has not got is lost.
func (q *quicStream) Close() error { return q.conn.CloseWithError(0, "") }

// LocalAddr implements net.Conn.
func (q *quicStream) LocalAddr() net.Addr { return q.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (q *quicStream) RemoteAddr() net.Addr { return q.conn.RemoteAddr() }
