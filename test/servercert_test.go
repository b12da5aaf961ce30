package test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// serverCA is a private CA of server certificates.
type serverCA struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	n    int64
}

func newServerCA(t *testing.T, name string) *serverCA {
	t.Helper()
	ca := &serverCA{t: t, dir: testkit.TempDir(t), n: 99}
	ca.key = ecKey(t)
	ca.cert = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, ca.key.Public())
	ca.write("ca.pem", "CERTIFICATE", ca.cert.Raw)
	ca.writeKey("ca.key", ca.key)
	return ca
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *serverCA) path(name string) string { return filepath.Join(ca.dir, name) }

func (ca *serverCA) write(name, kind string, der []byte) {
	ca.t.Helper()
	testkit.WriteFile(ca.t, ca.path(name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func (ca *serverCA) writeKey(name string, key crypto.Signer) {
	ca.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(name, "PRIVATE KEY", der)
}

// sign makes a certificate; the first is the CA's own.
func (ca *serverCA) sign(tmpl *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	ca.t.Helper()
	ca.n++
	tmpl.SerialNumber, tmpl.BasicConstraintsValid = big.NewInt(ca.n), true
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(60*24*time.Hour)
	}
	parent := ca.cert
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return x
}

// server makes FILE.pem, which holds the chain, and FILE.key.
func (ca *serverCA) server(file, host string, key crypto.Signer, change ...func(*x509.Certificate)) *x509.Certificate {
	ca.t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, f := range change {
		f(tmpl)
	}
	x := ca.sign(tmpl, key.Public())
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})...)
	ca.writeKey(file+".key", key)
	testkit.WriteFile(ca.t, ca.path(file+".pem"), string(chain))
	return x
}

// listener is the entry of one that has these pairs, two spaces in.
func (ca *serverCA) listener(port int, files ...string) string {
	var pairs []string
	for _, f := range files {
		pairs = append(pairs, fmt.Sprintf("{cert: %s, key: \"file:%s\"}", ca.path(f+".pem"), ca.path(f+".key")))
	}
	return fmt.Sprintf("  public:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    tls:\n      certificates: [%s]\n", port, strings.Join(pairs, ", "))
}

// openssl asks a port for its certificate, and answers all that s_client says.
func openssl(t *testing.T, port int, flags ...string) testkit.Run {
	t.Helper()
	return testkit.Exec(t, patience, "", append([]string{"openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port)}, flags...)...)
}

// leafOf is the certificate that s_client was shown; nil: none.
func leafOf(t *testing.T, r testkit.Run) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(r.Stdout))
	if block == nil {
		return nil
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestCertificatesOfOneListener (P3.3): with an ECDSA and an RSA certificate for one name, and
// one for another, each client gets the one it names and can use, in both versions, from both
// kinds of key; openssl says which, and that the chain leads to the root.
func TestCertificatesOfOneListener(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	ca := newServerCA(t, "plant CA")
	ec := ca.server("a-ec", "a.example", ecKey(t))
	rs := ca.server("a-rsa", "a.example", rsaKey(t))
	other := ca.server("b-ec", "b.example", ecKey(t))
	port := testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{Listeners: ca.listener(port, "a-ec", "a-rsa", "b-ec")})
	for _, row := range []struct {
		what  string
		flags string
		want  *x509.Certificate
	}{
		{"1.3, both kinds", "-tls1_3 -servername a.example", ec},
		{"1.3, only RSA", "-tls1_3 -servername a.example -sigalgs rsa_pss_rsae_sha256", rs},
		{"1.3, only ECDSA", "-tls1_3 -servername a.example -sigalgs ecdsa_secp256r1_sha256", ec},
		{"1.3, names the other", "-tls1_3 -servername b.example", other},
		{"1.3, names nobody", "-tls1_3 -noservername", ec},
		{"1.2, both kinds", "-tls1_2 -servername a.example", ec},
		{"1.2, only RSA", "-tls1_2 -servername a.example -cipher ECDHE-RSA-AES128-GCM-SHA256", rs},
		{"1.2, only RSA signatures", "-tls1_2 -servername a.example -sigalgs rsa_pss_rsae_sha256", rs},
		{"1.2, only ECDSA", "-tls1_2 -servername a.example -cipher ECDHE-ECDSA-AES128-GCM-SHA256", ec},
		{"1.2, names the other", "-tls1_2 -servername b.example", other},
		{"1.2, names nobody and only RSA", "-tls1_2 -noservername -cipher ECDHE-RSA-CHACHA20-POLY1305", rs},
		{"1.3, names what is not here", "-tls1_3 -servername c.example", ec},
	} {
		r := openssl(t, port, append(strings.Fields(row.flags), "-alpn", "mqtt", "-CAfile", ca.path("ca.pem"))...)
		got := leafOf(t, r)
		if got == nil || !got.Equal(row.want) {
			t.Errorf("%s: got %v\n%s", row.what, got, r.Text())
			continue
		}
		for _, want := range []string{"Verify return code: 0 (ok)", "ALPN protocol: mqtt"} {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("%s: no %q\n%s", row.what, want, r.Text())
			}
		}
	}
	// Whoever can do only the other kind of key with the name of one gets no handshake.
	if r := openssl(t, port, "-tls1_3", "-servername", "b.example", "-sigalgs", "ed25519"); leafOf(t, r) != nil {
		t.Errorf("a client that can use none of the keys got %s\n%s\n%s", leafOf(t, r).Subject, r.Text(), b.Log())
	}
}

// TestARenewalThatLooksTheSame (P3.3): a new certificate whose file has the size and the time
// of the old one is served within seconds all the same, because what is served is compared
// with what is in the file; status and metrics say what is served.
func TestARenewalThatLooksTheSame(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	ca := newServerCA(t, "plant CA")
	key := rsaKey(t) // every signature has the same length: that of the CA's key
	ca.key = rsaKey(t)
	ca.cert = nil
	ca.cert = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "plant CA"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, ca.key.Public())
	old := ca.server("a", "a.example", key)
	was, err := os.Stat(ca.path("a.pem"))
	if err != nil {
		t.Fatal(err)
	}
	keyWas, err := os.Stat(ca.path("a.key"))
	if err != nil {
		t.Fatal(err)
	}
	port := testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{Listeners: ca.listener(port, "a")})
	if got := leafOf(t, openssl(t, port)); !got.Equal(old) {
		t.Fatal("not the first certificate")
	}
	renewed := ca.server("a", "a.example", key)
	for name, info := range map[string]os.FileInfo{"a.pem": was, "a.key": keyWas} {
		if err := os.Chtimes(ca.path(name), info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if now, err := os.Stat(ca.path(name)); err != nil || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
			t.Fatalf("%s looks different: %v, %v", name, now, err)
		}
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, "files of a listener were read again", `"listener":"public"`); !ok {
		t.Fatal(b.Log())
	}
	if got := leafOf(t, openssl(t, port)); !got.Equal(renewed) {
		t.Errorf("it serves %x", got.SerialNumber)
	}
	status := b.Redoubt("", "status")
	if want := fmt.Sprintf("public: a.example, until %s, of %s\n", renewed.NotAfter.UTC().Format("2006-01-02"), ca.path("a.pem")); !strings.Contains(status.Stdout, want) {
		t.Errorf("no %q\n%s", want, status.Text())
	}
}
