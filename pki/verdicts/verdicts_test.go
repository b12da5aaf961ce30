package verdicts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type pair struct {
	x   *x509.Certificate
	key *ecdsa.PrivateKey
}

func issue(t *testing.T, by *pair, change func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: t0.Add(-time.Hour), NotAfter: t0.Add(1000 * time.Hour), BasicConstraintsValid: true}
	change(tmpl)
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.x, by.key
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

func newCA(t *testing.T, name string) *pair {
	return issue(t, nil, func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.KeyUsage = pkix.Name{CommonName: name}, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
}

// rig is the verdicts of a listener, with a responder on loopback and a clock that stands
// still.
type rig struct {
	*Verdicts
	t     *testing.T
	clock *clock.Manual
	ca    *pair
	url   string
	asked atomic.Int64
	serve func(w http.ResponseWriter, q *http.Request)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(t0), ca: newCA(t, "devices")}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		r.serve(w, q)
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	r.Verdicts = New(r.clock.Now)
	r.Configure(r.options())
	return r
}

func (r *rig) options() Options {
	return Options{On: true, Refresh: time.Hour, Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func (r *rig) leaf(serial int64, responders ...string) *x509.Certificate {
	if responders == nil {
		responders = []string{r.url}
	}
	b := fmt.Append(nil, serial, responders)
	return &x509.Certificate{Raw: b, RawTBSCertificate: b, SerialNumber: big.NewInt(serial), OCSPServer: responders}
}

// says is an answer about a certificate, of now, by the CA itself.
func (r *rig) says(serial int64, status int, change func(*ocsp.Response)) []byte {
	return r.saysBy(r.ca.x, r.ca, serial, status, change)
}

func (r *rig) saysBy(issuer *x509.Certificate, by *pair, serial int64, status int, change func(*ocsp.Response)) []byte {
	r.t.Helper()
	now := r.clock.Now()
	a := ocsp.Response{Status: status, SerialNumber: big.NewInt(serial), ThisUpdate: now, NextUpdate: now.Add(2 * time.Hour), RevokedAt: now.Add(-time.Minute), IssuerHash: crypto.SHA1}
	if !by.x.Equal(issuer) {
		a.Certificate = by.x
	}
	if change != nil {
		change(&a)
	}
	b, err := ocsp.CreateResponse(issuer, by.x, a, by.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) gives(b []byte) {
	r.serve = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

// run asks all that is to be asked now.
func (r *rig) run() (all []Answered) {
	r.t.Helper()
	for {
		q, _ := r.take()
		if q == nil {
			return all
		}
		all = append(all, r.ask(r.t.Context(), q))
	}
}

func (r *rig) is(leaf *x509.Certificate, want revoke.Standing, why string) {
	r.t.Helper()
	if got, said := r.Standing(leaf, r.ca.x); got != want || !strings.Contains(said, why) {
		r.t.Errorf("%d, %q; want %d, %q", got, said, want, why)
	}
}

func TestAResponderIsAskedOnceForAll(t *testing.T) {
	r, leaf := newRig(t), (*x509.Certificate)(nil)
	leaf = r.leaf(10)
	r.serve = func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		ask, err := ocsp.ParseRequest(b)
		if err != nil || ask.SerialNumber.Int64() != 10 || q.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("asked %+v, %v", ask, err)
		}
		_, _ = w.Write(r.says(10, ocsp.Good, nil))
	}
	for range 5 {
		r.is(leaf, revoke.Unknown, "is being asked: the next attempt")
	}
	if all := r.run(); len(all) != 1 || all[0].Err != nil || all[0].Revoked {
		t.Fatalf("%+v", all)
	}
	r.is(leaf, revoke.Good, "")
	// In use, it is asked about again at half the time for which the answer counts, or refresh.
	r.clock.Advance(50 * time.Minute)
	r.is(leaf, revoke.Good, "")
	if all := r.run(); len(all) != 0 {
		t.Errorf("too early: %+v", all)
	}
	r.clock.Advance(10 * time.Minute)
	r.gives(r.says(10, ocsp.Revoked, nil))
	if all := r.run(); len(all) != 1 || !all[0].Revoked {
		t.Errorf("%+v", all)
	}
	r.is(leaf, revoke.Revoked, "says so, since")
	// Out of use it is not.
	r.clock.Advance(5 * time.Hour)
	if all := r.run(); len(all) != 0 {
		t.Errorf("nobody uses it: %+v", all)
	}
	r.is(leaf, revoke.Revoked, "")
	if trouble := r.Trouble(); trouble != (Trouble{}) {
		t.Errorf("%+v", trouble)
	}
}

// What comes is judged before it counts (A138).
func TestAnswersAreJudged(t *testing.T) {
	other, twin := newCA(t, "others"), newCA(t, "devices")
	responder := func(r *rig, by *pair, change func(*x509.Certificate)) *pair {
		return issue(t, by, func(c *x509.Certificate) {
			c.SerialNumber, c.Subject, c.ExtKeyUsage = big.NewInt(9), pkix.Name{CommonName: "responder"}, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			if change != nil {
				change(c)
			}
		})
	}
	for what, row := range map[string]struct {
		answer func(r *rig) []byte
		want   revoke.Standing
		forged bool
		why    string
	}{
		"by the CA":        {func(r *rig) []byte { return r.says(10, ocsp.Good, nil) }, revoke.Good, false, ""},
		"by its responder": {func(r *rig) []byte { return r.saysBy(r.ca.x, responder(r, r.ca, nil), 10, ocsp.Good, nil) }, revoke.Good, false, ""},
		"revoked":          {func(r *rig) []byte { return r.says(10, ocsp.Revoked, nil) }, revoke.Revoked, false, ""},
		"without a next time": {func(r *rig) []byte {
			return r.says(10, ocsp.Good, func(a *ocsp.Response) { a.NextUpdate = time.Time{} })
		}, revoke.Good, false, ""},
		"of another number": {func(r *rig) []byte { return r.says(11, ocsp.Good, nil) }, revoke.Unknown, true, "no response matching"},
		"of another CA's certificate": {func(r *rig) []byte {
			return r.saysBy(other.x, r.ca, 10, ocsp.Good, func(a *ocsp.Response) { a.Certificate = nil })
		}, revoke.Unknown, true, "of another issuer"},
		"by another CA":          {func(r *rig) []byte { return r.saysBy(other.x, other, 10, ocsp.Good, nil) }, revoke.Unknown, true, "was not signed by"},
		"by another of its name": {func(r *rig) []byte { return r.saysBy(twin.x, twin, 10, ocsp.Good, nil) }, revoke.Unknown, true, "was not signed by"},
		"by another's responder": {func(r *rig) []byte { return r.saysBy(r.ca.x, responder(r, other, nil), 10, ocsp.Good, nil) }, revoke.Unknown, true, "has not issued"},
		"by a device": {func(r *rig) []byte {
			return r.saysBy(r.ca.x, responder(r, r.ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), 10, ocsp.Good, nil)
		}, revoke.Unknown, true, "not for signing answers"},
		"by an expired responder": {func(r *rig) []byte {
			return r.saysBy(r.ca.x, responder(r, r.ca, func(c *x509.Certificate) { c.NotAfter = t0.Add(-time.Minute) }), 10, ocsp.Good, nil)
		}, revoke.Unknown, true, "is valid from"},
		"of yesterday": {func(r *rig) []byte {
			return r.says(10, ocsp.Good, func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = t0.Add(-24*time.Hour), t0.Add(-time.Second) })
		}, revoke.Unknown, false, "has counted until"},
		"of yesterday, without a next time": {func(r *rig) []byte {
			return r.says(10, ocsp.Good, func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = t0.Add(-24*time.Hour), time.Time{} })
		}, revoke.Unknown, false, "has counted until"},
		"of tomorrow": {func(r *rig) []byte {
			return r.says(10, ocsp.Good, func(a *ocsp.Response) { a.ThisUpdate = t0.Add(time.Hour) })
		}, revoke.Unknown, false, "in the future"},
		"unknown":         {func(r *rig) []byte { return r.says(10, ocsp.Unknown, nil) }, revoke.Unknown, false, "does not know"},
		"try later":       {func(*rig) []byte { return ocsp.TryLaterErrorResponse }, revoke.Unknown, false, "try later"},
		"not one":         {func(*rig) []byte { return []byte("<html>") }, revoke.Unknown, true, ""},
		"nothing":         {func(*rig) []byte { return nil }, revoke.Unknown, true, ""},
		"without an end":  {func(*rig) []byte { return make([]byte, 1<<20) }, revoke.Unknown, false, "the most"},
		"a changed digit": {func(r *rig) []byte { b := r.says(10, ocsp.Good, nil); b[len(b)-1] ^= 1; return b }, revoke.Unknown, true, ""},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			leaf := r.leaf(10)
			r.gives(row.answer(r))
			r.is(leaf, revoke.Unknown, "is being asked")
			all := r.run()
			if len(all) != 1 || (all[0].Err == nil) != (row.want != revoke.Unknown) {
				t.Fatalf("%+v", all)
			}
			r.is(leaf, row.want, row.why)
			trouble := r.Trouble()
			if (trouble.Forged != "") != row.forged || (trouble.Unavailable != "") != (row.want == revoke.Unknown && !row.forged) {
				t.Errorf("%+v", trouble)
			}
			// And it is asked again, until there is one that counts.
			r.clock.Advance(time.Minute)
			r.gives(r.says(10, ocsp.Revoked, nil))
			r.is(leaf, row.want, "")
			r.run()
			if row.want == revoke.Unknown {
				r.is(leaf, revoke.Revoked, "")
			}
			if trouble := r.Trouble(); trouble != (Trouble{}) {
				t.Errorf("it is well again, and %+v", trouble)
			}
		})
	}
}

