package revoke

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fuzzCA makes a CA, a list of it that names its address, and an answer about certificate 10.
func fuzzCA(f *testing.F) (ca *x509.Certificate, list, answer []byte) {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		f.Fatal(err)
	}
	point := []byte{0x30, 0x10, 0xa0, 0x0e, 0xa0, 0x0c, 0x86, 0x0a, 'h', 't', 't', 'p', ':', '/', '/', 'a', '/', 'b'}
	if list, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(9), RevocationTime: noon}},
		ExtraExtensions:           []pkix.Extension{{Id: oidDistributionPoint, Critical: true, Value: point}}}, ca, key); err != nil {
		f.Fatal(err)
	}
	if answer, err = ocsp.CreateResponse(ca, ca, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(10), ThisUpdate: noon, NextUpdate: noon.Add(time.Hour), IssuerHash: crypto.SHA1}, key); err != nil {
		f.Fatal(err)
	}
	return ca, list, answer
}

// FuzzStatus: whatever a responder sends is judged, and none but the CA's own is taken.
func FuzzStatus(f *testing.F) {
	ca, _, answer := fuzzCA(f)
	if s, err := ParseStatus(answer, big.NewInt(10), ca, noon, time.Hour); err != nil || s.Standing != Good {
		f.Fatal(s, err)
	}
	f.Add(answer)
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 0x03})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b, big.NewInt(10), ca, noon, time.Hour)
		if (s == nil) != (err != nil) {
			t.Fatal(s, err)
		}
		if err == nil && s.Standing != Good {
			t.Fatalf("%+v of an answer that nobody has given", s)
		}
	})
}

// FuzzList: whatever comes in place of a list is judged.
func FuzzList(f *testing.F) {
	ca, list, _ := fuzzCA(f)
	l, err := ParseList(list, "x")
	if err != nil || l.Of(ca) != nil || len(l.points) != 1 || l.points[0] != "http://a/b" {
		f.Fatal(l, err)
	}
	f.Add(list)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseList(b, "x")
		if err == nil && l.Of(ca) == nil && l.Revoked != 1 {
			t.Fatalf("%+v is a list that the CA has not signed", l)
		}
	})
}

// A part of a split list is about certificates that name its address, and no others.
func TestPartsOfAList(t *testing.T) {
	l := &List{subject: []byte("CA"), points: []string{"http://a/1", "http://a/2"}}
	for _, row := range []struct {
		points []string
		want   bool
	}{{nil, true}, {[]string{"http://a/2"}, true}, {[]string{"http://a/3"}, false}, {[]string{"http://a/3", "http://a/1"}, true}} {
		if got := l.about(&x509.Certificate{RawIssuer: []byte("CA"), CRLDistributionPoints: row.points}); got != row.want {
			t.Errorf("%v: %v", row.points, got)
		}
	}
}
