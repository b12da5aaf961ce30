package pki

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// asDevice makes a certificate a client's.
func asDevice(cn string, serial int64, change ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(serial)
		c.Subject.CommonName, c.DNSNames, c.ExtKeyUsage = cn, nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for _, ch := range change {
			ch(c)
		}
	}
}

// asListing makes a CA that may sign lists.
func asListing(cn string, serial int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		asCA(cn)(c)
		c.SerialNumber, c.KeyUsage = big.NewInt(serial), x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
}

// crl is a list of ca's that names these serial numbers, in DER.
func crl(t *testing.T, ca *cert, change func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: t0.Add(-time.Hour), NextUpdate: t0.Add(24 * time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: t0.Add(-2 * time.Hour)})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.x, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemCRL(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func put2(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// trust is the certificates of a matrix.
type trust struct{ root, between, other *cert }

func newTrust(t *testing.T) *trust {
	root := makeCert(t, p256(t), nil, asListing("device root", 1))
	return &trust{
		root: root, between: makeCert(t, p256(t), root, asListing("device CA", 2)),
		other: makeCert(t, p256(t), nil, asListing("somebody else", 1)),
	}
}

func (tr *trust) clients(t *testing.T, ask ClientCert, lists ...[]byte) *Clients {
	t.Helper()
	c := &Clients{Ask: ask, Depth: 5, Identity: IdentityCN}
	if err := c.LoadClientCAs([]string{put2(t, certPEM(tr.root, tr.between))}, t0); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, l := range lists {
		files = append(files, put2(t, l))
	}
	if err := c.LoadRevoked(files, 0); err != nil {
		t.Fatal(err)
	}
	return c
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("name%d.example", i))
	}
	return names
}

// chainOf is a device's certificate with n CAs between itself and the root, and without it.
func chainOf(t *testing.T, root *cert, n int) (shown []*cert) {
	t.Helper()
	issuer := root
	for i := range n {
		issuer = makeCert(t, p256(t), issuer, asListing(string(rune('A'+i)), int64(100+i)))
		shown = append([]*cert{issuer}, shown...)
	}
	return append([]*cert{makeCert(t, p256(t), issuer, asDevice("dev", 10))}, shown...)
}

