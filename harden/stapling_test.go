package harden

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// stapleRig is a listener whose certificate names a responder.
type stapleRig struct {
	*certRig
	response  ocsp.Response // what the CA says
	responder *x509.Certificate
	key       crypto.Signer
}

func newStapleRig(t *testing.T, change func(*x509.Certificate)) *stapleRig {
	r := &stapleRig{certRig: newCertRig(t)}
	r.issue(func(c *x509.Certificate) {
		c.OCSPServer = []string{"http://ocsp.example"}
		if change != nil {
			change(c)
		}
	})
	now := time.Now()
	r.response = ocsp.Response{Status: ocsp.Good, SerialNumber: r.pair.Leaf.SerialNumber, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour * 24)}
	r.responder, r.key = r.ca.cert, r.ca.key
	return r
}

// stapled signs what the CA says and has it stapled.
func (r *stapleRig) stapled() {
	r.t.Helper()
	der, err := ocsp.CreateResponse(r.ca.cert, r.responder, r.response, r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.pair.OCSPStaple = der
	r.serve(r.pair)
}

// delegate has another certificate of the CA sign.
func (r *stapleRig) delegate(uses ...x509.ExtKeyUsage) {
	r.key = ecKey(r.t)
	r.responder = r.ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "responder"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses}, r.key)
	r.response.Certificate = r.responder
}

func TestStaplesAreJudged(t *testing.T) {
	t.Parallel()
	demands := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: oidFeature, Value: []byte{0x30, 3, 2, 1, 5}}}
	}
	nobody := func(c *x509.Certificate) { c.OCSPServer = nil }
	year := func(c *x509.Certificate) { c.OCSPServer, c.NotAfter = nil, time.Now().AddDate(1, 0, 0) }
	for name, c := range map[string]struct {
		leaf   func(*x509.Certificate)
		change func(r *stapleRig)
		state  State
		want   string
	}{
		"good":                  {nil, (*stapleRig).stapled, Pass, "good, for 24h0m0s more"},
		"good, by a delegate":   {nil, func(r *stapleRig) { r.delegate(x509.ExtKeyUsageOCSPSigning); r.stapled() }, Pass, "good, for"},
		"by one who may not":    {nil, func(r *stapleRig) { r.delegate(x509.ExtKeyUsageServerAuth); r.stapled() }, Fail, "that may not"},
		"none":                  {nil, func(*stapleRig) {}, Fail, "none"},
		"none, where demanded":  {demands, func(*stapleRig) {}, Fail, "demands one"},
		"expired":               {nil, func(r *stapleRig) { r.response.NextUpdate = time.Now().Add(-time.Minute); r.stapled() }, Fail, "it has expired"},
		"from the future":       {nil, func(r *stapleRig) { r.response.ThisUpdate = time.Now().Add(time.Hour); r.stapled() }, Fail, "in the future"},
		"for ever":              {nil, func(r *stapleRig) { r.response.NextUpdate = time.Time{}; r.stapled() }, Warn, "until when"},
		"not refreshed":         {nil, func(r *stapleRig) { r.response.ThisUpdate = time.Now().Add(-100 * time.Hour); r.stapled() }, Warn, "was due"},
		"for another one":       {nil, func(r *stapleRig) { r.response.SerialNumber = big.NewInt(9); r.stapled() }, Fail, "for another certificate"},
		"revoked":               {nil, func(r *stapleRig) { r.response.Status, r.response.RevokedAt = ocsp.Revoked, time.Now(); r.stapled() }, Fail, "was revoked on"},
		"not known to the CA":   {nil, func(r *stapleRig) { r.response.Status = ocsp.Unknown; r.stapled() }, Fail, "does not know"},
		"by somebody else":      {nil, func(r *stapleRig) { r.key = ecKey(r.t); r.stapled() }, Fail, "not signed for the issuer"},
		"not a response":        {nil, func(r *stapleRig) { r.pair.OCSPStaple = []byte("nonsense"); r.serve(r.pair) }, Fail, "for another certificate"},
		"in one version only":   {nil, (*stapleRig).in13, Fail, "TLS 1.2 without a server name: staple"},
		"no responder":          {nobody, func(*stapleRig) {}, NotApplicable, "name no OCSP responder"},
		"no responder, a year":  {year, func(*stapleRig) {}, Warn, "clients cannot know"},
		"no responder, a list":  {func(c *x509.Certificate) { year(c); c.CRLDistributionPoints = []string{"http://crl.example"} }, func(*stapleRig) {}, NotApplicable, "name no OCSP responder"},
		"no responder, demands": {func(c *x509.Certificate) { nobody(c); demands(c) }, func(*stapleRig) {}, Fail, "demands a staple"},
		"nothing shown":         {nil, func(r *stapleRig) { r.serve() }, Unknown, "none was"},
		"the issuer unknown":    {nil, func(r *stapleRig) { r.stapled(); r.lone() }, Unknown, "is not shown and not in a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P3.6", name, c.state)
			r := newStapleRig(t, c.leaf)
			r.listen("secure", "mqtts", "127.0.0.1:0")
			c.change(r)
			r.row = "P3.6"
			row, text := r.examine()
			if row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
			if c.state == Pass && row.Confidence() != Behavioural {
				t.Errorf("by %s evidence", row.Confidence())
			}
		})
	}
}

// in13 staples in TLS 1.3 only.
func (r *stapleRig) in13() {
	r.stapled()
	with, without := r.pair, r.pair
	without.OCSPStaple = nil
	r.conf.Certificates, r.conf.GetCertificate = nil, func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.SupportedVersions[0] == tls.VersionTLS13 || bytes.Contains(words16(h.SupportedVersions), words16([]uint16{tls13})) {
			return &with, nil
		}
		return &without, nil
	}
}

// lone shows the certificate without its issuer, whom no file has.
func (r *stapleRig) lone() {
	alone := tls.Certificate{Certificate: r.pair.Certificate[:1], PrivateKey: r.pair.PrivateKey, OCSPStaple: r.pair.OCSPStaple}
	keep(r.t, strings.TrimSuffix(r.cert, ".pem"), alone)
	r.serve(alone)
}
