package test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// statusServer is a real OCSP responder: that of openssl.
type statusServer struct {
	t     *testing.T
	ca    *deviceCA
	port  int
	index string
	argv  []string
	run   *testkit.Process
}

// newStatusServer makes one that is not started. delegated: the CA has made it one, and does not
// sign itself.
func newStatusServer(t *testing.T, ca *deviceCA, delegated bool) *statusServer {
	t.Helper()
	r := &statusServer{t: t, ca: ca, port: testkit.FreePort(t), index: filepath.Join(ca.dir, "index.txt")}
	r.knows()
	signer, key := ca.cert, ca.key
	if delegated {
		signer, key = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "responder"}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, ca.cert)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.write("responder.pem", "CERTIFICATE", signer.Raw)
	ca.write("responder.key", "PRIVATE KEY", der)
	r.argv = []string{testkit.Need(t, "openssl"), "ocsp", "-index", r.index, "-port", fmt.Sprint(r.port), "-nmin", "60", "-ignore_err",
		"-CA", ca.path("ca.pem"), "-rsigner", ca.path("responder.pem"), "-rkey", ca.path("responder.key")}
	return r
}

func (r *statusServer) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", r.port) }

// knows writes what the responder says: the first so many are good, and those that were
// revoked.
func (r *statusServer) knows(revoked ...*x509.Certificate) {
	r.t.Helper()
	var text strings.Builder
	gone := map[string]bool{}
	for _, x := range revoked {
		gone[x.SerialNumber.String()] = true
	}
	for n := range 40 {
		until := time.Now().Add(24 * time.Hour).UTC().Format("060102150405Z")
		if gone[fmt.Sprint(n)] {
			fmt.Fprintf(&text, "R\t%s\t%s,keyCompromise\t%02X\tunknown\t/CN=%d\n", until, time.Now().Add(-time.Minute).UTC().Format("060102150405Z"), n, n)
		} else {
			fmt.Fprintf(&text, "V\t%s\t\t%02X\tunknown\t/CN=%d\n", until, n, n)
		}
	}
	testkit.WriteFile(r.t, r.index, text.String())
}

func (r *statusServer) start() {
	r.t.Helper()
	r.run = testkit.Go(r.t, "", r.argv...)
	// It is not asked whether it is there: a connection without a question would block it.
	if _, ok := r.run.Stderr.WaitFor(patience, 0, "waiting for OCSP client connections"); !ok {
		r.t.Fatalf("the responder does not start: %s%s", r.run.Stdout, r.run.Stderr)
	}
}

func (r *statusServer) stop() {
	r.run.Signal(os.Kill)
	r.run.Wait(patience)
}

// TestOCSPThatIsHard (P3.5): nobody of whom the responder has said nothing gets in, whom it
// calls revoked is out within ten seconds, and an outage leaves in whose answer counts. One
// after a start leaves out everybody, until it ends.
func TestOCSPThatIsHard(t *testing.T) {
	t.Parallel()
	ca := newDeviceCA(t, "devices")
	r := newStatusServer(t, ca, false)
	gone := ca.issueNaming("gone", nil, []string{r.url()})
	ca.issueNaming("kept", nil, []string{r.url()})
	ca.issue("none") // names no responder, so that nobody can be asked
	r.start()
	b := newMTLSWith(t, ca, from127+"      ocsp: {check: hard, refresh: 1s}\n")
	d := newDeviceDoors(t, ca, b)
	for _, name := range []string{"gone", "kept"} {
		d.comes(name, "devices", "is being asked")
		d.comes(name, "browsers", "")
	}
	_ = d.must("none", "devices", tls.VersionTLS13).Close()
	d.withdrawal("says so, since", func() { r.stop(); r.knows(gone); r.start() })

	from := b.Stderr.Len()
	r.stop()
	if _, ok := b.Stderr.WaitFor(patience, from, "alarm", "ocsp_unavailable"); !ok {
		t.Errorf("no alarm about an outage\n%s", b.Stderr)
	}
	_ = d.must("kept", "browsers", tls.VersionTLS12).Close()
	b.Stop()
	d.again()
	for _, name := range []string{"gone", "kept"} {
		if _, err := d.enter(name, "devices", tls.VersionTLS13); err == nil {
			t.Errorf("%s is let in while nobody can be asked", name)
		}
	}
	r.start()
	for end := time.Now().Add(patience); ; {
		c, err := d.enter("kept", "devices", tls.VersionTLS13)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the responder is there again: %v\n%s", err, d.b.Log())
		}
		d.b.Stderr.WaitFor(500*time.Millisecond, d.b.Stderr.Len(), "alarm cleared")
	}
	if _, err := d.enter("gone", "devices", tls.VersionTLS13); err == nil {
		t.Error("a revoked one is let in")
	}
}

// TestOCSPThatIsSoft (P3.5): without a responder clients are let in, with an alarm; when it
// answers, by one whom the CA has made its responder, who was revoked is out.
func TestOCSPThatIsSoft(t *testing.T) {
	t.Parallel()
	ca := newDeviceCA(t, "devices")
	r := newStatusServer(t, ca, true)
	gone := ca.issueNaming("gone", nil, []string{r.url()})
	ca.issueNaming("kept", nil, []string{r.url()})
	b := newMTLSWith(t, ca, from127+"      ocsp: {check: soft, refresh: 1s}\n")
	d := newDeviceDoors(t, ca, b)
	_ = d.must("kept", "devices", tls.VersionTLS13).Close()
	if _, ok := b.Stderr.WaitFor(patience, 0, "alarm", "ocsp_unavailable"); !ok {
		t.Errorf("no alarm about a responder that is not there\n%s", b.Stderr)
	}
	d.withdrawal("says so, since", func() { r.knows(gone); r.start() })
	if _, ok := b.Stderr.WaitFor(patience, 0, "alarm cleared", "ocsp_unavailable"); !ok {
		t.Errorf("the alarm lasts\n%s", b.Stderr)
	}
}
