package points

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type ca struct {
	t   *testing.T
	x   *x509.Certificate
	key *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: t0.Add(-time.Hour), NotAfter: t0.Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{t, x, key}
}

// list is one of age whose life is two hours.
func (c *ca) list(at time.Time, number int64, revoked ...int64) []byte {
	c.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.Add(2 * time.Hour)}
	for _, s := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: at})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, c.x, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

// naming is a certificate that says where its list is.
func naming(serial int64, addresses ...string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), CRLDistributionPoints: addresses}
}

// rig is the lists of a listener, with a server on loopback and a clock that stands still.
type rig struct {
	*Lists
	t      *testing.T
	clock  *clock.Manual
	dir    string
	server *httptest.Server
	serve  atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(t0), dir: filepath.Join(t.TempDir(), "lists")}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		(*r.serve.Load())(w, q)
	}))
	t.Cleanup(r.server.Close)
	r.start()
	return r
}

func (r *rig) options() Options {
	return Options{On: true, Refresh: 15 * time.Minute, Trusts: func(*x509.Certificate) bool { return true }, Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// start makes the lists anew from what is on disk.
func (r *rig) start() {
	r.Lists = New(r.dir, r.clock.Now, slog.New(slog.DiscardHandler))
	r.Configure(r.options())
}

func (r *rig) gives(b []byte) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	r.serve.Store(&h)
}

func (r *rig) does(h http.HandlerFunc) { r.serve.Store(&h) }

// run does all that is due now.
func (r *rig) run() (all []Fetched) {
	r.t.Helper()
	for {
		e, client, _ := r.take()
		if e == nil {
			return all
		}
		all = append(all, r.fetch(r.t.Context(), client, e))
	}
}

// due is how long it is until the next request.
func (r *rig) due() time.Duration {
	_, _, at := r.take()
	return at.Sub(r.clock.Now())
}

// judges a certificate with what there is now.
func (r *rig) judges(c *ca, serial int64) *revoke.Refusal {
	r.t.Helper()
	leaf := naming(serial, r.server.URL+"/a.crl")
	leaf.RawIssuer = c.x.RawSubject
	return (&revoke.Set{Points: r.Lists, Fetched: r.Lists.Lists()}).Check([]*x509.Certificate{leaf, c.x}, r.clock.Now())
}

func (r *rig) refused(c *ca, serial int64, why string) {
	r.t.Helper()
	if got := r.judges(c, serial); got == nil || !strings.Contains(got.Why, why) {
		r.t.Errorf("%v, want %q", got, why)
	}
}

func (r *rig) good(c *ca, serial int64) {
	r.t.Helper()
	if got := r.judges(c, serial); got != nil {
		r.t.Errorf("refused: %v", got)
	}
}

func TestAListIsFetchedWhenACertificateNamesIt(t *testing.T) {
	r, c := newRig(t), newCA(t, "devices")
	r.gives(c.list(t0, 1, 66))
	r.refused(c, 10, "it is being fetched from")
	if all := r.run(); len(all) != 1 || all[0].Err != nil || !all[0].New || !all[0].Differs {
		t.Fatalf("%+v", all)
	}
	r.good(c, 10)
	r.refused(c, 66, "was revoked by its issuer")

	// A start has it at once, and asks for the next one.
	r.start()
	r.good(c, 10)
	r.refused(c, 66, "was revoked by its issuer")
	if all := r.run(); len(all) != 1 || all[0].Err != nil || all[0].New {
		t.Errorf("%+v", all)
	}
	// Unless its CA is not accepted any more.
	o := r.options()
	o.Trusts = func(*x509.Certificate) bool { return false }
	r.Configure(o)
	if files, _ := os.ReadDir(r.dir); len(files) != 0 || len(r.Lists.Lists()) != 0 || len(r.run()) != 0 {
		t.Errorf("a list of a CA that is not accepted is still there: %v", files)
	}
}

// What comes is judged before it counts, and what there is stays (A137).
func TestWhatComesIsJudged(t *testing.T) {
	c, other, copied := newCA(t, "devices"), newCA(t, "others"), newCA(t, "devices")
	for what, row := range map[string]struct {
		serve  func(w http.ResponseWriter, q *http.Request)
		forged bool
		why    string
	}{
		"another issuer's":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(other.list(t0, 9)) }, true, "it is the list of"},
		"a wrong signature": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(copied.list(t0, 9)) }, true, "was not signed by"},
		"no list":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, true, "is no revocation list"},
		"an older one":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.list(t0.Add(-time.Hour), 9)) }, false, "older than the one there is"},
		"an older number":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.list(t0.Add(-time.Minute), 4)) }, false, "older than the one there is"},
		"one of tomorrow":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.list(t0.Add(24*time.Hour), 9)) }, false, "in the future"},
		"an outage":         {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) }, false, "status 503"},
		"a redirect (A139)": {func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, false, "redirects are not followed"},
		"100 MB by its head": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "104857600") }, false, "the most is"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			r.gives(c.list(t0.Add(-time.Minute), 5, 66))
			r.refused(c, 66, "is being fetched")
			r.run()
			r.clock.Advance(15 * time.Minute)
			r.does(row.serve)
			all := r.run()
			if len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), row.why) {
				t.Fatalf("%+v, want %q", all, row.why)
			}
			r.refused(c, 66, "was revoked by its issuer")
			r.good(c, 10)
			trouble := r.Trouble()
			if (trouble.Forged != "") != row.forged || (trouble.Unreachable != "") == row.forged || trouble.Stale != "" {
				t.Errorf("%+v", trouble)
			}
			r.start()
			r.refused(c, 66, "was revoked by its issuer")
			r.gives(c.list(t0, 6, 66, 10))
			r.run()
			if trouble := r.Trouble(); trouble != (Trouble{}) {
				t.Errorf("it is well again, and %+v", trouble)
			}
			r.refused(c, 10, "was revoked by its issuer")
		})
	}
}

