package harden

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// endpoint is one address at which a socket of the broker is reached.
type endpoint struct {
	name string // listener
	key  string // of the configuration
	addr spot
	tls  bool
	ws   bool
	path string           // of the WebSocket's request
	cert *tls.Certificate // shown where one is asked for; nil: none
	// Of a listener that lets nobody in without a certificate: whether that says who
	// the client is, and who makes one; nil: nobody here can.
	byCert bool
	prober *pki.Prober
	host   string // by which clients reach it, through what stands in front; empty: it is a socket of ours
}

// scope is what a result about the endpoint is filed under.
func (p *endpoint) scope() string {
	return (&socket{name: p.name, host: p.host}).scope(p.addr)
}

// targets are the addresses by which a socket is reached from this host, in both
// families where it serves both.
func (s *socket) targets() []netip.AddrPort {
	port := s.addr.Port()
	v4 := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	switch {
	case !s.addr.Addr().IsUnspecified():
		return []netip.AddrPort{s.addr}
	case s.addr.Addr().Is4():
		return []netip.AddrPort{v4}
	}
	return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), port), v4}
}

// endpoints are the entrances for clients among the listening sockets, and
// strangers the sockets that nobody says are his.
func (e *Env) endpoints(ctx context.Context) (eps []endpoint, strangers []socket, err error) {
	all, err := e.listening(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		s := &all[i]
		if s.name == "" {
			strangers = append(strangers, *s)
			continue
		}
		if s.protocol == "" {
			continue
		}
		for _, a := range e.spots(s) {
			if e.notServed(ctx, s, a) || e.unheard(s, a) { // see unprobed
				continue
			}
			eps = append(eps, e.entrance(s, a))
		}
	}
	return append(eps, e.entrancesBefore(ctx, all)...), strangers, nil
}

// entrance is one spot of a listener's socket.
func (e *Env) entrance(s *socket, a spot) endpoint {
	p := endpoint{name: s.name, key: s.key, addr: a, path: wsPath, host: s.host,
		tls: s.speaksTLS(),
		ws:  s.protocol == config.ProtocolWS || s.protocol == config.ProtocolWSS}
	l := e.Config.Listeners[s.name]
	if l.Path != "" {
		p.path = l.Path
	}
	known := slices.Contains(e.Config.Authn.Chains[l.Authn], "x509")
	switch {
	case p.tls && l.TLS.ClientCert == string(pki.ClientCertRequired):
		p.byCert = known
		p.prober = e.proberFor(l.TLS.ClientCA)
	case l.ProxyTLS == config.ProxyTLSTrust && a.proxied:
		p.byCert = slices.Equal(e.Config.Authn.Chains[l.Authn], []string{"x509"})
	}
	return p
}

// nobodyAt tells whether the kernel refuses connections at a.
func (e *Env) nobodyAt(ctx context.Context, a spot) bool {
	a.proxied = false // nobody needs to hear us
	c, err := e.dial(ctx, a)
	if err == nil {
		if a.network == networkUDP { // the kernel tells who writes
			_ = c.SetDeadline(e.Clock.Now().Add(min(e.step(), nobodyWithin)))
			if _, err = c.Write([]byte{0}); err == nil {
				_, err = c.Read(make([]byte, 1))
			}
		}
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// dialBurst is how many connections may come at once before pace holds them back.
const dialBurst = 100

// pace keeps the probes of a run under half of the rate at which the broker takes
// connections from one network: they are ordinary ones, and those it refused would
// prove nothing.
func (e *Env) pace(ctx context.Context) error {
	slowest := 0
	for _, perSecond := range e.Config.Limits.ConnectRatePerPrefix {
		if slowest == 0 || perSecond < slowest {
			slowest = perSecond
		}
	}
	if slowest == 0 {
		return nil
	}
	every := 2 * time.Second / time.Duration(slowest)
	now := e.Clock.Now()
	burst := min(dialBurst, max(slowest/2, 1))
	e.seen.mu.Lock()
	if least := now.Add(-time.Duration(burst-1) * every); e.seen.nextDial.Before(least) {
		e.seen.nextDial = least
	}
	wait := e.seen.nextDial.Sub(now)
	e.seen.nextDial = e.seen.nextDial.Add(every)
	e.seen.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// open makes a connection on which MQTT can be spoken: TCP, TLS above it where
// the listener wants that, WebSocket above that.
func (e *Env) open(ctx context.Context, p *endpoint) (net.Conn, error) {
	var c net.Conn
	var err error
	if p.tls {
		// Who answers is known from the kernel: the socket is in the broker's table
		// of descriptors. What the certificate says is row P3.3.
		c, err = e.secure(ctx, p.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: p.serverName(),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if p.cert != nil {
					return p.cert, nil
				}
				return &tls.Certificate{}, nil
			}})
	} else {
		c, err = e.dial(ctx, p.addr)
	}
	if err != nil {
		return nil, err
	}
	if p.ws {
		w, err := upgrade(c, p.addr.String(), p.path)
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("WebSocket: %w", err)
		}
		c = w
	}
	return c, nil
}

// serverName is what a client of TLS asks for there.
func (p *endpoint) serverName() string { return (&socket{host: p.host}).serverName() }

// wsPath is where brokers serve MQTT over WebSocket by convention.
const wsPath = "/mqtt"
