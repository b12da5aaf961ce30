package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

// A client knows roots, and gets everything between them and the server certificate from
// the server. Whether a file has everything is certain in two cases only, and it is refused
// in those: a certificate is followed by one that has not issued it (a gap), and a
// certificate that public CAs have logged stands alone, because those may issue nothing
// from a root. Otherwise the issuer of the last one may be a root that clients have and we
// do not, as those of a private CA: that is a warning.

// oidSCTs marks a certificate that certificate transparency has logged (RFC 6962 §3.3).
var oidSCTs = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// gapFault says that a certificate of a chain was not issued by the next one, and which of
// the two mistakes that is.
func gapFault(chain []*x509.Certificate, i int, file string) error {
	c, next := chain[i], chain[i+1]
	for _, x := range chain {
		if x != c && bytes.Equal(x.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(x) == nil {
			return fmt.Errorf("certificate %d in %s (%s) was not issued by the next one (%s): put the certificate itself first and then each issuer", i+1, file, c.Subject, next.Subject)
		}
	}
	return fmt.Errorf("certificate %d in %s (%s) was not issued by the next one (%s): the chain is incomplete, because its issuer (%s) is not in the file, and clients could not get to a root: add that one's certificate behind it", i+1, file, c.Subject, next.Subject, c.Issuer)
}

// aloneFault refuses a certificate that needs another one and has none.
func aloneFault(chain []*x509.Certificate, file string) error {
	leaf := chain[0]
	if len(chain) > 1 || selfIssued(leaf) || !slices.ContainsFunc(leaf.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSCTs) }) {
		return nil
	}
	return fmt.Errorf("the chain in %s is incomplete: the certificate (%s) is of a public CA, which issues from an intermediate (%s), and that one is not in the file, so that clients could not get to a root: give the full chain, which is what most tools call fullchain.pem", file, leaf.Subject, leaf.Issuer)
}

// ReadChain reads the certificates of a file that others cannot change, and judges nothing
// else.
func ReadChain(file string) ([]*x509.Certificate, error) {
	b, err := ReadGuarded(file)
	if err != nil {
		return nil, err
	}
	return parseChain(b, file)
}

// SystemRoots are the roots this system trusts; none where it has no list of them.
func SystemRoots() *x509.CertPool {
	if p, err := x509.SystemCertPool(); err == nil {
		return p
	}
	return x509.NewCertPool()
}

// rootKnown tells whether the issuer of a chain's last certificate, or that one, is a root
// among these.
func rootKnown(last *x509.Certificate, roots *x509.CertPool, now time.Time) bool {
	if roots == nil {
		return false
	}
	_, err := last.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// OpenEnd is the name of the issuer at which the chain of a server certificate ends, if
// that one is not in the chain, no root among roots, and none of others: clients that do
// not know it as a root will refuse the certificate. Empty: the chain is whole.
func OpenEnd(c *tls.Certificate, roots *x509.CertPool, others []*x509.Certificate, now time.Time) string {
	last, err := x509.ParseCertificate(c.Certificate[len(c.Certificate)-1])
	if err != nil || selfIssued(last) || rootKnown(last, roots, now) {
		return ""
	}
	for _, x := range others {
		if bytes.Equal(x.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(x) == nil {
			return ""
		}
	}
	return last.Issuer.String()
}

// CAs are the certificates of client_ca, for OpenEnd.
func (c *Clients) CAs() []*x509.Certificate { return c.cas }
