package pki

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// ClientCert is whether a listener asks clients for a certificate.
type ClientCert string

// The answers. A certificate that is shown is judged in any case: one that is not accepted
// is never the same as none.
const (
	ClientCertNone     ClientCert = "none"
	ClientCertOptional ClientCert = "optional"
	ClientCertRequired ClientCert = "required"
)

// Identity is which of its fields names the client of a certificate.
type Identity string

// The fields. All but the fingerprint must be there exactly once: which of two names
// counts would be up to who reads them.
const (
	IdentityCN          Identity = "cn"
	IdentitySANDNS      Identity = "san_dns"
	IdentitySANURI      Identity = "san_uri"
	IdentitySANEmail    Identity = "san_email"
	IdentityFingerprint Identity = "fingerprint" // SHA-256 of the certificate, 64 hexadecimal digits
)

// Clients is how a listener judges certificates of clients. It does not change: a reload
// makes another one. The zero Clients asks for none.
type Clients struct {
	Ask      ClientCert
	Depth    int // most certificates between the client's and the root
	Identity Identity
	Revoked  *revoke.Set    // nil: nothing is looked up
	Denied   *revoke.Denied // nil: nobody is

	roots, between *x509.CertPool
	cas            []*x509.Certificate // of both
}

// Refused is why a client's certificate is not accepted, for whoever runs the broker.
type Refused struct {
	Why     string
	Revoked bool // and it had been good
	Unknown bool // nobody can tell whether it was revoked
}

// Error implements error.
func (r *Refused) Error() string { return "the client's certificate is not accepted: " + r.Why }

func refuse(c *x509.Certificate, format string, args ...any) *Refused {
	return &Refused{Why: Describe(c) + " " + fmt.Sprintf(format, args...)}
}

// Apply makes a listener's configuration ask for certificates and judge them. It judges
// also those of resumed sessions, which were accepted under rules that may have changed.
func (c *Clients) Apply(t *tls.Config, now func() time.Time) {
	switch c.Ask {
	case ClientCertOptional:
		t.ClientAuth = tls.RequestClientCert
	case ClientCertRequired:
		t.ClientAuth = tls.RequireAnyClientCert
	default:
		return
	}
	t.ClientCAs = c.roots // which a client is told, to choose among its certificates
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return nil // crypto/tls has refused it where one is required
		}
		if _, err := c.Verify(s.PeerCertificates, now()); err != nil {
			return err
		}
		_, err := c.Name(s.PeerCertificates[0])
		return err
	}
}

