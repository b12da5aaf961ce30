package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// control is one reason not to let a client in, beside what differs in nothing else and
// gets in.
type control struct {
	what  string
	shown tls.Certificate
	said  string // in the log; empty: it gets in
}

// TestClientCertificateMatrix (P3.4, P3.5) is every control at every kind of listener in both
// versions of TLS, where a certificate is required and where one is only asked for: a bad
// one is not the same as none. What counts is the first byte that is read.
func TestClientCertificateMatrix(t *testing.T) {
	t.Parallel()
	ca, other := newDeviceCA(t, "devices"), newDeviceCA(t, "others")
	between, gone := ca.authority(fieldCA("field CA"), nil), ca.authority(fieldCA("old field CA"), nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	device := func(change ...func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "dev-1"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, f := range change {
			f(c)
		}
		return c
	}
	show := func(chain ...[]byte) tls.Certificate { return tls.Certificate{Certificate: chain, PrivateKey: key} }
	lost := ca.certify(device(), key.Public(), nil)
	revoked, err := x509.ParseCertificate(lost)
	if err != nil {
		t.Fatal(err)
	}
	copied := ca.copied()
	rows := []control{
		{"of the CA", show(ca.certify(device(), key.Public(), nil)), ""},
		{"of a CA between", show(ca.certify(device(), key.Public(), between), between.cert.Raw), ""},
		{"none", tls.Certificate{}, "has shown no certificate"},
		{"of another CA", show(other.certify(device(), key.Public(), nil)), "was not issued by a CA of client_ca"},
		{"of a copy of the CA's name", show(ca.certify(device(), key.Public(), copied), copied.cert.Raw), "was not issued by a CA of client_ca"},
		{"a copy of the CA itself", tls.Certificate{Certificate: [][]byte{copied.cert.Raw}, PrivateKey: copied.key}, "is the certificate of a CA"},
		{"expired", show(ca.certifyAt(device(), key.Public(), -2*time.Hour, -time.Minute)), "expired on"},
		{"not yet valid", show(ca.certifyAt(device(), key.Public(), time.Hour, 2*time.Hour)), "is not valid before"},
		{"for servers", show(ca.certify(device(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), key.Public(), nil)), "is not for clients"},
		{"revoked", show(lost), "was revoked by its issuer"},
		{"of a CA between that was revoked", show(ca.certify(device(), key.Public(), gone), gone.cert.Raw), "was revoked by its issuer"},
	}
	ca.revoke(revoked, gone.cert)
	testkit.WriteFile(t, ca.path("crls.pem"), readFile(t, ca.path("crl.pem")))
	ca.revokeAs(between, "field.pem")
	ca.revokeAs(gone, "gone.pem")
	entry := func(name, protocol string, port int, ask string) string {
		return fmt.Sprintf("  %s:\n    protocol: %s\n    bind: [\"127.0.0.1:%d\"]\n    authn: certificates\n    tls: {client_cert: %s, client_ca: [%s], crl: {files: [%s, %s, %s]}}\n",
			name, protocol, port, ask, ca.path("ca.pem"), ca.path("crls.pem"), ca.path("field.pem"), ca.path("gone.pem"))
	}
	ports := []int{testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t)}
	b := testkit.Start(t, testkit.Options{
		Listeners: entry("must", "mqtts", ports[0], "required") + entry("webmust", "wss", ports[1], "required") + entry("may", "mqtts", ports[2], "optional") + entry("webmay", "wss", ports[3], "optional") +
			entry("quicmust", "quic", ports[4], "required") + entry("quicmay", "quic", ports[5], "optional"),
		Config: "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
	kept := ca.certify(device(), key.Public(), nil)
	var tickets []func() (resumed bool, err error)
	for i, name := range []string{"must", "webmust", "may", "webmay", "quicmust", "quicmay"} {
		d := door{name: name + " asks", port: ports[i], web: i < 4 && i%2 == 1, quic: i > 3, no: byte(i)}
		versions := []uint16{tls.VersionTLS12, tls.VersionTLS13}
		if d.quic {
			versions = versions[1:] // which has no other
		}
		for _, version := range versions {
			conf := d.trusting(t, b, version)
			conf.ClientSessionCache, conf.ServerName = tls.NewLRUClientSessionCache(1), "localhost"
			conf.Certificates = []tls.Certificate{show(kept)}
			again := func() (bool, error) {
				c, err := d.greets(source(20, d, int(version-tls.VersionTLS12)), conf)
				if err != nil {
					return false, fmt.Errorf("%s %s: %w", name, tls.VersionName(version), err)
				}
				_ = c.Close()
				return c.ConnectionState().DidResume, nil
			}
			if _, err := again(); err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, again)
			for n, row := range rows {
				if row.shown.Certificate == nil && strings.HasSuffix(name, "may") {
					continue // where it is only asked for, none is let go on to CONNECT
				}
				t.Run(fmt.Sprintf("%s %s %s", name, tls.VersionName(version), row.what), func(t *testing.T) {
					conf := d.trusting(t, b, version)
					conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &row.shown, nil }
					from := b.Stderr.Len()
					c, err := d.greets(source(n, d, int(version-tls.VersionTLS12)), conf)
					switch {
					case row.said == "" && err != nil:
						t.Fatalf("it does not get in: %v\n%s", err, b.Stderr.String()[from:])
					case row.said == "":
						_ = c.Close()
					case err == nil:
						_ = c.Close()
						t.Error("it gets in")
					case errors.Is(err, os.ErrDeadlineExceeded):
						t.Error("it is not closed")
					default:
						if _, ok := b.Stderr.WaitFor(patience, from, row.said); !ok {
							t.Errorf("the log does not say %q\n%s", row.said, b.Stderr.String()[from:])
						}
					}
				})
			}
		}
	}
	for _, again := range tickets {
		if resumed, err := again(); err != nil || !resumed {
			t.Errorf("before the revocation: resumed %v, %v", resumed, err)
		}
	}
	withdrawn := sure(x509.ParseCertificate(kept))
	ca.revoke(revoked, gone.cert, withdrawn)
	testkit.WriteFile(t, ca.path("crls.pem"), readFile(t, ca.path("crl.pem")))
	must(t, b, "reload")
	for _, again := range tickets {
		if _, err := again(); err == nil {
			t.Error("a ticket outlives the revocation of its certificate")
		}
	}
}