// TestWhoIsLetInByCertificate is every control in both versions of TLS, each beside one that
// differs from it in nothing else and is let in.
func TestWhoIsLetInByCertificate(t *testing.T) {
	tr := newTrust(t)
	copied := makeCert(t, p256(t), nil, asListing("device root", 1)) // the same name and another key
	field, notField := makeCert(t, p256(t), tr.root, asListing("field CA", 4)), makeCert(t, p256(t), nil, asListing("field CA", 4))
	device := func(issuer *cert, serial int64, change ...func(*x509.Certificate)) *cert {
		return makeCert(t, p256(t), issuer, asDevice("dev", serial, change...))
	}
	lists := [][]byte{pemCRL(crl(t, tr.root, nil)), crl(t, tr.between, nil, 66)}
	rows := []struct {
		what  string
		shown []*cert
		lists [][]byte
		why   string // empty: let in
	}{
		{"one of the CA between", []*cert{device(tr.between, 10), tr.between}, lists, ""},
		{"one of the root", []*cert{device(tr.root, 10)}, lists, ""},
		{"without the certificate between, which we have", []*cert{device(tr.between, 10)}, lists, ""},
		{"other CA", []*cert{device(tr.other, 10)}, lists, "was not issued by a CA of client_ca"},
		{"other CA, which it sends", []*cert{device(tr.other, 10), tr.other}, lists, "was not issued by a CA of client_ca"},
		{"a copy of the CA's name", []*cert{device(copied, 10), copied}, lists, "was not issued by a CA of client_ca"},
		{"signed by itself with the CA's name", []*cert{copied}, lists, "is the certificate of a CA"},
		{"the CA's own", []*cert{tr.between}, lists, "is the certificate of a CA"},
		{"expired", []*cert{device(tr.root, 10, func(c *x509.Certificate) { c.NotAfter = t0.Add(-time.Minute) })}, lists, "expired on"},
		{"not yet valid", []*cert{device(tr.root, 10, func(c *x509.Certificate) { c.NotBefore = t0.Add(time.Minute) })}, lists, "check the clock"},
		{"a server's", []*cert{device(tr.root, 10, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, lists, "lacks clientAuth"},
		{"revoked", []*cert{device(tr.between, 66), tr.between}, lists, "was revoked by its issuer"},
		{"that number at the other CA", []*cert{device(tr.root, 66)}, lists, ""},
		{"CA between revoked", []*cert{device(tr.between, 10), tr.between}, [][]byte{crl(t, tr.root, nil, 2), lists[1]}, "was revoked by its issuer"},
		{"no list of the CA between", []*cert{device(tr.between, 10)}, lists[:1], "there is no revocation list of CN=device CA"},
		{"no list of the root", []*cert{device(tr.between, 10)}, lists[1:], "there is no revocation list of CN=device root"},
		{"an old list", []*cert{device(tr.root, 10)}, [][]byte{crl(t, tr.root, func(l *x509.RevocationList) { l.NextUpdate = t0.Add(-time.Minute) })}, "should have been followed by another"},
		{"an old list that names it", []*cert{device(tr.root, 10)}, [][]byte{crl(t, tr.root, func(l *x509.RevocationList) { l.NextUpdate = t0.Add(-time.Minute) }, 10)}, "was revoked"},
		{"an old list and a new one", []*cert{device(tr.root, 10)}, [][]byte{crl(t, tr.root, func(l *x509.RevocationList) { l.NextUpdate = t0.Add(-time.Minute) }), lists[0]}, ""},
		{"a list from the future", []*cert{device(tr.root, 10)}, [][]byte{crl(t, tr.root, func(l *x509.RevocationList) { l.ThisUpdate = t0.Add(time.Hour) })}, "in the future"},
		{"a list of a CA that only the client sends", []*cert{device(field, 10), field}, [][]byte{lists[0], crl(t, field, nil)}, ""},
		{"one that somebody else has signed", []*cert{device(field, 10), field}, [][]byte{lists[0], crl(t, notField, nil)}, "was not signed by CN=field CA"},
		{"one of somebody else that names it", []*cert{device(field, 10), field}, [][]byte{lists[0], crl(t, field, nil), crl(t, notField, nil, 10)}, ""},
		{"five CAs between", chainOf(t, tr.root, 5), nil, ""},
		{"eight", append(chainOf(t, tr.root, 5), tr.between, tr.root), nil, "was sent with 7 others; with chain_depth 5 the most is 6"},
		{"with very many names", []*cert{device(tr.root, 10, func(c *x509.Certificate) { c.DNSNames = manyNames(3000) })}, nil, "the most is 32768"},
		{"with many names", []*cert{device(tr.root, 10, func(c *x509.Certificate) { c.DNSNames = manyNames(1000) })}, nil, ""},
		{"two of one CA", []*cert{device(field, 10), field, notField}, nil, "two certificates of the CA \"CN=field CA\""},
		{"no name", []*cert{makeCert(t, p256(t), tr.root, asDevice("", 10))}, lists, "names its client 0 times by cn"},
		{"a small key", []*cert{makeCert(t, rsaKey(t, rsa1024), tr.root, asDevice("dev", 10))}, lists, "1024 bits"},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, row := range rows {
			t.Run(tls.VersionName(version)+"/"+row.what, func(t *testing.T) {
				server, client := broker(t, Intermediate)
				clients := tr.clients(t, ClientCertRequired, row.lists...)
				clients.Apply(server, func() time.Time { return t0 })
				client.MinVersion, client.MaxVersion = version, version
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
					c := &tls.Certificate{PrivateKey: row.shown[0].key}
					for _, x := range row.shown {
						c.Certificate = append(c.Certificate, x.x.Raw)
					}
					return c, nil
				}
				_, err, _ := handshake(t, server, client)
				var refused *Refused
				switch {
				case row.why == "" && err != nil:
					t.Fatal(err)
				case row.why != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Why, row.why)):
					t.Fatalf("%v, want %q", err, row.why)
				}
			})
		}
	}
}

