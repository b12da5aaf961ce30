package staple

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pair is a certificate of a test with its key.
type pair struct {
	x   *x509.Certificate
	key crypto.Signer
}

// sign makes a certificate; issuer nil: by itself.
func sign(t *testing.T, issuer *pair, serial int64, change func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"broker.example"}, BasicConstraintsValid: true,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, crypto.Signer(key)
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
	return &pair{x, key}
}

func asCA(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.IsCA, c.KeyUsage = name, nil, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
}

func asResponder(c *x509.Certificate) {
	c.Subject.CommonName, c.DNSNames, c.ExtKeyUsage = "responder", nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
}

// at has a certificate name a responder; must: and say that it must be stapled.
func at(url string, must bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.OCSPServer = []string{url}
		if must {
			c.ExtraExtensions = []pkix.Extension{{Id: oidFeatures, Value: []byte{0x30, 3, 2, 1, 5}}}
		}
	}
}

// says is an answer by signer in the name of issuer. Its certificate goes along unless it is
// bare.
func says(t *testing.T, issuer, signer *pair, bare bool, r ocsp.Response) []byte {
	t.Helper()
	if r.ThisUpdate.IsZero() {
		r.ThisUpdate, r.NextUpdate = noon.Add(-time.Minute), noon.Add(time.Hour)
	}
	if !bare {
		r.Certificate = signer.x
	}
	raw, err := ocsp.CreateResponse(issuer.x, signer.x, r, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestJudge (P3.6): an answer counts only if a client would take it, too.
func TestJudge(t *testing.T) {
	ca, other := sign(t, nil, 1, asCA("CA")), sign(t, nil, 1, asCA("CA"))
	between := sign(t, ca, 2, asCA("between"))
	leaf := sign(t, between, 77, nil)
	responder := sign(t, between, 3, asResponder)
	good := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.x.SerialNumber}
	with := func(change func(*ocsp.Response)) ocsp.Response {
		r := good
		r.ThisUpdate, r.NextUpdate = noon.Add(-time.Minute), noon.Add(time.Hour)
		change(&r)
		return r
	}
	for what, row := range map[string]struct {
		raw  []byte
		want string // "": it counts
	}{
		"by the issuer":                       {says(t, between, between, true, good), ""},
		"by the issuer, whose own goes along": {says(t, between, between, false, good), ""},
		"by its responder":                    {says(t, between, responder, false, good), ""},
		"with SHA-256 in its name":            {says(t, between, responder, false, with(func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 })), ""},
		"with SHA-384 in its name":            {says(t, between, responder, false, with(func(r *ocsp.Response) { r.IssuerHash = crypto.SHA384 })), ""},

		"by its responder, who does not show himself": {says(t, between, responder, true, good), "was not signed by"},
		"by the issuer's issuer":                      {says(t, between, ca, false, good), "has not issued a certificate"},
		"by another CA of the same name":              {says(t, between, sign(t, nil, 9, asCA("between")), true, good), "was not signed by"},
		"by a responder of another CA":                {says(t, between, sign(t, other, 3, asResponder), false, good), "has not issued a certificate"},
		"by another leaf of the issuer":               {says(t, between, sign(t, between, 4, nil), false, good), "is not for signing answers"},
		"by the leaf itself":                          {says(t, between, leaf, false, good), "is not for signing answers"},
		"by a responder that has expired": {says(t, between, sign(t, between, 3, func(c *x509.Certificate) {
			asResponder(c)
			c.NotAfter = noon.Add(-time.Second)
		}), false, good), "valid from"},

		"about another": {says(t, between, responder, false, with(func(r *ocsp.Response) { r.SerialNumber = big.NewInt(78) })), "no response matching"},
		"about one of another CA with the same number": {says(t, ca, between, true, good), "a certificate of another issuer"},

		"of tomorrow":         {says(t, between, responder, false, with(func(r *ocsp.Response) { r.ThisUpdate = noon.Add(6 * time.Minute) })), "in the future"},
		"of a clock ahead":    {says(t, between, responder, false, with(func(r *ocsp.Response) { r.ThisUpdate = noon.Add(4 * time.Minute) })), ""},
		"at its end":          {says(t, between, responder, false, with(func(r *ocsp.Response) { r.NextUpdate = noon })), "has counted until"},
		"without an end":      {says(t, between, responder, false, with(func(r *ocsp.Response) { r.NextUpdate = time.Time{} })), "nextUpdate"},
		"the wrong way round": {says(t, between, responder, false, with(func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = noon.Add(2*time.Minute), noon.Add(time.Minute) })), "before it began"},

		"unknown":  {says(t, between, responder, false, with(func(r *ocsp.Response) { r.Status = ocsp.Unknown })), "does not know"},
		"revoked":  {says(t, between, responder, false, with(func(r *ocsp.Response) { r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, noon, 1 })), "revoked on 2026-03-01 12:00 UTC (keyCompromise)"},
		"an error": {ocsp.TryLaterErrorResponse, "try later"},
		"nothing":  {nil, "not the issuer's"},
		"a portal": {[]byte("<html>please log in"), "no OCSP answer, but 19 bytes that begin with \"<html>please log\""},
		"noise":    {[]byte(strings.Repeat("0\x82\x01\x00", 100)), "not the issuer's"},
		"too much": {make([]byte, revoke.StatusBytesMax+1), "65537 bytes"},
	} {
		s, err := Judge(row.raw, leaf.x, between.x, noon)
		if row.want == "" && (err != nil || s.NextUpdate.IsZero()) || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", what, err, row.want)
		}
		if r := (*RevokedError)(nil); errors.As(err, &r) != (what == "revoked") {
			t.Errorf("%s: revoked %v", what, r)
		}
	}
	// A single bit of what counts: nothing of it does.
	raw := says(t, between, responder, false, good)
	for i := range raw {
		bent := append([]byte(nil), raw...)
		bent[i] ^= 0x10
		if s, err := Judge(bent, leaf.x, between.x, noon); err == nil && string(s.Raw) == string(raw) {
			t.Errorf("byte %d", i)
		}
	}
}

// TestMust: the extension by its number, and whatever cannot be read.
func TestMust(t *testing.T) {
	for value, want := range map[string]bool{"\x30\x03\x02\x01\x05": true, "\x30\x06\x02\x01\x11\x02\x01\x05": true, "\x30\x03\x02\x01\x11": false, "\x30\x00": false, "x": true, "": true} {
		x := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidFeatures, Value: []byte(value)}}}
		if Must(x) != want {
			t.Errorf("%q: %v, want %v", value, !want, want)
		}
	}
	if Must(&x509.Certificate{}) {
		t.Error("one without the extension is must-staple")
	}
}

// chain is a certificate as a listener has it.
func chain(leaf, issuer *pair) *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{leaf.x.Raw}, PrivateKey: leaf.key, Leaf: leaf.x}
	if issuer != nil {
		c.Certificate = append(c.Certificate, issuer.x.Raw)
	}
	return c
}
