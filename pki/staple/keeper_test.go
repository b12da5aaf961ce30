package staple

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ocsp"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// rig is a keeper with a responder and the clock of both.
type rig struct {
	*Keeper
	t       *testing.T
	clock   *clock.Manual
	data    string
	ca      *pair
	url     string
	asked   atomic.Int64
	answers func(*ocsp.Request) []byte // nil: it is down
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(noon), data: t.TempDir(), ca: sign(t, nil, 1, asCA("CA"))}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		body, _ := io.ReadAll(req.Body)
		q, err := ocsp.ParseRequest(body)
		if err != nil || req.Method != http.MethodPost || r.answers == nil {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(r.answers(q))
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	r.good(time.Hour)
	r.restart()
	return r
}

func (r *rig) restart() { r.Keeper = New(r.data, func() float64 { return 0 }) }

// good has the responder say so, from now on and for so long.
func (r *rig) good(life time.Duration) {
	now := r.clock.Now()
	r.answers = func(q *ocsp.Request) []byte {
		return says(r.t, r.ca, r.ca, true, ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(life)})
	}
}

func (r *rig) says(x ocsp.Response) {
	r.answers = func(q *ocsp.Request) []byte {
		x.SerialNumber = q.SerialNumber
		x.ThisUpdate, x.NextUpdate = r.clock.Now(), r.clock.Now().Add(time.Hour)
		return says(r.t, r.ca, r.ca, true, x)
	}
}

// refresh asks if it is time, and answers how often the responder was asked.
func (r *rig) refresh() int64 {
	before := r.asked.Load()
	r.Refresh(r.t.Context(), r.clock.Now)
	return r.asked.Load() - before
}

// shown is what a handshake shows of a certificate now.
func (r *rig) shown(c *tls.Certificate) string {
	got, err := r.Serve(c, r.clock.Now())
	switch {
	case err != nil:
		return "refused"
	case got.OCSPStaple == nil:
		return "bare"
	case !bytes.Equal(got.Certificate[0], c.Certificate[0]) || got.PrivateKey != c.PrivateKey:
		return "another certificate"
	}
	if _, err := Judge(got.OCSPStaple, c.Leaf, r.ca.x, r.clock.Now()); err != nil {
		return "stapled with what does not count: " + err.Error()
	}
	return "stapled"
}

func (r *rig) want(c ...*tls.Certificate) {
	var wants []Want
	for _, x := range c {
		wants = append(wants, Want{x, here})
	}
	r.Want(r.clock.Now(), wants)
}

func (r *rig) expect(c *tls.Certificate, shown, why string) {
	r.t.Helper()
	if got := r.shown(c); got != shown {
		r.t.Errorf("%s: shown %s, want %s (%+v)", r.clock.Now().Format("15:04:05"), got, shown, r.State(r.clock.Now(), c.Leaf))
	}
	s := r.State(r.clock.Now(), c.Leaf)
	if (s.Why == "") != (why == "") || !strings.Contains(s.Why, why) {
		r.t.Errorf("%s: why %q, want %q", r.clock.Now().Format("15:04:05"), s.Why, why)
	}
	if (s.Until.IsZero()) != (shown != "stapled") {
		r.t.Errorf("%s: until %v while it is shown %s", r.clock.Now().Format("15:04:05"), s.Until, shown)
	}
}

