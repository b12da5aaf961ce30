package test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// responder is openssl's OCSP responder of a CA.
type responder struct {
	ca      *serverCA
	port    int
	process *testkit.Process
}

func newResponder(ca *serverCA) *responder { return &responder{ca: ca, port: testkit.FreePort(ca.t)} }

// named has a certificate name the responder; must: and say that it must be stapled.
func (r *responder) named(must bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.OCSPServer = []string{fmt.Sprintf("http://127.0.0.1:%d", r.port)}
		if must {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
		}
	}
}

// up starts it. It answers as the CA itself, or as signer, for these certificates.
func (r *responder) up(signer string, good []*x509.Certificate, revoked ...*x509.Certificate) {
	r.ca.t.Helper()
	var index strings.Builder
	for _, c := range good {
		fmt.Fprintf(&index, "V\t%s\t\t%X\tunknown\t/CN=%d\n", c.NotAfter.UTC().Format("060102150405Z"), c.SerialNumber, c.SerialNumber)
	}
	for _, c := range revoked {
		fmt.Fprintf(&index, "R\t%s\t%s,keyCompromise\t%X\tunknown\t/CN=%d\n", c.NotAfter.UTC().Format("060102150405Z"), time.Now().UTC().Format("060102150405Z"), c.SerialNumber, c.SerialNumber)
	}
	testkit.WriteFile(r.ca.t, r.ca.path("index.txt"), index.String())
	r.process = testkit.Go(r.ca.t, "", "openssl", "ocsp", "-port", fmt.Sprint(r.port), "-index", r.ca.path("index.txt"), "-CA", r.ca.path("ca.pem"),
		"-rsigner", r.ca.path(signer+".pem"), "-rkey", r.ca.path(signer+".key"), "-nmin", "10", "-ignore_err")
	// A connection to look whether it listens would end it: it says so itself.
	if _, ok := r.process.Stderr.WaitFor(patience, 0, "waiting for OCSP client connections"); !ok {
		r.ca.t.Fatalf("the responder does not listen\n%s%s", r.process.Stdout, r.process.Stderr)
	}
}

func (r *responder) down() { r.process.Stop() }

// listener is that of the CA, which permits a responder on this host.
func (r *responder) listener(port int, files ...string) string {
	return r.ca.listener(port, files...) + "      fetch_from: [127.0.0.1/32]\n"
}

// stapled is what openssl says of the answer that comes with a handshake: good, none, or
// refused without a handshake.
func stapled(t *testing.T, ca *serverCA, port int, flags ...string) string {
	t.Helper()
	r := openssl(t, port, append([]string{"-status", "-CAfile", ca.path("ca.pem")}, flags...)...)
	switch {
	case leafOf(t, r) == nil:
		return "refused"
	case strings.Contains(r.Stdout, "OCSP response: no response sent"):
		return "none"
	case strings.Contains(r.Stdout, "OCSP Response Status: successful") && strings.Contains(r.Stdout, "Cert Status: good") && strings.Contains(r.Stdout, "Verify return code: 0 (ok)"):
		return "good"
	}
	return r.Text()
}

// becomes waits until a listener shows it.
func becomes(t *testing.T, b *testkit.Broker, ca *serverCA, port int, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); { // each takes a program
		if got = stapled(t, ca, port); got == want {
			return
		}
	}
	t.Fatalf("%s, want %s\n%s", got, want, b.Log())
}

