package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the port on loopback, with a CA of devices and one of claim certificates.
type rig struct {
	t       *testing.T
	addr    string
	server  *Server
	devices *pki.Devices
	claims  *pki.Devices
	roots   *x509.CertPool
	metrics *metrics.Registry
	log     *logBuffer
	stop    func() error
}

// logBuffer is what the operator reads.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func doorLimits() listener.DoorLimits {
	return listener.DoorLimits{
		ConnectionsTotal: 1000, UnauthenticatedTotal: 500, HandshakesTotal: 500, ConnectDeadline: 10 * time.Second,
		PerPrefix: map[string]int{"/32": 900}, RatePerPrefix: map[string]int{"/24": 900},
	}
}

func newRig(t *testing.T, limits listener.DoorLimits) *rig {
	t.Helper()
	now := time.Now()
	open := func() (*pki.BuiltIn, *pki.Devices, string) {
		dir := t.TempDir()
		b, err := pki.Init(dir, now, pki.Names{Hosts: []string{"localhost"}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := pki.InitDevices(dir, "", now)
		if err != nil {
			t.Fatal(err)
		}
		return b, d, dir
	}
	b, devices, dir := open()
	_, claims, claimsDir := open()
	judge := func(dir string) *pki.Clients {
		c := &pki.Clients{Ask: pki.ClientCertOptional, Identity: pki.IdentityCN}
		if err := c.LoadClientCAs([]string{pki.DevicesCA(dir)}, now); err != nil {
			t.Fatal(err)
		}
		return c
	}
	conf, err := pki.ServerTLS(pki.Intermediate, b.Provider())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, devices: devices, claims: claims, roots: x509.NewCertPool(), metrics: metrics.New(), log: &logBuffer{}}
	r.roots.AddCert(b.CA())
	count := r.metrics.NewShard()
	door, err := listener.NewDoor(limits, count)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.server = New(Options{
		Devices: devices, Known: judge(dir), Extra: []*x509.Certificate{b.CA()}, Door: door, TLS: conf, Clock: clock.System{},
		Audit: audit.New(log, count), Log: log, Count: count,
	}, Policy{Life: 720 * time.Hour, Claims: []Claim{{Clients: judge(claimsDir), Names: regexp.MustCompile(`\A(?:line7-[0-9]{4})\z`), PerDay: 5}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx, []net.Listener{l}) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the end: %v", err)
		}
		if n := r.metrics.Value(metrics.Connections); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return r
}

// tls is what a client uses that shows these certificates.
func (r *rig) tls(shows ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: r.roots, ServerName: "localhost", Certificates: shows}
}

// ask sends one request; edit changes it.
func (r *rig) ask(shows []tls.Certificate, method, path string, body io.Reader, edit func(*http.Request)) (int, http.Header, []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, "https://"+r.addr+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if edit != nil {
		edit(req)
	}
	tr := &http.Transport{TLSClientConfig: r.tls(shows...)}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s", method, path, err, r.log)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

// enroll asks with a token.
func (r *rig) enroll(name, token string, csr []byte) (int, []byte) {
	r.t.Helper()
	status, _, b := r.ask(nil, "POST", pathEnroll, bytes.NewReader(csr), func(q *http.Request) { q.SetBasicAuth(name, token) })
	return status, b
}

func (r *rig) token(name string) string {
	r.t.Helper()
	_, text, err := r.devices.NewToken(time.Now(), name, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text.Reveal())
}

// want wants the number of a counter.
func (r *rig) want(id metrics.ID, n int64) {
	r.t.Helper()
	if got := r.metrics.Value(id); got != n {
		r.t.Errorf("a counter is %d, want %d\n%s", got, n, r.log)
	}
}

func (r *rig) says(text string) {
	r.t.Helper()
	if !strings.Contains(r.log.String(), text) {
		r.t.Errorf("the log does not say %q:\n%s", text, r.log)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// csr is a signing request as EST sends it: DER in base64.
func csr(t *testing.T, key crypto.Signer, name string, edit func(*x509.CertificateRequest)) []byte {
	t.Helper()
	q := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	if edit != nil {
		edit(q)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, q, key)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(der))
}

// got is the one certificate in an answer.
func got(t *testing.T, b []byte) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
	if err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	certs, err := pki.ParseContainer(der)
	if err != nil || len(certs) != 1 {
		t.Fatalf("%v, %d certificates", err, len(certs))
	}
	return certs[0]
}

func pair(x *x509.Certificate, key crypto.Signer) []tls.Certificate {
	return []tls.Certificate{{Certificate: [][]byte{x.Raw}, PrivateKey: key}}
}

// issued is a certificate of a CA with its key.
func issued(t *testing.T, d *pki.Devices, name string) []tls.Certificate {
	t.Helper()
	out, err := d.Issue(time.Now(), pki.Order{Name: name, Life: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(out.Certificate, out.Key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{c}
}