// TestNoCertificate is who shows none.
func TestNoCertificate(t *testing.T) {
	tr := newTrust(t)
	for ask, wants := range map[ClientCert]bool{ClientCertNone: true, ClientCertOptional: true, ClientCertRequired: false} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			server, client := broker(t, Intermediate)
			tr.clients(t, ask).Apply(server, func() time.Time { return t0 })
			client.MinVersion, client.MaxVersion = version, version
			if _, err, _ := handshake(t, server, client); (err == nil) != wants {
				t.Errorf("%s, %s: %v", ask, tls.VersionName(version), err)
			}
		}
	}
}

// A certificate that is shown and not accepted is not the same as none, where none is
// accepted.
func TestABadCertificateIsNotNone(t *testing.T) {
	tr := newTrust(t)
	bad := makeCert(t, p256(t), tr.other, asDevice("dev", 10))
	server, client := broker(t, Intermediate)
	tr.clients(t, ClientCertOptional).Apply(server, func() time.Time { return t0 })
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{bad.x.Raw}, PrivateKey: bad.key}, nil
	}
	if _, err, _ := handshake(t, server, client); err == nil {
		t.Error("let in")
	}
}

// A chain is as long as the operator has said, and no longer.
func TestChainDepth(t *testing.T) {
	tr := newTrust(t)
	second := makeCert(t, p256(t), tr.between, asListing("second", 3))
	leaf := makeCert(t, p256(t), second, asDevice("dev", 10))
	c := tr.clients(t, ClientCertRequired)
	c.Revoked = nil
	for depth, wants := range map[int]bool{0: false, 1: false, 2: true} {
		c.Depth = depth
		if _, err := c.Verify([]*x509.Certificate{leaf.x, second.x}, t0); (err == nil) != wants {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// What a certificate says a client is counts only where it says it once.
func TestIdentityOfACertificate(t *testing.T) {
	tr := newTrust(t)
	uri := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	full := makeCert(t, p256(t), tr.root, asDevice("dev", 10, func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses, c.URIs = []string{"dev.example"}, []string{"dev@example.com"}, []*url.URL{uri("urn:dev:1")}
	}))
	two := makeCert(t, p256(t), tr.root, asDevice("dev", 10, func(c *x509.Certificate) {
		c.DNSNames = []string{"dev.example", "admin.example"}
		c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "dev"}, {Type: oidCommonName, Value: "admin"}}
	}))
	for identity, want := range map[Identity]string{
		IdentityCN: "dev", IdentitySANDNS: "dev.example", IdentitySANEmail: "dev@example.com", IdentitySANURI: "urn:dev:1", IdentityFingerprint: Fingerprint(full.x),
	} {
		c := &Clients{Identity: identity}
		if got, err := c.Name(full.x); err != nil || got != want {
			t.Errorf("%s: %q, %v", identity, got, err)
		}
		if got, err := c.Name(two.x); identity != IdentityFingerprint && err == nil {
			t.Errorf("%s: %q of two", identity, got)
		}
	}
}