// Verify judges the certificates a client has shown, its own first, and answers the chain
// by which it is accepted, up to the root. Its errors are *Refused.
func (c *Clients) Verify(shown []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	leaf := shown[0]
	if r := c.crowded(shown); r != nil {
		return nil, r
	}
	if leaf.IsCA {
		return nil, refuse(leaf, "is the certificate of a CA, and a client needs one of its own")
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < rsaBitsMin {
		return nil, refuse(leaf, "has an RSA key of %d bits; the least is %d", key.N.BitLen(), rsaBitsMin)
	}
	between := c.between
	if len(shown) > 1 {
		between = c.between.Clone()
		for _, x := range shown[1:] {
			between.AddCert(x)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, refuse(leaf, "%s", c.explain(leaf, err, now))
	}
	var refused *Refused
	for _, chain := range chains {
		r := c.judge(chain, now)
		if r == nil {
			return chain, nil
		}
		if refused == nil || !refused.Revoked {
			refused = r
		}
	}
	return nil, refused
}

// judge is what there is against one way to a root.
func (c *Clients) judge(chain []*x509.Certificate, now time.Time) *Refused {
	if len(chain)-2 > c.Depth {
		return refuse(chain[0], "has %d certificates between itself and the root, and chain_depth is %d", len(chain)-2, c.Depth)
	}
	if r := c.Denied.Check(chain); r != nil {
		return &Refused{Why: r.Why, Revoked: true}
	}
	if c.Revoked != nil {
		if r := c.Revoked.Check(chain, now); r != nil {
			return &Refused{Why: r.Why, Revoked: r.Revoked, Unknown: !r.Revoked}
		}
	}
	return nil
}

// Name is who the client of a certificate is, that Verify has accepted.
func (c *Clients) Name(leaf *x509.Certificate) (string, error) {
	var names []string
	switch c.Identity {
	case IdentityFingerprint:
		return Fingerprint(leaf), nil
	case IdentitySANDNS:
		names = leaf.DNSNames
	case IdentitySANEmail:
		names = leaf.EmailAddresses
	case IdentitySANURI:
		for _, u := range leaf.URIs {
			names = append(names, u.String())
		}
	default:
		for _, n := range leaf.Subject.Names {
			if s, ok := n.Value.(string); ok && n.Type.Equal(oidCommonName) {
				names = append(names, s)
			}
		}
	}
	if len(names) != 1 || names[0] == "" {
		return "", refuse(leaf, "names its client %d times by %s, which is the listener's tls.identity, and should once", len(names), c.Identity)
	}
	return names[0], nil
}

var oidCommonName = []int{2, 5, 4, 3}

// Fingerprint is the SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` has
// it but in lower case and without colons.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Describe is a certificate in words by which an operator finds it. What a client wrote
// into it is quoted.
func Describe(c *x509.Certificate) string {
	return fmt.Sprintf("certificate %x of %q", c.SerialNumber, c.Subject.String())
}

// LoadClientCAs reads the CAs whose clients a listener accepts. A certificate that is not a
// root stands between, if one of the others has issued it; otherwise it is trusted as a root
// is, and nobody asks whether it was revoked.
func (c *Clients) LoadClientCAs(files []string, now time.Time) error {
	c.roots, c.between = x509.NewCertPool(), x509.NewCertPool()
	var all []*x509.Certificate
	for _, file := range files {
		b, err := ReadGuarded(file)
		if err != nil {
			return fmt.Errorf("client CA: %w", err)
		}
		chain, err := parseChain(b, file)
		if err != nil {
			return fmt.Errorf("client CA: %w", err)
		}
		for i, x := range chain {
			if err := checkClientCA(x, fmt.Sprintf("certificate %d in %s (%s)", i+1, file, x.Subject), now); err != nil {
				return err
			}
		}
		all = append(all, chain...)
	}
	if len(all) == 0 {
		return errors.New("no client CA is named: nobody's certificate could be accepted. Name the CA of your devices in client_ca")
	}
	c.cas = all
	for _, x := range all {
		if between(x, all) {
			c.between.AddCert(x)
		} else {
			c.roots.AddCert(x)
		}
	}
	return nil
}

// between tells whether one of all, which is not x, has issued x.
func between(x *x509.Certificate, all []*x509.Certificate) bool {
	if bytes.Equal(x.RawSubject, x.RawIssuer) {
		return false
	}
	for _, ca := range all {
		if !ca.Equal(x) && bytes.Equal(ca.RawSubject, x.RawIssuer) && x.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}

func checkClientCA(x *x509.Certificate, what string, now time.Time) error {
	if !x.IsCA || !x.BasicConstraintsValid {
		return fmt.Errorf("%s is not the certificate of a CA: clients are accepted by who has issued their certificates; name that one in client_ca", what)
	}
	if x.KeyUsage != 0 && x.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%s may not issue certificates: its key usage lacks keyCertSign", what)
	}
	return checkCertificate(x, bytes.Equal(x.RawSubject, x.RawIssuer), what, now)
}

// Withdrawn tells whether one of the certificates a live client has shown was revoked since,
// or its CA is not accepted any more. A list that has become old closes nobody's
// connection, and neither does time: who comes anew is asked again.
func (c *Clients) Withdrawn(shown []*x509.Certificate, now time.Time) error {
	if len(shown) == 0 || c.Ask == "" || c.Ask == ClientCertNone {
		return nil
	}
	at := now
	for _, x := range shown {
		if at.After(x.NotAfter) {
			at = x.NotAfter
		}
	}
	_, err := c.Verify(shown, at)
	if r := (*Refused)(nil); errors.As(err, &r) && r.Unknown {
		return nil
	}
	return err
}

// explain says what package x509 has against a certificate, and what to do.
func (c *Clients) explain(leaf *x509.Certificate, err error, now time.Time) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("is not valid before %s and it is %s here: check the clock", day(leaf.NotBefore), day(now))
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("expired on %s: renew it", day(leaf.NotAfter))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("was issued by a CA that is not valid now (%s): renew the CA's certificate", invalid.Detail)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "is not for clients: its extended key usage, or that of its CA, lacks clientAuth"
	case errors.As(err, &unknown):
		return fmt.Sprintf("was not issued by a CA of client_ca: it says %q; where a CA stands between, the client has to send its certificate, too", leaf.Issuer.String())
	}
	return err.Error()
}

// ParseClientCert reads a value of tls.client_cert.
func ParseClientCert(s string) (ClientCert, error) {
	switch c := ClientCert(s); c {
	case ClientCertNone, ClientCertOptional, ClientCertRequired:
		return c, nil
	}
	return "", fmt.Errorf("tls.client_cert %q is not known; it is %s", s, strings.Join([]string{string(ClientCertNone), string(ClientCertOptional), string(ClientCertRequired)}, ", "))
}
