package main

import (
	"crypto/tls"
	"crypto/x509"
	"sync"

	"github.com/redoubtmq/redoubt/pki"
)

// systemRoots are read once: reading them takes tens of milliseconds.
var systemRoots = sync.OnceValue(pki.SystemRoots)

// sayOpenEnds tells of server certificates of a listener whose chain ends at an issuer that
// nobody here knows: only clients can tell whether they do.
func (n *node) sayOpenEnds(l *door) {
	p := l.certs.Load()
	if p == nil || p == n.pki.Provider() {
		return
	}
	known := []*x509.Certificate{n.pki.CA()}
	if c := l.Clients.Load(); c != nil {
		known = append(known, c.CAs()...)
	}
	for _, c := range p.Certificates() {
		if issuer := openEnd(c, known, n); issuer != "" {
			n.log.Warn("the chain of a server certificate ends at an issuer that is not in its file, and this system does not know as a root; clients that do not know it either will refuse the certificate: add the issuer's certificate to the file, unless every client has it",
				"listener", l.Name, "certificate", pki.Describe(c.Leaf), "issuer", issuer)
		}
	}
}

func openEnd(c *tls.Certificate, known []*x509.Certificate, n *node) string {
	if issuer := pki.OpenEnd(c, nil, known, n.clock.Now()); issuer == "" {
		return ""
	}
	return pki.OpenEnd(c, systemRoots(), known, n.clock.Now())
}
