package harden

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"
)

// What QUIC has beside TLS over TCP.

// older are the hellos that QUIC has to refuse: everything before TLS 1.3 (RFC 9001 §4.2).
var olderThan13 = []struct {
	what  string
	hello hello
}{
	{"TLS 1.2, which has no supported_versions", hello{legacy: tls12}},
	{"TLS 1.2 in supported_versions", hello{legacy: tls12, supported: []uint16{tls12}}},
	{"TLS 1.1, 1.0 in supported_versions", hello{legacy: tls12, supported: []uint16{tls11, tls10}}},
}

// quicVersions is row P3.1 on QUIC.
func (q *inquiry) quicVersions(ctx context.Context, s *socket, a spot) {
	modern := hello{legacy: tls12, supported: []uint16{tls13}, name: s.serverName()}
	g, err := q.e.greet(ctx, a, modern, true)
	if err != nil {
		g.other = shortened(err.Error())
	}
	control := g.accepted == tls13
	q.see(Probe, "hello with TLS 1.3 in QUIC (positive control)", "ServerHello for TLS 1.3", g.String(), passIf(control, Unknown))
	mark := len(q.obs)
	served := q.e.shownAt(ctx, s, a)
	for _, name := range served.names {
		for _, old := range olderThan13 {
			h := old.hello
			h.name = name
			q.versionRefused(ctx, a, old.what, h, false)
		}
	}
	if served.untried > 0 {
		q.see(Probe, "names of its certificates", fmt.Sprintf("each is asked for, up to %d", namesMax), fmt.Sprintf("%d more were not", served.untried), Unknown)
	}
	if !control {
		q.doubt(mark)
	}
}

// early has a session resumed with data that come before the handshake is over (0-RTT). Whoever saw
// them can send them again, so that none must be taken.
func (p *cipherProbe) early() {
	const what, want = "data before the handshake is over (0-RTT), in a session that is resumed", "not accepted: they can be sent again by who saw them"
	conf := showing(p.e.goodCert(p.listener), tls13)
	conf.ServerName, conf.NextProtos = p.name, []string{quicALPN}
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	first, err := p.earlier(conf)
	if err != nil {
		p.see(Probe, what, want, shortened(err.Error()), Unknown)
		return
	}
	_ = first.CloseWithError(0, "")
	again, err := p.earlier(conf)
	if err != nil {
		p.see(Probe, what, want, shortened(err.Error()), Unknown)
		return
	}
	defer func() { _ = again.CloseWithError(0, "") }()
	switch s := again.ConnectionState(); {
	case s.Used0RTT:
		p.see(Probe, what, want, "accepted", Fail)
	case !s.TLS.DidResume:
		p.see(Probe, what, want, "no session is resumed, so that there is nothing to send them in", Pass)
	default:
		p.see(Probe, what, want, "not accepted; the session is resumed (positive control)", Pass)
	}
}

// earlier makes a connection that sends as early as it may, and reads an answer: behind it, there is
// a ticket if there is to be one.
func (p *cipherProbe) earlier(conf *tls.Config) (*quic.Conn, error) {
	if err := p.e.pace(p.ctx); err != nil {
		return nil, err
	}
	c, err := quic.DialAddrEarly(p.ctx, p.a.AddrPort.String(), conf, quicConfig(p.e))
	if err != nil {
		return nil, plainQUIC(err)
	}
	s, err := c.OpenStream()
	if err == nil {
		q := &quicStream{s, c}
		_ = q.SetDeadline(p.e.deadline(p.ctx)) // of a connection that has ended; then so does what follows
		m := newClient(p.ctx, p.e, q, level4)
		nobody := connectPacket{level: level4, clientID: p.e.clientID()}
		if answer := m.ask(nobody.encode(), typeConnack); answer.packet == nil {
			err = fmt.Errorf("no answer to CONNECT: %s", answer)
		}
	}
	if err != nil {
		_ = c.CloseWithError(0, "")
		return nil, err
	}
	select {
	case <-c.HandshakeComplete():
	case <-time.After(p.e.step()):
	}
	return c, nil
}