// TestAStapleIsFollowedInTime: at half of its life, and ever more often while that fails;
// one that has come to its end is not shown a moment longer.
func TestAStapleIsFollowedInTime(t *testing.T) {
	r := newRig(t)
	c := chain(sign(t, r.ca, 50, at(r.url, false)), r.ca)
	r.expect(c, "bare", "")
	r.want(c)
	if n := r.refresh(); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	r.expect(c, "stapled", "")
	r.clock.Advance(29 * time.Minute)
	if n := r.refresh(); n != 0 {
		t.Errorf("asked %d times before half of its life", n)
	}
	r.answers = nil
	r.clock.Advance(time.Minute)
	if n := r.refresh(); n != 1 {
		t.Errorf("asked %d times at half of its life", n)
	}
	r.expect(c, "stapled", "status 503")
	tries := int64(0)
	for range 30 * 60 { // each second until its end
		r.clock.Advance(time.Second)
		tries += r.refresh()
	}
	if tries < 10 || tries > 40 {
		t.Errorf("asked %d times in the second half", tries)
	}
	r.expect(c, "bare", "status 503")
	r.clock.Advance(retryMost)
	r.good(time.Hour)
	r.refresh()
	r.expect(c, "stapled", "")
	// One that counts for long is followed by another all the same.
	r.clock.Advance(30 * time.Minute)
	r.good(300 * 24 * time.Hour)
	r.refresh()
	r.clock.Advance(refreshMost)
	if n := r.refresh(); n != 1 {
		t.Errorf("asked %d times a day after", n)
	}
}

// TestMustStaple: without an answer that counts there is no handshake, and with one there is.
func TestMustStaple(t *testing.T) {
	r := newRig(t)
	c := chain(sign(t, r.ca, 51, at(r.url, true)), r.ca)
	if why := r.Missing(noon, []*tls.Certificate{c}); !strings.Contains(why, "nobody was asked yet") {
		t.Errorf("before it is wanted: %q", why)
	}
	r.answers = nil
	r.want(c)
	r.refresh()
	r.expect(c, "refused", "status 503")
	if why := r.Missing(noon, []*tls.Certificate{c}); !strings.Contains(why, "status 503") {
		t.Errorf("missing: %q", why)
	}
	r.good(time.Minute)
	r.clock.Advance(retryFirst)
	r.refresh()
	r.expect(c, "stapled", "")
	if why := r.Missing(r.clock.Now(), []*tls.Certificate{c}); why != "" {
		t.Errorf("missing: %q", why)
	}
	r.answers = nil
	r.clock.Advance(time.Minute - retryFirst - time.Nanosecond)
	r.expect(c, "stapled", "")
	r.clock.Advance(time.Nanosecond)
	r.expect(c, "refused", "")
	// Without a responder nobody can ever show it.
	alone := chain(sign(t, r.ca, 52, at("", true)), r.ca)
	alone.Leaf.OCSPServer = nil
	r.want(alone)
	r.refresh()
	r.expect(alone, "refused", "names no OCSP responder")
}

// TestRevoked: nothing is stapled, the good answer of before counts no more, here and after a
// start, and it is asked again all the same.
func TestRevoked(t *testing.T) {
	r := newRig(t)
	c := chain(sign(t, r.ca, 53, at(r.url, false)), r.ca)
	r.want(c)
	r.refresh()
	r.expect(c, "stapled", "")
	r.says(ocsp.Response{Status: ocsp.Revoked, RevokedAt: noon, RevocationReason: 1})
	r.clock.Advance(30 * time.Minute)
	r.refresh()
	r.expect(c, "bare", "keyCompromise")
	if !r.State(noon, c.Leaf).Revoked {
		t.Error("it is not known as revoked")
	}
	r.answers = nil
	r.restart()
	r.want(c)
	r.expect(c, "bare", "")
	r.refresh()
	r.expect(c, "bare", "status 503")
}