// A list that never ends costs what the largest may have, and no more.
func TestAListWithoutEndIsCutOff(t *testing.T) {
	r, c := newRig(t), newCA(t, "devices")
	var sent atomic.Int64
	ended := make(chan struct{})
	r.does(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for part := make([]byte, 1<<20); sent.Load() < 100<<20; sent.Add(int64(len(part))) {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	r.refused(c, 10, "is being fetched")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := r.run()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), "more than 16777216 bytes") {
		t.Fatalf("%+v", all)
	}
	<-ended
	if sent.Load() > 30<<20 || int64(after.HeapAlloc)-int64(before.HeapAlloc) > 4<<20 {
		t.Errorf("%d bytes were taken, and %d are held", sent.Load(), int64(after.HeapAlloc)-int64(before.HeapAlloc))
	}
	r.refused(c, 10, "it could not be fetched")
}

// A139: addresses of this host, of private networks and of other schemes, unless listed.
func TestAddressesInCertificatesAreGuarded(t *testing.T) {
	r, c := newRig(t), newCA(t, "devices")
	r.gives(c.list(t0, 1))
	o := r.options()
	o.Allowed = nil
	r.Configure(o)
	r.refused(c, 10, "is being fetched")
	if all := r.run(); len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), "tls.fetch_from") || r.asked.Load() != 0 {
		t.Errorf("%+v, asked %d times", all, r.asked.Load())
	}
	r.refused(c, 10, "tls.fetch_from")
	for _, address := range []string{"ldap://ca.example/cn=x", "file:///etc/passwd", "gopher://x", "http://u:p@ca.example/", "http://"} {
		if said := r.Want(naming(1, address), c.x); !strings.Contains(said, "no address of http") {
			t.Errorf("%s: %s", address, said)
		}
	}
	if all := r.run(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	r.Configure(r.options()) // and it is listed
	if all := r.run(); len(all) != 1 || all[0].Err != nil {
		t.Errorf("%+v", all)
	}
	r.good(c, 10)
}

