package harden

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// spot is one place at which a socket is reached, and how.
type spot struct {
	netip.AddrPort            // of tcp and udp
	network        string     // tcp, udp, unix; empty: tcp
	path           string     // of unix
	proxied        bool       // a PROXY header goes before everything else
	from           netip.Addr // of ours; the zero Addr: the kernel chooses
	vouches        string     // the client whom that header names by a certificate; empty: nobody
}

// String is the spot as a scope has it.
func (a spot) String() string {
	switch a.network {
	case networkUnix:
		return "unix:" + shortened(a.path)
	case networkUDP:
		return "udp:" + a.AddrPort.String()
	}
	return a.AddrPort.String()
}

// The networks of spots that are not TCP.
const (
	networkUDP  = "udp"
	networkUnix = "unix"
)

// way says how probes come to a spot, where that is not plain TCP; empty: it is.
func (a spot) way() string {
	switch {
	case a.network == networkUDP:
		return "QUIC version 1, one stream, ALPN " + quicALPN
	case a.network == networkUnix:
		return "the unix socket " + shortened(a.path)
	case a.proxied:
		return "as a proxy: a PROXY header of version 2 comes first, and says that the client is we, at our own address"
	}
	return ""
}

// spots are the ways to a socket from here.
func (e *Env) spots(s *socket) (all []spot) {
	if s.network == networkUnix {
		return []spot{{network: networkUnix, path: s.path}}
	}
	for _, a := range s.targets() {
		all = append(all, spot{AddrPort: a, network: s.network, proxied: e.behind(s) && e.heard(s, a.Addr())})
	}
	return all
}

// notServed tells whether a socket of all addresses is one for IPv6 alone, and a is not.
func (e *Env) notServed(ctx context.Context, s *socket, a spot) bool {
	return s.addr.Addr().IsUnspecified() && s.addr.Addr().Is6() && !a.Addr().Is6() && e.nobodyAt(ctx, a)
}

// at begins an inquiry about one spot, and says how it is reached.
func (e *Env) at(scope string, a spot) *inquiry {
	q := e.inquire(scope)
	if way := a.way(); way != "" {
		q.see(Probe, "how the probes come here", "", way, NotApplicable)
	}
	return q
}

// secured is a connection behind its handshake of TLS.
type secured interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// secure makes a handshake. Of what conf says about versions only TLS 1.3 counts on QUIC.
func (e *Env) secure(ctx context.Context, a spot, conf *tls.Config) (secured, error) {
	if a.network == networkUDP {
		return e.secureQUIC(ctx, a, conf)
	}
	c, err := e.dial(ctx, a)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, &handshakeError{err}
	}
	return t, nil
}

// handshakeError is one of TLS: there was a connection.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// Error implements error.
func (e *handshakeError) Error() string { return "TLS handshake: " + e.error.Error() }

// dial connects, and says first whose connection it is where that is wanted.
func (e *Env) dial(ctx context.Context, a spot) (net.Conn, error) {
	if err := e.pace(ctx); err != nil {
		return nil, err
	}
	network, address := "tcp", a.AddrPort.String()
	switch a.network {
	case networkUDP:
		network = networkUDP
	case networkUnix:
		network, address = networkUnix, a.path
	}
	d := net.Dialer{Deadline: e.deadline(ctx)}
	if a.from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.from, 0))
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(e.deadline(ctx)); err != nil {
		_ = c.Close()
		return nil, err
	}
	if a.proxied {
		if err := announceClient(c, a.vouches); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("PROXY header: %w", err)
		}
	}
	return c, nil
}

// nobodyWithin is how long nobody may say that there is nobody, at a UDP address.
const nobodyWithin = 100 * time.Millisecond

// isQUIC tells whether the socket is one on which clients come with QUIC.
func (s *socket) isQUIC() bool { return s.protocol == config.ProtocolQUIC && s.network == networkUDP }
