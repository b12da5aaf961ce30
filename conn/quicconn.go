package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// quicConn is the stream of MQTT on a QUIC connection, as a net.Conn. One goroutine
// reads it and one at a time writes it.
type quicConn struct {
	conn  *quic.Conn
	guest *quicGuest
	in    context.Context // ends when nobody reads any more
	stop  context.CancelFunc
	state tls.ConnectionState // after the handshake

	mu     sync.Mutex   // guards everything below
	stream *quic.Stream // nil: the client has not opened it
}

// errMoved ends a connection that has come to another address.
var errMoved = errors.New("the client has moved to another address")

func newQUICConn(c *quic.Conn, g *quicGuest) *quicConn {
	q := &quicConn{conn: c, guest: g}
	q.in, q.stop = context.WithCancel(context.Background())
	return q
}

// handshaken waits for the end of the handshake, for which quic-go knows the time.
func (q *quicConn) handshaken() error {
	select {
	case <-q.conn.HandshakeComplete():
		q.state = q.conn.ConnectionState().TLS
		return nil
	case <-q.conn.Context().Done():
		return context.Cause(q.conn.Context())
	case <-q.in.Done():
		return errQUICEvicted
	}
}

// ConnectionState is what the handshake has agreed on.
func (q *quicConn) ConnectionState() tls.ConnectionState { return q.state }

// opened is the stream, if there is one.
func (q *quicConn) opened() *quic.Stream {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stream
}

// incoming waits for the client to open its stream.
func (q *quicConn) incoming() (*quic.Stream, error) {
	if s := q.opened(); s != nil {
		return s, nil
	}
	s, err := q.conn.AcceptStream(q.in)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stream = s
	if q.in.Err() != nil { // cut just now
		_ = s.SetDeadline(longAgo)
	}
	return s, nil
}

// await waits until there is something to read, or never will be: Read tells.
func (q *quicConn) await() {
	if s, err := q.incoming(); err == nil {
		_, _ = s.Peek(make([]byte, 1))
	}
}

// moved tells whether the client is at another address than that of its handshake, of
// which its limits, bans and rules were judged. Another port is the same client behind
// a box that translates addresses.
func (q *quicConn) moved() bool {
	return addrOf(q.conn.RemoteAddr()).Addr() != q.guest.from.Addr()
}

// Read implements net.Conn.
func (q *quicConn) Read(b []byte) (int, error) {
	s, err := q.incoming()
	if err != nil {
		return 0, err
	}
	n, err := s.Read(b)
	if q.moved() {
		return 0, errMoved
	}
	return n, err
}

// Write implements net.Conn.
func (q *quicConn) Write(b []byte) (int, error) {
	s := q.opened()
	if s == nil {
		return 0, net.ErrClosed
	}
	if q.moved() {
		return 0, errMoved
	}
	return s.Write(b)
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// cut ends all reading and writing. It does not block.
func (q *quicConn) cut() {
	q.stop()
	if s := q.opened(); s != nil {
		_ = s.SetDeadline(longAgo)
	}
}

// CloseWrite says that no more comes from us.
func (q *quicConn) CloseWrite() error {
	if s := q.opened(); s != nil {
		return s.Close()
	}
	return net.ErrClosed
}

// Close implements net.Conn: what the client has not acknowledged is lost.
func (q *quicConn) Close() error {
	q.cut()
	return q.conn.CloseWithError(0, "")
}

// LocalAddr implements net.Conn.
func (q *quicConn) LocalAddr() net.Addr { return q.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (q *quicConn) RemoteAddr() net.Addr { return q.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (q *quicConn) SetDeadline(t time.Time) error {
	if s := q.opened(); s != nil {
		return s.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (q *quicConn) SetReadDeadline(t time.Time) error {
	if s := q.opened(); s != nil {
		return s.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements net.Conn.
func (q *quicConn) SetWriteDeadline(t time.Time) error {
	if s := q.opened(); s != nil {
		return s.SetWriteDeadline(t)
	}
	return nil
}

// explainQUIC explains what ended a handshake of QUIC, unless that is said in the words
// of TLS: inner.
func explainQUIC(err error) (id metrics.ID, why string, inner error) {
	var transport *quic.TransportError
	var application *quic.ApplicationError
	switch {
	case errors.As(err, &application):
		return metrics.HandshakesFailedGone, "the client closed the connection during the handshake", nil
	case !errors.As(err, &transport):
		return 0, "", err
	case transport.ErrorCode.IsCryptoError() && transport.Remote:
		id, why = explainAlert(tls.AlertError(transport.ErrorCode - 0x100).Error())
		return id, why, nil
	case transport.ErrorCode.IsCryptoError():
		for _, e := range transport.Unwrap() {
			if e == nil || errors.Is(e, net.ErrClosed) {
				continue
			}
			if refused := (*pki.Refused)(nil); errors.As(e, &refused) {
				return 0, "", refused
			}
			return 0, "", errors.New(e.Error()) // it holds the alert that we sent, which is not the client's
		}
		return metrics.HandshakesFailedOther, "the handshake failed", nil
	case transport.Remote || transport.ErrorCode == quic.NoError:
		return metrics.HandshakesFailedGone, "the client closed the connection during the handshake", nil
	case transport.ErrorCode == quic.ConnectionRefused:
		return metrics.HandshakesFailedOther, "the broker took no more connections at that moment", nil
	}
	return metrics.HandshakesFailedOther, "the client did not keep to the rules of QUIC", nil
}