// trusting is how a client of this version comes to the door.
func (d door) trusting(t *testing.T, b *testkit.Broker, version uint16) *tls.Config {
	t.Helper()
	conf := trust(t, b)
	conf.MaxVersion = version
	if d.web {
		conf.NextProtos = []string{"http/1.1"}
	}
	return conf
}

// fieldCA is the template of a CA between.
func fieldCA(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

// certifyAt is certify for a time of its own, from now.
func (ca *deviceCA) certifyAt(tmpl *x509.Certificate, key any, begins, ends time.Duration) []byte {
	ca.t.Helper()
	c := *tmpl
	ca.n++
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(ca.n), true
	c.NotBefore, c.NotAfter = time.Now().Add(begins), time.Now().Add(ends)
	return sure(x509.CreateCertificate(rand.Reader, &c, ca.cert, key, ca.key))
}

// copied is a CA of the same name and another key.
func (ca *deviceCA) copied() *authority {
	ca.t.Helper()
	x, key := ca.sign(&x509.Certificate{Subject: ca.cert.Subject, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, nil)
	return &authority{x, key}
}

// revokeAs writes an empty list of a CA between.
func (ca *deviceCA) revokeAs(by *authority, name string) {
	ca.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	ca.write(name, "X509 CRL", sure(x509.CreateRevocationList(rand.Reader, l, by.cert, by.key)))
}
