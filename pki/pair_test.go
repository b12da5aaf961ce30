package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// cert is one certificate of a test with its key.
type cert struct {
	x   *x509.Certificate
	key crypto.Signer
}

// makeCert signs a certificate by issuer, or by itself when issuer is nil.
func makeCert(t *testing.T, key crypto.Signer, issuer *cert, change func(*x509.Certificate)) *cert {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"broker.example"},
		NotBefore: t0.Add(-time.Hour), NotAfter: t0.Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, key
	if issuer != nil {
		parent, signer = issuer.x, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &cert{x, key}
}

func asCA(cn string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.ExtKeyUsage = cn, nil, nil
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	}
}

func newECDSA(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func p256(t *testing.T) crypto.Signer { return newECDSA(t, elliptic.P256()) }

// RSA keys are slow to make and say nothing about the test that uses them.
var rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
var rsa1024 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) })

func rsaKey(t *testing.T, get func() (*rsa.PrivateKey, error)) crypto.Signer {
	t.Helper()
	k, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certPEM(cs ...*cert) []byte {
	var out []byte
	for _, c := range cs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.x.Raw})...)
	}
	return out
}

func keyPEM(t *testing.T, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func files(t *testing.T, certs, key []byte) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	if err := os.WriteFile(certFile, certs, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func TestLoadPairAccepts(t *testing.T) {
	root := makeCert(t, p256(t), nil, asCA("root"))
	inter := makeCert(t, p256(t), root, asCA("intermediate"))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	oldRoot := makeCert(t, rsaKey(t, rsa2048), nil, func(c *x509.Certificate) {
		asCA("old root")(c)
		c.SignatureAlgorithm = x509.SHA1WithRSA
	})
	for name, c := range map[string]struct {
		chain []*cert
	}{
		"chain":               {[]*cert{makeCert(t, p256(t), inter, nil), inter}},
		"chain with root":     {[]*cert{makeCert(t, p256(t), inter, nil), inter, root}},
		"self-signed":         {[]*cert{makeCert(t, p256(t), nil, nil)}},
		"rsa 2048":            {[]*cert{makeCert(t, rsaKey(t, rsa2048), root, nil)}},
		"ed25519":             {[]*cert{makeCert(t, ed, root, nil)}},
		"address only":        {[]*cert{makeCert(t, p256(t), root, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, testNames.ips()[:1] })}},
		"no extended usage":   {[]*cert{makeCert(t, p256(t), root, func(c *x509.Certificate) { c.ExtKeyUsage = nil })}},
		"root signed by sha1": {[]*cert{makeCert(t, p256(t), oldRoot, nil), oldRoot}},
	} {
		t.Run(name, func(t *testing.T) {
			cf, kf := files(t, certPEM(c.chain...), keyPEM(t, c.chain[0].key))
			got, err := LoadPair(cf, kf, t0)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Certificate) != len(c.chain) || !got.Leaf.Equal(c.chain[0].x) {
				t.Errorf("%d certificates, want %d with the leaf first", len(got.Certificate), len(c.chain))
			}
		})
	}
}

func TestLoadPairReadsEveryKeyForm(t *testing.T) {
	ec := p256(t).(*ecdsa.PrivateKey)
	rs := rsaKey(t, rsa2048).(*rsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	for name, c := range map[string]struct {
		cert *cert
		pem  []byte
	}{
		"sec1 after parameters": {makeCert(t, ec, nil, nil), append(params, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)},
		"pkcs1":                 {makeCert(t, rs, nil, nil), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rs)})},
		"combined file":         {makeCert(t, ec, nil, nil), append(certPEM(makeCert(t, ec, nil, nil)), keyPEM(t, ec)...)},
	} {
		cf, kf := files(t, certPEM(c.cert), c.pem)
		if _, err := LoadPair(cf, kf, t0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := LoadPairWithKey(cf, secret.New(c.pem), "credential:tls", t0); err != nil {
			t.Errorf("%s, given as a value: %v", name, err)
		}
	}
}

