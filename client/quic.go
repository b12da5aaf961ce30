package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
)

// DefaultQUICPort is where brokers are met by MQTT over QUIC; no port is registered.
const DefaultQUICPort = 14567

// quicALPN is what MQTT is called in the handshake, without which QUIC has none.
const quicALPN = "mqtt"

// quicKeepAlive keeps the way open through boxes that translate addresses: many forget
// a way of UDP after half a minute.
const quicKeepAlive = 20 * time.Second

// quicConn is the one stream of a QUIC connection, on which MQTT is spoken, as a
// net.Conn.
type quicConn struct {
	*quic.Stream
	conn *quic.Conn
}

// dialQUIC makes the connection, TLS 1.3 included, and opens its stream.
func dialQUIC(ctx context.Context, o *Options, setup *tlsSetup) (*quicConn, tls.ConnectionState, error) {
	conf := setup.conf.Clone()
	conf.NextProtos = []string{quicALPN}
	c, err := quic.DialAddr(ctx, o.address(), conf, &quic.Config{
		HandshakeIdleTimeout: o.ConnectTimeout, KeepAlivePeriod: quicKeepAlive, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, tls.ConnectionState{}, plainQUIC(err)
	}
	s, err := c.OpenStream()
	if err != nil {
		_ = c.CloseWithError(0, "")
		return nil, tls.ConnectionState{}, plainQUIC(err)
	}
	return &quicConn{s, c}, c.ConnectionState().TLS, nil
}

// plainQUIC puts an error into the form it has over TCP, for which there are words.
func plainQUIC(err error) error {
	var transport *quic.TransportError
	var application *quic.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &application) && application.Remote:
		return io.EOF
	case !errors.As(err, &transport):
		return err
	case transport.ErrorCode.IsCryptoError() && transport.Remote:
		return &net.OpError{Op: "remote error", Err: tls.AlertError(transport.ErrorCode - 0x100)}
	case transport.ErrorCode.IsCryptoError():
		for _, inner := range transport.Unwrap() {
			if inner != nil && !errors.Is(inner, net.ErrClosed) {
				return inner
			}
		}
	case transport.Remote && transport.ErrorCode == quic.NoError:
		return io.EOF
	}
	return err
}

// isTLS tells a failure of the handshake from one of the network.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	_, alert := remoteAlert(err)
	return alert || errors.As(err, &verify) || strings.HasPrefix(err.Error(), "tls:")
}

// Read implements net.Conn.
func (q *quicConn) Read(b []byte) (int, error) {
	n, err := q.Stream.Read(b)
	return n, plainQUIC(err)
}

// Write implements net.Conn.
func (q *quicConn) Write(b []byte) (int, error) {
	n, err := q.Stream.Write(b)
	return n, plainQUIC(err)
}

// Close implements net.Conn. What the other side has not got is lost.
func (q *quicConn) Close() error { return q.conn.CloseWithError(0, "") }

// LocalAddr implements net.Conn.
func (q *quicConn) LocalAddr() net.Addr { return q.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (q *quicConn) RemoteAddr() net.Addr { return q.conn.RemoteAddr() }
