package pki

import (
	"crypto/x509"
	"slices"
	"time"
)

// WithdrawnSince is Withdrawn for a client whom by has accepted, when its handshake began; nil:
// nobody knows by what it was. Signatures that were good are not verified again while the
// CAs are the same, so that a pass over a million connections takes seconds.
func (c *Clients) WithdrawnSince(by *Clients, shown []*x509.Certificate, now time.Time) error {
	if c.untouched(by, shown) {
		return nil
	}
	return c.Withdrawn(shown, now)
}

// untouched tells whether nothing that c knows names a certificate of the client, or one of
// the CAs. It looks at each by itself, whoever has issued it: a chain that Verify would find
// is made of no others. Where it says no, Verify has the word.
func (c *Clients) untouched(by *Clients, shown []*x509.Certificate) bool {
	switch {
	case by == nil || c.Depth != by.Depth || !slices.EqualFunc(c.cas, by.cas, (*x509.Certificate).Equal):
		return false
	case c.Revoked != nil && c.Revoked.Responders != nil: // what they say is asked for by chain
		return false
	}
	for _, list := range [...][]*x509.Certificate{shown, c.cas} {
		for _, x := range list {
			if c.Revoked.Mentions(x) || c.Denied.Mentions(x, shown, c.cas) {
				return false
			}
		}
	}
	return true
}