// What is to be trusted is judged when it is read.
func TestClientCAsAreRefusedInWords(t *testing.T) {
	tr := newTrust(t)
	leaf := makeCert(t, p256(t), tr.root, asDevice("dev", 10))
	for what, row := range map[string]struct {
		content []byte
		why     string
	}{
		"a device's":   {certPEM(leaf), "is not the certificate of a CA"},
		"expired":      {certPEM(makeCert(t, p256(t), nil, func(c *x509.Certificate) { asListing("old", 1)(c); c.NotAfter = t0.Add(-time.Hour) })), "expired on"},
		"weak":         {certPEM(makeCert(t, rsaKey(t, rsa1024), nil, asListing("weak", 1))), "1024 bits"},
		"P-224":        {certPEM(makeCert(t, newECDSA(t, elliptic.P224()), nil, asListing("odd", 1))), "P-224"},
		"may not sign": {certPEM(makeCert(t, p256(t), nil, func(c *x509.Certificate) { asListing("no", 1)(c); c.KeyUsage = x509.KeyUsageCRLSign })), "keyCertSign"},
		"nothing":      {[]byte("x"), "holds no certificate"},
	} {
		c := &Clients{Ask: ClientCertRequired}
		if err := c.LoadClientCAs([]string{put2(t, row.content)}, t0); err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := new(Clients).LoadClientCAs(nil, t0); err == nil {
		t.Error("no CA at all")
	}
}

// Lists that cannot be what they seem are refused when they are read.
func TestListsAreRefusedInWords(t *testing.T) {
	tr := newTrust(t)
	critical := func(id []int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: true, Value: []byte{0x30, 0x00}}}
		}
	}
	copied := makeCert(t, p256(t), nil, asListing("device root", 1))
	for what, row := range map[string]struct {
		content []byte
		why     string
	}{
		"forged":  {crl(t, copied, nil), "was not signed by that CA"},
		"delta":   {crl(t, tr.root, critical([]int{2, 5, 29, 27})), "kind is not understood"},
		"unknown": {crl(t, tr.root, critical([]int{1, 2, 3, 4})), "kind is not understood"},
		"indirect": {crl(t, tr.root, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0x03, 0x84, 0x01, 0xff}}}
		}), "kind is not understood"},
		"a part that has a name of a directory": {crl(t, tr.root, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 8, 0xa0, 6, 0xa0, 4, 0xa4, 2, 0x30, 0}}}
		}), "kind is not understood"},
		"a certificate": {certPEM(tr.root), "is no revocation list"},
		"half":          {crl(t, tr.root, nil, 1, 2, 3)[:100], "is no revocation list"},
		"large":         {make([]byte, 17<<20), "larger than 16 MiB"},
	} {
		c := tr.clients(t, ClientCertRequired)
		if err := c.LoadRevoked([]string{put2(t, row.content)}, 0); err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A list may be about users only, or about CAs only.
func TestListsOfUsersAndOfCAs(t *testing.T) {
	tr := newTrust(t)
	only := func(tag byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0x03, tag, 0x01, 0xff}}}
		}
	}
	leaf := makeCert(t, p256(t), tr.root, asDevice("dev", 10)).x
	for tag, want := range map[byte]string{0x81: "was revoked", 0x82: "there is no revocation list"} {
		c := tr.clients(t, ClientCertRequired, crl(t, tr.root, only(tag), 10))
		if _, err := c.Verify([]*x509.Certificate{leaf}, t0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %v", tag, err)
		}
	}
}

// A session that is resumed is judged by what is known now.
func TestResumedAfterRevocation(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tr := newTrust(t)
		leaf := makeCert(t, p256(t), tr.root, asDevice("dev", 10))
		server, client := broker(t, Intermediate)
		server.Time = func() time.Time { return t0 }
		current := tr.clients(t, ClientCertRequired, crl(t, tr.root, nil))
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := server.Clone()
			now.GetConfigForClient = nil
			current.Apply(now, func() time.Time { return t0 })
			return now, nil
		}
		client.MinVersion, client.MaxVersion = version, version
		client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		client.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.x.Raw}, PrivateKey: leaf.key}}
		again := func() (resumed bool, err error) {
			s, err, _ := exchange(t, server, client)
			return s.DidResume, err
		}
		if _, err := again(); err != nil {
			t.Fatal(err)
		}
		if resumed, err := again(); err != nil || !resumed {
			t.Fatalf("%s: resumed %v, %v", tls.VersionName(version), resumed, err)
		}
		current = tr.clients(t, ClientCertRequired, crl(t, tr.root, nil, 10))
		if _, err := again(); err == nil || !strings.Contains(err.Error(), "was revoked") {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		current = (&trust{root: tr.other, between: tr.other}).clients(t, ClientCertRequired)
		if _, err := again(); err == nil {
			t.Errorf("%s: the CA is not accepted any more, and the client is", tls.VersionName(version))
		}
	}
}

