package test

import (
	"bytes"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// What is shown in the rows about TLS is signed by the right CA, unless the row says
// otherwise: a CA between, that somebody else runs, can be as bad.

// spki is a key as a certificate has it, of a kind that package x509 does not write.
type spki []byte

// Keys that no client has. None has a private part: the handshake must end before that.
var (
	dsaKey     = keyInfo(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, dsa.Parameters{P: odd(1024), Q: odd(160), G: odd(1000)}, odd(1020))
	unknownKey = keyInfo(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 127}, nil, odd(500))
	hugeKey    = &rsa.PublicKey{N: odd(16384), E: 65537}
)

// odd is a number of that many bits.
func odd(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Or(n, big.NewInt(12345))
}

func keyInfo(kind asn1.ObjectIdentifier, parameters any, key *big.Int) spki {
	alg := pkix.AlgorithmIdentifier{Algorithm: kind}
	if parameters != nil {
		alg.Parameters = asn1.RawValue{FullBytes: sure(asn1.Marshal(parameters))}
	}
	bits := sure(asn1.Marshal(key))
	return sure(asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{alg, asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}}))
}

func sure[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// authority is the one that signs; nil: the CA itself.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority makes a CA below ca, of a template.
func (ca *deviceCA) authority(tmpl *x509.Certificate, change func(*x509.Certificate)) *authority {
	ca.t.Helper()
	c := *tmpl
	if change != nil {
		change(&c)
	}
	x, key := ca.sign(&c, ca.cert)
	return &authority{x, key}
}

// certify makes a certificate for any key, signed by by or the CA itself.
func (ca *deviceCA) certify(tmpl *x509.Certificate, key any, by *authority) []byte {
	ca.t.Helper()
	if by == nil {
		by = &authority{ca.cert, ca.key}
	}
	c := *tmpl
	ca.n++
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(ca.n), true
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	info, special := key.(spki)
	if special {
		key = ca.key.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, by.cert, key, by.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	if special {
		der = ca.withKey(der, info, by.key)
	}
	return der
}

// withKey puts another key into a certificate and signs it again.
func (ca *deviceCA) withKey(der []byte, info spki, by *ecdsa.PrivateKey) []byte {
	ca.t.Helper()
	var c struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	sure(asn1.Unmarshal(der, &c))
	old := sure(x509.MarshalPKIXPublicKey(ca.key.Public()))
	if bytes.Count(c.TBS.Bytes, old) != 1 {
		ca.t.Fatal("the key is not where it was looked for")
	}
	c.TBS = asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Replace(c.TBS.Bytes, old, info, 1)}
	sum := sha256.Sum256(sure(asn1.Marshal(c.TBS)))
	signature := sure(ecdsa.SignASN1(rand.Reader, by, sum[:]))
	c.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return sure(asn1.Marshal(c))
}

// withNames is a template with that many names.
func withNames(tmpl *x509.Certificate, n int) *x509.Certificate {
	c := *tmpl
	for i := range n {
		c.DNSNames = append(c.DNSNames, fmt.Sprintf("a%d.b", i))
	}
	return &c
}

// hostileChain is a device's certificate of n names, and its CA's of n constraints, none of
// which is one of those names.
func hostileChain(ca *deviceCA, device, sub *x509.Certificate, n int, key *ecdsa.PrivateKey) [][]byte {
	by := ca.authority(sub, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		for i := range n {
			c.PermittedDNSDomains = append(c.PermittedDNSDomains, fmt.Sprintf("c%d.d", i))
		}
	})
	return [][]byte{ca.certify(withNames(device, n), key.Public(), by), by.cert.Raw}
}

func repeat(der []byte, n int) [][]byte { return slices.Repeat([][]byte{der}, n) }

// sameName is one of several certificates of a CA whose name they share.
func sameName(ca *deviceCA, n int) []byte {
	return ca.certify(withNames(&x509.Certificate{Subject: pkix.Name{CommonName: "x"}, IsCA: true}, n), ca.key.Public(), nil)
}