// A138: an answer of before is repeated by somebody who stands between.
func TestAnAnswerOfBeforeIsNotTaken(t *testing.T) {
	r := newRig(t)
	leaf := r.leaf(10)
	before := r.says(10, ocsp.Good, func(a *ocsp.Response) { a.NextUpdate = t0.Add(100 * time.Hour) })
	r.clock.Advance(time.Minute)
	r.gives(r.says(10, ocsp.Revoked, func(a *ocsp.Response) { a.NextUpdate = t0.Add(3 * time.Hour) }))
	r.is(leaf, revoke.Unknown, "")
	r.run()
	r.is(leaf, revoke.Revoked, "")
	r.gives(before)
	for range 5 {
		r.clock.Advance(time.Hour)
		r.is(leaf, revoke.Revoked, "")
		for _, a := range r.run() {
			if a.Err == nil || !strings.Contains(a.Err.Error(), "older than the one there is") {
				t.Errorf("%+v", a)
			}
		}
		r.is(leaf, revoke.Revoked, "")
	}
	r.gives(r.says(10, ocsp.Good, nil)) // newer, and of the CA: it was revoked for good
	r.clock.Advance(time.Hour)
	r.is(leaf, revoke.Revoked, "")
	if all := r.run(); len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), "revoked for good") {
		t.Errorf("%+v", all)
	}
	r.is(leaf, revoke.Revoked, "")

	held := r.leaf(11)
	r.gives(r.says(11, ocsp.Revoked, func(a *ocsp.Response) { a.RevocationReason = ocsp.CertificateHold }))
	r.is(held, revoke.Unknown, "")
	r.run()
	r.is(held, revoke.Revoked, "")
	r.clock.Advance(90 * time.Minute)
	r.gives(r.says(11, ocsp.Good, nil))
	r.run()
	r.is(held, revoke.Good, "")
}