// What is denied is refused without any list, wherever in the chain it is; a number is not
// the root's own.
func TestDenied(t *testing.T) {
	tr := newTrust(t)
	leaf := makeCert(t, p256(t), tr.between, asDevice("dev", 10))
	shown := []*x509.Certificate{leaf.x, tr.between.x}
	for what, row := range map[string]struct {
		entry   string
		refused bool
	}{
		"its number":            {"serial:0A", true},
		"another number":        {"serial:0B", false},
		"its fingerprint":       {revoke.FingerprintID(leaf.x), true},
		"the CA's number":       {"serial:02", true},
		"the CA's fingerprint":  {revoke.FingerprintID(tr.between.x), true},
		"the root's number":     {"serial:01", false},
		"the root's":            {revoke.FingerprintID(tr.root.x), true},
		"another's fingerprint": {revoke.FingerprintID(tr.other.x), false},
	} {
		d, err := revoke.ParseDenied([]string{"serial:ff", row.entry})
		if err != nil {
			t.Fatal(err)
		}
		c := tr.clients(t, ClientCertOptional).Deny(d)
		_, err = c.Verify(shown, t0)
		var refused *Refused
		if (err != nil) != row.refused || row.refused && (!errors.As(err, &refused) || !refused.Revoked || !strings.Contains(err.Error(), "is denied here by its")) {
			t.Errorf("%s: %v", what, err)
		}
		for _, by := range []*Clients{nil, tr.clients(t, ClientCertOptional)} {
			if err := c.WithdrawnSince(by, shown, t0); (err != nil) != row.refused {
				t.Errorf("%s, and connected: %v", what, err)
			}
		}
		if _, err := c.Deny(nil).Verify(shown, t0); err != nil {
			t.Errorf("%s, taken back: %v", what, err)
		}
	}
}

// What closes a live connection is a revocation, and not that nobody can tell.
func TestWithdrawn(t *testing.T) {
	tr := newTrust(t)
	leaf := makeCert(t, p256(t), tr.root, asDevice("dev", 10))
	shown := []*x509.Certificate{leaf.x}
	for what, row := range map[string]struct {
		clients *Clients
		at      time.Time
		gone    bool
	}{
		"good":              {tr.clients(t, ClientCertRequired, crl(t, tr.root, nil)), t0, false},
		"revoked":           {tr.clients(t, ClientCertRequired, crl(t, tr.root, nil, 10)), t0, true},
		"revoked, optional": {tr.clients(t, ClientCertOptional, crl(t, tr.root, nil, 10)), t0, true},
		"an old list":       {tr.clients(t, ClientCertRequired, crl(t, tr.root, nil)), t0.Add(48 * time.Hour), false},
		"no list of its CA": {tr.clients(t, ClientCertRequired, crl(t, tr.between, nil)), t0, false},
		"expired meanwhile": {tr.clients(t, ClientCertRequired), leaf.x.NotAfter.Add(time.Hour), false},
		"CA taken out":      {(&trust{root: tr.other, between: tr.other}).clients(t, ClientCertRequired), t0, true},
		"not asked":         {&Clients{}, t0, false},
	} {
		for _, by := range []*Clients{nil, tr.clients(t, ClientCertRequired)} {
			if err := row.clients.WithdrawnSince(by, shown, row.at); (err != nil) != row.gone {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// What is known to be revoked counts beside what nobody can tell.
func TestRevokedBesideUnknown(t *testing.T) {
	tr := newTrust(t)
	leaf := makeCert(t, p256(t), tr.between, asDevice("dev", 10))
	old := crl(t, tr.between, func(l *x509.RevocationList) { l.NextUpdate = t0.Add(-time.Minute) })
	c := tr.clients(t, ClientCertRequired, crl(t, tr.root, nil, 2), old)
	var refused *Refused
	if _, err := c.Verify([]*x509.Certificate{leaf.x}, t0); !errors.As(err, &refused) || !refused.Revoked {
		t.Errorf("the CA between was revoked: %v", err)
	}
	if err := c.WithdrawnSince(tr.clients(t, ClientCertRequired), []*x509.Certificate{leaf.x}, t0); err == nil {
		t.Error("a client of a CA that was revoked stays, because the list of its own certificate is old")
	}
	if err := tr.clients(t, ClientCertRequired, crl(t, tr.root, nil), old).Withdrawn([]*x509.Certificate{leaf.x}, t0); err != nil {
		t.Errorf("an old list closes a connection: %v", err)
	}
}
