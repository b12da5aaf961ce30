package pki

import (
	"bytes"
	"crypto/x509"
)

// Overlaps answers a CA of other whose certificates c could accept, or the reverse; nil:
// there is none. Whoever issues claim certificates must not issue clients'.
func (c *Clients) Overlaps(other *Clients) *x509.Certificate {
	for _, x := range other.cas {
		if c.knows(x) {
			return x
		}
	}
	for _, x := range c.cas {
		if other.knows(x) {
			return x
		}
	}
	return nil
}

// knows tells whether x is one of the CAs of c, by its key, or below one of them. Time does
// not matter: it would only hide the one until the other is renewed.
func (c *Clients) knows(x *x509.Certificate) bool {
	for _, ca := range c.cas {
		if bytes.Equal(ca.RawSubjectPublicKeyInfo, x.RawSubjectPublicKeyInfo) || x.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}
