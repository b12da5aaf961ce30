package pki

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// Provider hands a certificate to each handshake. Set swaps all of them at once;
// handshakes never wait and never see a mixture. The zero Provider has none and
// fails every handshake.
type Provider struct {
	certs atomic.Pointer[[]*tls.Certificate]
}

// NewProvider starts with these certificates; see Set.
func NewProvider(certs ...*tls.Certificate) *Provider {
	p := &Provider{}
	p.Set(certs...)
	return p
}

// Set replaces all certificates. The first one is for clients that name no
// server or one that nobody has. The caller must not change them afterwards.
func (p *Provider) Set(certs ...*tls.Certificate) {
	c := append([]*tls.Certificate(nil), certs...)
	p.certs.Store(&c)
}

// NotAfter is when the first of the certificates expires; zero without any.
func (p *Provider) NotAfter() time.Time {
	var first time.Time
	for _, c := range p.list() {
		if first.IsZero() || c.Leaf.NotAfter.Before(first) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

// Certificates are the current ones.
func (p *Provider) Certificates() []*tls.Certificate {
	return append([]*tls.Certificate(nil), p.list()...)
}

func (p *Provider) list() []*tls.Certificate {
	if c := p.certs.Load(); c != nil {
		return *c
	}
	return nil
}

// errServerName is for a name that is none: bytes that no host name has, such as
// NUL, are there to be read differently by somebody else (D-05).
var errServerName = errors.New("pki: the server name the client asks for is not a host name")

func hostName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(name) < 256
}

var errNoCertificate = errors.New("pki: no server certificate is loaded")

// GetCertificate is for tls.Config: the first certificate that has the name the
// client asks for and a key it understands; then, for an unknown name, one with
// a key it understands; then the first. A client that gets the wrong name says
// so better than a handshake alert could.
func (p *Provider) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello != nil && !hostName(hello.ServerName) {
		return nil, errServerName
	}
	certs := p.list()
	switch len(certs) {
	case 0:
		return nil, errNoCertificate
	case 1:
		return certs[0], nil
	}
	for _, c := range certs {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	nameless := *hello
	nameless.ServerName = ""
	for _, c := range certs {
		if nameless.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return certs[0], nil
}