// An answer that has expired is none.
func TestAnOutageOutlastsTheAnswer(t *testing.T) {
	r := newRig(t)
	leaf := r.leaf(10)
	r.gives(r.says(10, ocsp.Good, nil))
	r.is(leaf, revoke.Unknown, "")
	r.run()
	r.serve = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) }
	r.clock.Advance(90 * time.Minute)
	r.is(leaf, revoke.Good, "")
	r.run()
	r.is(leaf, revoke.Good, "")
	if trouble := r.Trouble(); !strings.Contains(trouble.Unavailable, "status 502") {
		t.Errorf("%+v", trouble)
	}
	r.clock.Advance(30 * time.Minute)
	r.is(leaf, revoke.Unknown, "was asked in vain")
	// A responder that does not answer is left alone, whoever else names it.
	asked := r.asked.Load()
	for i := range 50 {
		r.is(r.leaf(100+int64(i)), revoke.Unknown, "")
	}
	r.run()
	if n := r.asked.Load() - asked; n > 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// A139: addresses of this host and others that are none for a certificate.
func TestRespondersAreGuarded(t *testing.T) {
	r := newRig(t)
	o := r.options()
	o.Allowed = nil
	r.Configure(o)
	r.is(r.leaf(10), revoke.Unknown, "")
	if all := r.run(); len(all) != 1 || all[0].Err == nil || r.asked.Load() != 0 {
		t.Errorf("%+v, asked %d times", all, r.asked.Load())
	}
	r.is(r.leaf(10), revoke.Unknown, "tls.fetch_from")
	for _, address := range []string{"ldap://x", "file:///etc/passwd", "http://u:p@x/", ""} {
		r.is(r.leaf(11, address), revoke.Unknown, "no responder at an address of http")
	}
	redirected := false
	r.Configure(r.options())
	r.serve = func(w http.ResponseWriter, q *http.Request) {
		redirected = q.URL.Path == "/other"
		http.Redirect(w, q, "/other", http.StatusTemporaryRedirect)
	}
	r.run()
	if r.asked.Load() != 1 || redirected {
		t.Errorf("asked %d times, redirected %v", r.asked.Load(), redirected)
	}
}