// TestTheNextStart: what was good counts after a start while the responder is down, and only
// as long as it would otherwise. What somebody has put there does not.
func TestTheNextStart(t *testing.T) {
	r := newRig(t)
	c := chain(sign(t, r.ca, 54, at(r.url, true)), r.ca)
	r.want(c)
	r.refresh()
	file := filepath.Join(r.data, "certs", "staples", pki.Fingerprint(c.Leaf)+".ocsp")
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	r.answers = nil
	r.clock.Advance(10 * time.Minute)
	r.restart()
	r.want(c)
	if n := r.refresh(); n != 0 {
		t.Errorf("asked %d times on account of the start", n)
	}
	r.expect(c, "stapled", "")
	r.clock.Advance(50 * time.Minute)
	r.restart()
	r.want(c)
	r.expect(c, "refused", "has counted until")
	for what, raw := range map[string][]byte{
		"another's":     says(t, r.ca, r.ca, true, ocsp.Response{SerialNumber: big.NewInt(55), ThisUpdate: r.clock.Now(), NextUpdate: r.clock.Now().Add(time.Hour)}),
		"by a stranger": says(t, r.ca, sign(t, nil, 1, asCA("CA")), true, ocsp.Response{SerialNumber: c.Leaf.SerialNumber, ThisUpdate: r.clock.Now(), NextUpdate: r.clock.Now().Add(time.Hour)}),
		"noise":         []byte("x"),
	} {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.want(c)
		if got := r.shown(c); got != "refused" {
			t.Errorf("%s: %s", what, got)
		}
	}
	r.good(time.Hour)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.want(c)
	r.expect(c, "refused", "chmod 0600")
	r.refresh()
	r.expect(c, "stapled", "")
	// The file of a certificate that is gone goes with the next one.
	next := chain(sign(t, r.ca, 56, at(r.url, false)), r.ca)
	r.want(next)
	r.refresh()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) != 1 || !strings.Contains(left[0], pki.Fingerprint(next.Leaf)) {
		t.Errorf("there are %v", left)
	}
	r.expect(c, "bare", "")
}

// TestWhoIsAsked: nobody on this host unless it is listed, nobody without an issuer that could
// judge him, and the next responder if one fails. An answer of before the one there is does
// not replace it.
func TestWhoIsAsked(t *testing.T) {
	r := newRig(t)
	c := chain(sign(t, r.ca, 57, at(r.url, false)), r.ca)
	r.Want(noon, []Want{{c, nil}})
	if n := r.refresh(); n != 0 {
		t.Error("a responder on this host was asked")
	}
	r.expect(c, "bare", "tls.fetch_from")
	r.Want(noon, []Want{{c, nil}, {c, here}}) // two listeners, one of which permits it
	r.clock.Advance(retryFirst)
	r.refresh()
	r.expect(c, "stapled", "")

	bare := chain(sign(t, r.ca, 58, at(r.url, false)), nil)
	r.want(bare)
	if n := r.refresh(); n != 0 {
		t.Error("a responder was asked whom nobody can judge")
	}
	r.expect(bare, "bare", "is not behind it in the file")
	whole := chain(&pair{bare.Leaf, nil}, r.ca)
	r.want(whole) // the issuer was added to the file
	r.refresh()
	r.expect(whole, "stapled", "")

	two := chain(sign(t, r.ca, 59, at("http://127.0.0.1:1", false)), r.ca)
	two.Leaf.OCSPServer = append(two.Leaf.OCSPServer, r.url)
	r.want(two)
	r.refresh()
	r.expect(two, "stapled", "")
	until := r.State(r.clock.Now(), two.Leaf).Until
	r.clock.Advance(50 * time.Minute)
	old := r.clock.Now().Add(-55 * time.Minute)
	r.answers = func(q *ocsp.Request) []byte {
		return says(t, r.ca, r.ca, true, ocsp.Response{SerialNumber: q.SerialNumber, ThisUpdate: old, NextUpdate: r.clock.Now().Add(time.Hour)})
	}
	if n := r.refresh(); n != 1 || !r.State(r.clock.Now(), two.Leaf).Until.Equal(until) {
		t.Errorf("asked %d times; an answer from before replaced the one there was", n)
	}
	plain := chain(sign(t, r.ca, 60, nil), r.ca)
	if Applies(plain.Leaf) {
		t.Error("a certificate without a responder has something to staple")
	}
	r.want(plain)
	if n := r.refresh(); n != 0 {
		t.Error("somebody was asked about it")
	}
	r.expect(plain, "bare", "")
}
