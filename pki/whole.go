package pki

import (
	"crypto/x509"
	"encoding/asn1"
)

// whole tells whether a certificate is what its issuer has signed, the signature, and nothing
// else. Package x509 passes over bytes behind the signature and takes one that is shifted by
// some bits. Whoever has a certificate could write it in any number of ways, each with a
// fingerprint of its own: one that nobody has denied, and that no responder was asked about.
func whole(x *x509.Certificate) bool {
	var outer, part asn1.RawValue
	if rest, err := asn1.Unmarshal(x.Raw, &outer); err != nil || len(rest) > 0 {
		return false
	}
	rest := outer.Bytes
	for range 2 { // what is signed, and the algorithm, which is in there, too, and was compared
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return false
		}
	}
	rest, err := asn1.Unmarshal(rest, &part)
	return err == nil && len(rest) == 0 && part.Tag == asn1.TagBitString && len(part.Bytes) > 1 && part.Bytes[0] == 0
}