// What certificates may make the broker remember, and what waits, is bounded.
func TestVerdictsAreBounded(t *testing.T) {
	r := newRig(t)
	r.gives(r.says(10, ocsp.Revoked, func(a *ocsp.Response) { a.NextUpdate = t0.Add(100 * time.Hour) }))
	gone := r.leaf(10)
	r.is(gone, revoke.Unknown, "")
	r.run()
	for i := range certificatesMax + 100 {
		r.Standing(r.leaf(1000+int64(i), "http://127.0.0.1:1/"), r.ca.x)
	}
	if known, revoked := r.Held(); known != certificatesMax || revoked != 1 || r.used.Len() != known || len(r.queue) > waitingMax || len(r.issuers) != 1 {
		t.Errorf("%d known, %d revoked, %d in order, %d wait", known, revoked, r.used.Len(), len(r.queue))
	}
	r.is(gone, revoke.Revoked, "")
	r.is(r.leaf(5), revoke.Unknown, "too many certificates wait")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("http://127.0.0.1:1/%d", i))
	}
	r.Standing(r.leaf(7, many...), r.ca.x)
	if e := r.used.Front().Value.(*entry); len(e.addresses) != perCertificate {
		t.Errorf("%d addresses of a certificate are remembered", len(e.addresses))
	}
	r.clock.Advance(inUse + time.Minute)
	r.queue = nil
	for _, e := range r.known {
		e.waits = false
	}
	r.take()
	if known, _ := r.Held(); known > 2 || len(r.failing) > known {
		t.Errorf("%d are known, and nobody uses them", known)
	}
}

// TestOneCertificateIsOneQuestion: however it is written, so that what was said of it counts,
// and one client takes the room of one.
func TestOneCertificateIsOneQuestion(t *testing.T) {
	r := newRig(t)
	c := issue(t, r.ca, func(c *x509.Certificate) { c.OCSPServer = []string{r.url} }).x
	other, by := *c, *r.ca.x
	other.Raw, by.Raw = append(c.Raw[:len(c.Raw):len(c.Raw)], 5, 0), append(by.Raw[:len(by.Raw):len(by.Raw)], 5, 0)
	for _, x := range []*x509.Certificate{c, &other} {
		for _, issuer := range []*x509.Certificate{r.ca.x, &by} {
			r.Standing(x, issuer)
		}
	}
	if known, _ := r.Held(); known != 1 {
		t.Errorf("%d certificates are known", known)
	}
}
