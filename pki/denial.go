package pki

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// CertificateID is the entry of a denylist for the first certificate in a file, in PEM or
// DER. Who may write the file is not asked: it names a certificate and decides nothing.
func CertificateID(file string) (string, error) {
	b, _, err := (&Lint{}).open(file, OwnerWrites)
	if err != nil {
		return "", err
	}
	var x *x509.Certificate
	if block, _ := pem.Decode(b); block == nil && len(b) > 0 && b[0] == 0x30 {
		if x, err = x509.ParseCertificate(b); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
	} else {
		chain, err := parseChain(b, file)
		if err != nil {
			return "", err
		}
		x = chain[0]
	}
	return revoke.FingerprintID(x), nil
}

// Deny is c with another list of what is denied.
func (c *Clients) Deny(d *revoke.Denied) *Clients {
	if c == nil {
		return nil
	}
	next := *c
	next.Denied = d
	return &next
}