// What certificates may make the broker remember and ask is bounded, and takes nothing from
// addresses that are good.
func TestAddressesAreBounded(t *testing.T) {
	r, c := newRig(t), newCA(t, "devices")
	r.gives(c.list(t0, 1))
	r.good2(c)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("%s/%d", r.server.URL, i))
	}
	r.does(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusNotFound) })
	asked := r.asked.Load()
	for range 3 * perCertificate { // each of them is asked for when those before have failed
		r.Want(naming(2, many...), c.x)
		for _, f := range r.run() {
			if f.Err == nil {
				t.Fatalf("%+v", f)
			}
		}
	}
	if n := r.asked.Load() - asked; n > perCertificate {
		t.Errorf("a certificate with 1,000 addresses made the broker ask %d times", n)
	}
	for i := range many { // and as many certificates
		r.clock.Advance(time.Millisecond)
		r.Want(naming(2, many[i]), c.x)
	}
	if _, known := r.Held(); known != perIssuer {
		t.Errorf("%d addresses are known", known)
	}
	r.good(c, 10)
	for i := range 10 {
		issuer := newCA(t, fmt.Sprint("CA", i))
		for k := range perIssuer + 1 {
			r.Want(naming(2, many[k]), issuer.x)
		}
	}
	if _, known := r.Held(); known != perListener {
		t.Errorf("%d addresses are known", known)
	}
	r.good(c, 10)
	if files, _ := os.ReadDir(r.dir); len(files) != 1 {
		t.Errorf("%d files for one list", len(files))
	}
	r.clock.Advance(barrenMax + time.Minute)
	r.Want(naming(10, r.server.URL+"/a.crl"), c.x)
	r.run()
	if lists, known := r.Held(); lists != 1 || known != 1 || !strings.Contains(r.Trouble().Unreachable, "404") {
		t.Errorf("%d lists of %d addresses; %+v", lists, known, r.Trouble())
	}
	r.clock.Advance(unusedMax + time.Hour)
	r.run()
	if files, _ := os.ReadDir(r.dir); len(files) != 0 {
		t.Errorf("what nobody asks for is still there: %v", files)
	}
}

// good2 has the list of c in force.
func (r *rig) good2(c *ca) {
	r.t.Helper()
	r.refused(c, 10, "is being fetched")
	r.run()
	r.good(c, 10)
}

func TestWhenAListIsFetchedAgain(t *testing.T) {
	within := func(t *testing.T, what string, got, least, most time.Duration) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s: in %v, want %v to %v", what, got, least, most)
		}
	}
	r, c := newRig(t), newCA(t, "devices")
	r.gives(c.list(t0, 1))
	r.good2(c)
	within(t, "refresh", r.due(), 13*time.Minute, 15*time.Minute)
	o := r.options()
	o.Refresh = 24 * time.Hour
	r.Configure(o)
	r.clock.Advance(15 * time.Minute)
	r.run()
	within(t, "half its life", r.due(), 40*time.Minute, 45*time.Minute)
	r.clock.Advance(50 * time.Minute)
	r.run()
	within(t, "its end", r.due(), 49*time.Minute, 55*time.Minute)
	r.clock.Advance(3 * time.Hour)
	r.run()
	within(t, "overdue", r.due(), 50*time.Second, time.Minute)
	r.refused(c, 10, "should have been followed by another")
	if trouble := r.Trouble(); trouble.Stale == "" {
		t.Errorf("%+v", trouble)
	}
	r.does(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusInternalServerError) })
	before := time.Duration(0)
	for i := range 20 {
		r.clock.Advance(2 * time.Hour)
		if all := r.run(); len(all) != 1 {
			t.Fatalf("%d requests", len(all))
		}
		wait := r.due()
		within(t, fmt.Sprint("failure ", i), wait, max(before, 3*time.Second), lastRetry)
		before = min(wait, 40*time.Minute)
	}
	r.gives(c.list(r.clock.Now(), 2))
	r.clock.Advance(2 * time.Hour / 2)
	r.run()
	r.good(c, 10)
}

// What is on disk is not believed because it is there.
func TestFilesOfListsAreJudged(t *testing.T) {
	r, c := newRig(t), newCA(t, "devices")
	copied := newCA(t, "devices")
	r.gives(c.list(t0, 1, 66))
	r.good2(c)
	files, err := os.ReadDir(r.dir)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	path := filepath.Join(r.dir, files[0].Name())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, rest := pem.Decode(whole)
	second, _ := pem.Decode(rest)
	forge := func(list []byte, address string) []byte {
		return append(pem.EncodeToMemory(first), pem.EncodeToMemory(&pem.Block{Type: second.Type, Headers: map[string]string{addressHeader: address}, Bytes: list})...)
	}
	for what, content := range map[string][]byte{
		"half":            whole[:len(whole)/2],
		"nothing":         nil,
		"not signed":      forge(copied.list(t0, 2), second.Headers[addressHeader]),
		"another address": forge(second.Bytes, "http://169.254.169.254/"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		if n := len(r.Lists.Lists()); n != 0 {
			t.Errorf("%s: %d lists", what, n)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: the file is still there", what)
		}
	}
}
