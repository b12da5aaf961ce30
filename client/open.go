package client

import (
	"context"
	"crypto/tls"
	"net"
)

// Opener opens connections with one set of options again and again: files are read
// once. It speaks no MQTT; who wants that calls Dial.
type Opener struct {
	opt   Options
	setup *tlsSetup // nil without TLS
}

// NewOpener completes and judges o, and reads the files it names.
func NewOpener(o Options) (*Opener, error) {
	o.complete()
	if err := o.verify(); err != nil {
		return nil, err
	}
	if err := verifyConnect(&o); err != nil {
		return nil, err
	}
	p := &Opener{opt: o}
	if o.TLS == nil {
		return p, nil
	}
	var err error
	p.setup, err = o.TLS.setup(o.Host, o.Clock.Now)
	return p, err
}

// Options are those of NewOpener, complete.
func (p *Opener) Options() Options { return p.opt }

// Resumed is how many connections went on with an earlier one's TLS session.
func (p *Opener) Resumed() int64 {
	if p.setup == nil {
		return 0
	}
	return p.setup.resumed.Load()
}

// Open makes one connection, with TLS and WebSocket if wanted. Every failure is an *Error.
func (p *Opener) Open(ctx context.Context) (net.Conn, error) {
	conn, _, err := open(ctx, ctx, &p.opt, p.setup)
	return conn, err
}

// open makes a connection, and tells what was agreed on.
func open(parent, ctx context.Context, o *Options, setup *tlsSetup) (net.Conn, string, error) {
	if o.QUIC {
		conn, state, err := dialQUIC(ctx, o, setup)
		switch {
		case err == nil:
			return conn, "QUIC: " + agreed(state), nil
		case isTLS(err):
			return nil, "", explainTLS(parent, o, setup, err)
		}
		return nil, "", explainDial(parent, o, err)
	}
	network, address := "tcp", o.address()
	if o.Socket != "" {
		network, address = "unix", o.Socket
	}
	conn, err := o.DialContext(ctx, network, address)
	if err != nil {
		return nil, "", explainDial(parent, o, err)
	}
	words := ""
	if setup != nil {
		t := tls.Client(conn, setup.conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, "", explainTLS(parent, o, setup, err)
		}
		if t.ConnectionState().DidResume {
			setup.resumed.Add(1)
		}
		conn, words = t, "TLS: "+agreed(t.ConnectionState())
	}
	if o.WebSocket == "" {
		return conn, words, nil
	}
	w, err := upgrade(ctx, conn, o)
	if err != nil {
		_ = conn.Close()
		return nil, "", err
	}
	return w, words, nil
}

func agreed(s tls.ConnectionState) string {
	return tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
}