// renegotiates asks for another handshake inside of one, which TLS 1.2 knows: it is closed.
func (s *siege) renegotiates(t *testing.T, d door, ca *deviceCA, good []byte, key *ecdsa.PrivateKey) {
	testkit.Need(t, "openssl")
	ca.write("shown.pem", "CERTIFICATE", good)
	ca.write("shown.key", "PRIVATE KEY", sure(x509.MarshalPKCS8PrivateKey(key)))
	m := s.mark(t)
	argv := []string{"openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", d.port), "-bind", source(30, d, 0).String() + ":0", "-tls1_2", "-CAfile", s.b.CA(), "-cert", ca.path("shown.pem"), "-key", ca.path("shown.key")}
	r := testkit.Exec(t, patience, "R\n", argv...)
	if !strings.Contains(r.Text(), "Cipher    : ECDHE") || !strings.Contains(r.Text(), "RENEGOTIATING") {
		t.Errorf("nothing was tried:\n%s", r.Text())
	}
	if _, then, _ := strings.Cut(r.Text(), "RENEGOTIATING"); r.Code == 0 || !strings.Contains(then, "SSL alert number") && !strings.Contains(then, "errno=104") {
		t.Errorf("it is not refused, exit code %d:\n%s", r.Code, r.Text())
	}
	s.held(t, m, "D-05 renegotiation "+d.name, 1, nil, nil)
}

// resumes takes a ticket and comes back with it, again and again, with junk in between.
func (s *siege) resumes(t *testing.T, d door, good []byte, key *ecdsa.PrivateKey) {
	m := s.mark(t)
	const times = 50
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := d.tls.Clone()
		conf.MaxVersion, conf.ServerName = version, "localhost"
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{good}, PrivateKey: key}}
		resumed := 0
		for range times {
			c, err := d.greets(source(31, d, 0), conf)
			if err != nil {
				t.Fatal(err)
			}
			if c.ConnectionState().DidResume {
				resumed++
			}
			_ = c.Close()
		}
		if resumed != times-1 {
			t.Errorf("%s: %d of %d were resumed", tls.VersionName(version), resumed, times)
		}
	}
	s.held(t, m, "D-05 tickets "+d.name, 2*times, nil, nil)
}

// resumesWithout takes tickets, has the CA taken out of client_ca, and comes back: both
// with the ticket and without it nobody of that CA gets in (CVE-2025-68121).
func (s *siege) resumesWithout(t *testing.T, ca, other *deviceCA, good []byte, key *ecdsa.PrivateKey) {
	m := s.mark(t)
	type visitor struct {
		d    door
		conf *tls.Config
	}
	var visitors []visitor
	for _, d := range s.doors {
		if !d.asks() {
			continue
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := d.tls.Clone()
			conf.MaxVersion, conf.ServerName = version, "localhost"
			conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			conf.Certificates = []tls.Certificate{{Certificate: [][]byte{good}, PrivateKey: key}}
			for range 2 {
				c, err := d.greets(source(32, d, 0), conf)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
			}
			visitors = append(visitors, visitor{d, conf})
		}
	}
	ca.write("ca.pem", "CERTIFICATE", other.cert.Raw)
	testkit.WriteFile(t, ca.path("crl.pem"), readFile(t, other.path("crl.pem")))
	if r := s.b.Redoubt("", "reload"); r.Code != 0 {
		t.Fatal(r.Text())
	}
	for _, v := range visitors {
		if c, err := v.d.greets(source(32, v.d, 0), v.conf); err == nil {
			_ = c.Close()
			t.Errorf("%s, %s: it gets in", v.d.name, tls.VersionName(v.conf.MaxVersion))
		}
	}
	s.held(t, m, "A127 resumed after its CA was taken out", len(visitors), handshakesFailed, []string{"was not issued by a CA of client_ca"}, source(32, visitors[0].d, 0))
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
