package harden

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// authority is a CA of these tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	up   []*x509.Certificate // its issuers
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	return (&authority{t: t}).below(name)
}

// below makes a CA that a has issued; of an empty one, a root.
func (a *authority) below(name string) *authority {
	a.t.Helper()
	out := &authority{t: a.t, key: ecKey(a.t)}
	out.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, out.key)
	if a.cert != nil {
		out.up = append([]*x509.Certificate{a.cert}, a.up...)
	}
	return out
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

// sign issues a certificate for key. Times that are not set are an hour ago and in
// 80 days.
func (a *authority) sign(c *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = serial, true
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(80 * 24 * time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return x
}

// server issues a certificate for names, with its chain but the root.
func (a *authority) server(key crypto.Signer, change func(*x509.Certificate), names ...string) tls.Certificate {
	a.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(c)
	}
	x := a.sign(c, key)
	out := tls.Certificate{Certificate: [][]byte{x.Raw}, PrivateKey: key, Leaf: x}
	for _, ca := range append([]*x509.Certificate{a.cert}, a.up...) {
		if !selfSignedCA(ca) {
			out.Certificate = append(out.Certificate, ca.Raw)
		}
	}
	return out
}

// keep writes a pair, NAME.pem and NAME.key, with more certificates at the end.
func keep(t *testing.T, name string, pair tls.Certificate, more ...*x509.Certificate) (cert, key string) {
	t.Helper()
	var text []byte
	for _, der := range pair.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for _, c := range more {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	cert, key = name+".pem", name+".key"
	write(t, cert, text)
	if pair.PrivateKey != nil {
		der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return cert, key
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