func TestLoadPairRefusesInWords(t *testing.T) {
	root := makeCert(t, p256(t), nil, asCA("root"))
	other := makeCert(t, p256(t), nil, asCA("other"))
	good := makeCert(t, p256(t), root, nil)
	rsaRoot := makeCert(t, rsaKey(t, rsa2048), nil, asCA("rsa root"))
	leaf := func(change func(*x509.Certificate)) *cert { return makeCert(t, p256(t), root, change) }
	expiredInter := makeCert(t, p256(t), root, func(c *x509.Certificate) {
		asCA("intermediate")(c)
		c.NotAfter = t0.Add(-time.Minute)
	})
	for name, c := range map[string]struct {
		chain []*cert
		key   crypto.Signer // nil: that of the first
		want  string
	}{
		"key of another":       {[]*cert{good}, p256(t), "does not belong"},
		"expired":              {[]*cert{leaf(func(c *x509.Certificate) { c.NotAfter = t0.Add(-time.Second) })}, nil, "expired on 2026-03-01 11:59"},
		"not yet valid":        {[]*cert{leaf(func(c *x509.Certificate) { c.NotBefore = t0.Add(time.Second) })}, nil, "not valid before"},
		"no name":              {[]*cert{leaf(func(c *x509.Certificate) { c.DNSNames = nil })}, nil, "Subject Alternative Name"},
		"ca as leaf":           {[]*cert{root}, nil, "is a CA certificate"},
		"sha1":                 {[]*cert{makeCert(t, p256(t), rsaRoot, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })}, nil, "SHA1-RSA, which can be forged"},
		"self-signed sha1":     {[]*cert{makeCert(t, rsaKey(t, rsa2048), nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })}, nil, "can be forged"},
		"rsa 1024":             {[]*cert{makeCert(t, rsaKey(t, rsa1024), root, nil)}, nil, "RSA key of 1024 bits"},
		"p224":                 {[]*cert{makeCert(t, newECDSA(t, elliptic.P224()), root, nil)}, nil, "P-224"},
		"client certificate":   {[]*cert{leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}, nil, "serverAuth"},
		"may not sign":         {[]*cert{leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, nil, "digitalSignature"},
		"wrong order":          {[]*cert{good, other}, nil, "not issued by the next one"},
		"expired intermediate": {[]*cert{makeCert(t, p256(t), expiredInter, nil), expiredInter}, nil, "certificate 2"},
	} {
		t.Run(name, func(t *testing.T) {
			key := c.key
			if key == nil {
				key = c.chain[0].key
			}
			cf, kf := files(t, certPEM(c.chain...), keyPEM(t, key))
			_, err := LoadPair(cf, kf, t0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if !strings.Contains(err.Error(), cf) {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
}

func TestLoadPairRefusesOddFiles(t *testing.T) {
	good := makeCert(t, p256(t), nil, nil)
	key := keyPEM(t, good.key)
	bundle := certPEM(good)
	for range chainMax {
		bundle = append(bundle, certPEM(good)...)
	}
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"binary certificate": {good.x.Raw, key, "openssl x509 -inform der"},
		"no certificate":     {key, key, "holds no certificate"},
		"empty":              {nil, key, "holds no certificate"},
		"root bundle":        {bundle, key, "more than 16"},
		"broken certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2}}), key, "certificate 1 cannot be read"},
		"no key":             {certPEM(good), certPEM(good), "no unencrypted"},
		"passphrase":         {certPEM(good), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "passphrase"},
		"old passphrase":     {certPEM(good), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")}), "passphrase"},
		"broken key":         {certPEM(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary-key-bytes")}), "no unencrypted"},
	} {
		cf, kf := files(t, c.cert, c.key)
		_, err := LoadPair(cf, kf, t0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the message shows the key: %v", name, err)
		}
	}
	cf, kf := files(t, certPEM(good), key)
	if err := os.Chmod(kf, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPair(cf, kf, t0); err == nil || !strings.Contains(err.Error(), "chmod 0600 "+kf) {
		t.Errorf("a readable key: %v", err)
	}
	if err := os.Chmod(cf, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPair(cf, kf, t0); err == nil || !strings.Contains(err.Error(), "chmod go-w "+cf) {
		t.Errorf("a certificate anybody can change: %v", err)
	}
	if _, err := LoadPair(cf+".missing", kf, t0); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}