// TestOCSPStapling (P3.6): the very first handshake carries the responder's answer, in both
// versions and for each certificate of a listener; after a start while the responder is down,
// too; and not without an answer that a client would take.
func TestOCSPStapling(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	ca := newServerCA(t, "plant CA")
	r := newResponder(ca)
	ec, rs := ca.server("ec", "a.example", ecKey(t), r.named(true)), ca.server("rsa", "a.example", rsaKey(t), r.named(false))
	ca.server("stranger", "stranger", ecKey(t))
	port, data := testkit.FreePort(t), filepath.Join(testkit.TempDir(t), "data")
	start := func() *testkit.Broker {
		return testkit.Start(t, testkit.Options{DataDir: data, Listeners: r.listener(port, "ec", "rsa")})
	}
	each := func(b *testkit.Broker, want string) {
		t.Helper()
		for _, flags := range []string{"-tls1_3", "-tls1_2", "-tls1_3 -sigalgs rsa_pss_rsae_sha256", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"} {
			if got := stapled(t, ca, port, strings.Fields(flags)...); got != want {
				t.Errorf("%s: %s, want %s\n%s", flags, got, want, b.Log())
			}
		}
	}

	r.up("ca", []*x509.Certificate{ec, rs})
	b := start()
	each(b, "good")
	status := b.Redoubt("", "status")
	if n := strings.Count(status.Stdout, "OCSP staple until "); n != 2 || strings.Contains(status.Stdout, "alarm") {
		t.Errorf("%d certificates are stapled\n%s", n, status.Text())
	}
	if s, _ := filepath.Glob(filepath.Join(data, "certs", "staples", "*.ocsp")); len(s) != 2 {
		t.Errorf("kept are %v", s)
	}
	r.down()
	b.Stop()

	b = start()
	each(b, "good")
	b.Stop()

	// Nothing kept, and nobody who could answer: what must be stapled is not shown, and the
	// other certificate is, without.
	if err := os.RemoveAll(filepath.Join(data, "certs", "staples")); err != nil {
		t.Fatal(err)
	}
	r.up("stranger", []*x509.Certificate{ec, rs})
	b = start()
	if got := stapled(t, ca, port, "-tls1_3"); got != "refused" {
		t.Errorf("a must-staple certificate without an answer that counts: %s", got)
	}
	if got := stapled(t, ca, port, "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"); got != "none" {
		t.Errorf("the other one: %s", got)
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, `"alarm":"staple_missing"`, `"subject":"public"`, "is not for signing answers (OCSPSigning)", "no handshake with it is let through"); !ok {
		t.Fatal(b.Log())
	}
	r.down()
	r.up("ca", []*x509.Certificate{ec}, rs)
	becomes(t, b, ca, port, "good")
	if _, ok := b.Stderr.WaitFor(patience, 0, `"alarm":"certificate_revoked"`, "revoked on", "keyCompromise"); !ok {
		t.Fatal(b.Log())
	}
	if got := stapled(t, ca, port, "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"); got != "none" {
		t.Errorf("one that was revoked: %s", got)
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, "alarm cleared", "staple_missing"); !ok {
		t.Fatal(b.Log())
	}
	if s := b.Redoubt("", "status"); !strings.Contains(s.Stdout, "alarm") || !strings.Contains(s.Stdout, "certificate_revoked (public)") {
		t.Errorf("%s", s.Text())
	}
}

// TestARenewalThatMustBeStapled (P3.6): files with a must-staple certificate are put in force
// when there is an answer about it, and until then the old one is served.
func TestARenewalThatMustBeStapled(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	ca := newServerCA(t, "plant CA")
	r := newResponder(ca)
	ca.server("a", "a.example", ecKey(t))
	port := testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{Listeners: r.listener(port, "a")})
	if got := stapled(t, ca, port); got != "none" {
		t.Fatalf("a certificate that names nobody: %s", got)
	}
	if s := b.Redoubt("", "status", "-o", "json"); !strings.Contains(s.Stdout, `"staple": "not applicable`) {
		t.Errorf("%s", s.Text())
	}
	x := ca.server("a", "a.example", ecKey(t), r.named(true))
	if _, ok := b.Stderr.WaitFor(patience, 0, `"alarm":"certificate_files_refused"`, "is must-staple", "connection refused"); !ok {
		t.Fatal(b.Log())
	}
	if got := stapled(t, ca, port); got != "none" {
		t.Errorf("while nobody answers: %s, want the old one", got)
	}
	if r := b.Redoubt("", "reload"); r.Code == 0 || !strings.Contains(r.Text(), "is must-staple") {
		t.Errorf("a reload: %s", r.Text())
	}
	r.up("ca", []*x509.Certificate{x})
	becomes(t, b, ca, port, "good")
	if got := leafOf(t, openssl(t, port)); !got.Equal(x) {
		t.Error("not the new certificate")
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, "alarm cleared", "certificate_files_refused"); !ok {
		t.Fatal(b.Log())
	}
}

// TestTheResponderIsAskedBeforeAListenerOpens (P3.6), so that nobody can be the first client.
func TestTheResponderIsAskedBeforeAListenerOpens(t *testing.T) {
	t.Parallel()
	ca, port := newServerCA(t, "plant CA"), testkit.FreePort(t)
	open := make(chan bool, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		open <- err == nil
		http.Error(w, "later", http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	ca.server("a", "a.example", ecKey(t), func(c *x509.Certificate) { c.OCSPServer = []string{s.URL} })
	b := testkit.Start(t, testkit.Options{Listeners: ca.listener(port, "a") + "      fetch_from: [127.0.0.1/32]\n"})
	select {
	case was := <-open:
		if was {
			t.Error("the listener was open before its responder was asked")
		}
	default:
		t.Errorf("the broker is ready and has not asked\n%s", b.Log())
	}
	if got := stapled(t, ca, port); got != "none" { // and it opens all the same
		t.Errorf("%s", got)
	}
}
