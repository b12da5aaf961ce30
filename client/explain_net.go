package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// explainDial turns the failure of name resolution or TCP into words. parent is
// the caller's own context: its end is the caller's doing, not a timeout.
func explainDial(parent context.Context, o *Options, err error) error {
	if parent.Err() != nil {
		return interrupted(parent)
	}
	at := o.address()
	e := &Error{Err: err}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		e.Kind = KindResolve
		e.What = fmt.Sprintf("cannot resolve the host name %s: %s", quote(o.Host), dnsReason(dns))
		e.Help = []string{"check the spelling of the name (-h), or give the address"}
	case o.Socket != "" && errors.Is(err, syscall.ECONNREFUSED):
		e.Kind = KindRefused
		e.What = "nobody listens on the socket " + quote(o.Socket) + " any more"
		e.Help = []string{"a stopped broker left it; check whether the broker runs: `redoubt status`"}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Kind = KindRefused
		e.What = fmt.Sprintf("connection to %s refused: nothing listens at that port", at)
		e.Help = []string{"check the port (-p), and on the server whether the broker runs: `redoubt status`"}
	case isTimeout(err):
		e.Kind = KindTimeout
		e.What = fmt.Sprintf("no answer from %s within %s", at, o.ConnectTimeout)
		e.Help = []string{"a firewall between here and there drops the packets, or the address is not the broker's"}
		if o.QUIC {
			e.Help = []string{"nothing listens at that port, or a firewall drops UDP; QUIC cannot tell one from the other"}
		}
	default:
		e.Kind = KindUnreachable
		e.What = fmt.Sprintf("cannot reach %s: %s", at, bareReason(err))
	}
	return e
}

// dnsReason is what the resolver said, without the name and the server's address.
func dnsReason(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "the name server did not answer in time"
	}
	return err.Err
}

// bareReason is the innermost cause of a network error: the addresses around it
// are in our own words already.
func bareReason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var op *net.OpError
	for errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout()
}

// isEnd tells whether err is the other side's closing of the connection, in any
// of the forms it takes.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// interrupted is the end of the caller's context.
func interrupted(ctx context.Context) error {
	return &Error{Kind: KindInterrupted, What: "interrupted", Err: context.Cause(ctx)}
}

// noConnack explains a connection that ended before CONNACK. first are the bytes
// the server did send, at most a few.
func noConnack(o *Options, first []byte, err error) *Error {
	at := o.address()
	switch {
	case o.TLS == nil && looksLikeTLS(first):
		return &Error{
			Kind: KindPlaintextOnTLSPort, Err: err,
			What: "the server at " + at + " speaks TLS, and this client was told not to",
			Help: []string{"leave out --protocol mqtt (or mqtt:// in the URL); TLS is the default"},
		}
	case isTimeout(err):
		return &Error{
			Kind: KindTimeout, Err: err,
			What: fmt.Sprintf("connected to %s, but no CONNACK came within %s", at, o.ConnectTimeout.Round(time.Millisecond)),
			Help: []string{"the server is overloaded, or it is no MQTT broker"},
		}
	case isEnd(err) && o.TLS == nil:
		return &Error{
			Kind: KindNoConnack, Err: err,
			What: "the server at " + at + " closed the connection before CONNACK",
			Help: []string{
				"if it speaks TLS at that port (8883 usually does), leave out --protocol mqtt",
				"otherwise it refuses this client before authentication; its log says why",
			},
		}
	case isEnd(err):
		return &Error{
			Kind: KindNoConnack, Err: err,
			What: "the server at " + at + " closed the connection before CONNACK, after a complete TLS handshake",
			Help: []string{"it does not speak MQTT " + o.Connect.Version.String() + " there, or refuses this client before authentication; its log says why"},
		}
	}
	return &Error{Kind: KindNoConnack, What: "the connection to " + at + " failed before CONNACK: " + bareReason(err), Err: err}
}

// looksLikeTLS tells whether b begins a TLS record: an alert or a handshake
// message. A server that expects TLS answers a plaintext CONNECT with an alert.
func looksLikeTLS(b []byte) bool {
	return len(b) >= 2 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3
}
