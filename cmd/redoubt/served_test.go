package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/acme"
)

var certNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// certRig is a node with one listener and its certificates, and nothing else.
type certRig struct {
	*node
	t     *testing.T
	clock *clock.Manual
	door  *door
	dir   string
	n     int64
}

func newCertRig(t *testing.T) *certRig {
	t.Helper()
	r := &certRig{t: t, clock: clock.NewManual(certNoon), dir: t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	r.door = &door{Listener: &listener.Listener{Name: "mqtts"}}
	r.node = &node{clock: r.clock, log: log, metrics: metrics.New(), alarms: alarm.New(log), pki: &pki.BuiltIn{}}
	r.node.setDoors([]*door{r.door})
	r.node.loaded.Store(&config.Loaded{Config: &config.Config{Listeners: map[string]config.Listener{"mqtts": {}}}})
	r.node.watch.seen = map[string]stamp{}
	r.door.certs.Store(pki.NewProvider())
	return r
}

func (r *certRig) file(name string) string { return filepath.Join(r.dir, name) }

// issue makes a pair that ends after so long, and puts its certificate into FILE.
func (r *certRig) issue(file, host string, life time.Duration) *tls.Certificate {
	r.t.Helper()
	r.n++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(r.n), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: certNoon.Add(-time.Hour), NotAfter: certNoon.Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(r.file(file), text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := pki.LoadPairWithKey(r.file(file), secret.New(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "key", certNoon)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// serves puts certificates in force, from files a.pem, b.pem and so on.
func (r *certRig) serves(certs ...*tls.Certificate) {
	r.door.certs.Load().Set(certs...)
	ln := config.Listener{}
	for i := range certs {
		ln.TLS.Certificates = append(ln.TLS.Certificates, config.Certificate{Cert: r.file(string(rune('a'+i)) + ".pem")})
	}
	r.node.loaded.Load().Config.Listeners["mqtts"] = ln
}

// alarmed are the reasons of an alarm that lasts.
func (r *certRig) alarmed(kind *alarm.Kind) string {
	var why []string
	for _, a := range r.alarms.Active() {
		if a.Kind == kind {
			why = append(why, a.Subject+": "+a.Why)
		}
	}
	return strings.Join(why, "\n")
}

// TestExpiryIsAnAlarm (P3.3): at 30, 14 and 7 days and at the end, with the certificate's
// name; renewal ends it. Of the built-in CA's, which is renewed at 30, from 14 on.
func TestExpiryIsAnAlarm(t *testing.T) {
	r := newCertRig(t)
	const dayLong = 24 * time.Hour
	r.serves(r.issue("a.pem", "a.example", 40*dayLong), r.issue("b.pem", "b.example", 31*dayLong))
	for _, step := range []struct {
		after time.Duration
		want  string // "": no alarm
		not   string
	}{
		{0, "", ""},
		{dayLong, `mqtts: certificate 2 of "CN=b.example" expires in less than 30 days, on 2026-04-01`, "a.example"},
		{5 * dayLong, "less than 30 days", "a.example"},
		{5 * dayLong, `of "CN=a.example" expires in less than 30 days`, ""},
		{6 * dayLong, "b.example\" expires in less than 14 days", ""},
		{7 * dayLong, "b.example\" expires in less than 7 days", ""},
		{8 * dayLong, "b.example\" expired on 2026-04-01 12:00 UTC", ""},
	} {
		now := r.clock.Advance(step.after)
		r.warnExpiry(now)
		got := r.alarmed(alarm.CertificateExpiry)
		if (got == "") != (step.want == "") || !strings.Contains(got, step.want) || step.not != "" && strings.Contains(got, step.not) {
			t.Errorf("on %s: %q, want %q", now.Format("2006-01-02"), got, step.want)
		}
	}
	r.serves(r.issue("a.pem", "a.example", 90*dayLong), r.issue("b.pem", "b.example", 90*dayLong))
	r.warnExpiry(r.clock.Now())
	if got := r.alarmed(alarm.CertificateExpiry); got != "" {
		t.Errorf("renewed: %q", got)
	}

	own := newCertRig(t)
	own.pki = mustPKI(t)
	own.door.certs.Store(own.pki.Provider())
	end := own.pki.Provider().NotAfter()
	for left, want := range map[time.Duration]bool{29 * dayLong: false, 14 * dayLong: true} {
		own.warnExpiry(end.Add(-left))
		if got := own.alarmed(alarm.CertificateExpiry); (got != "") != want {
			t.Errorf("the built-in one, %v before its end: %q", left, got)
		}
		own.alarms.Clear(end, alarm.CertificateExpiry, "mqtts")
	}

	// Some CAs give a week, and it is renewed in it.
	short := newCertRig(t)
	short.acme = acmeManagers{"mqtts": &acme.Manager{}}
	short.door.certs.Load().Set(short.issue("a.pem", "a.example", 6*dayLong))
	for after, want := range map[time.Duration]bool{0: false, 4 * dayLong: false, 5 * dayLong: true, 7 * dayLong: true} {
		short.warnExpiry(certNoon.Add(after))
		if got := short.alarmed(alarm.CertificateExpiry); (got != "") != want {
			t.Errorf("one of six days by ACME, after %v: %q", after, got)
		}
		short.alarms.Clear(certNoon, alarm.CertificateExpiry, "mqtts")
	}
}

// mustPKI is a built-in CA.
func mustPKI(t *testing.T) *pki.BuiltIn {
	t.Helper()
	b, err := pki.Init(t.TempDir(), certNoon, pki.LocalNames("broker.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestServedIsComparedWithTheFile (P3.3): another certificate in the file is noticed by what
// is in it, read again at once, and an alarm if that does not help.
func TestServedIsComparedWithTheFile(t *testing.T) {
	r := newCertRig(t)
	a, b := r.issue("a.pem", "a.example", time.Hour), r.issue("b.pem", "b.example", time.Hour)
	r.serves(a, b)
	r.compare()
	if got := r.alarmed(alarm.CertificateDiffers); got != "" || r.watch.seen == nil {
		t.Fatalf("nothing differs: %q", got)
	}
	renewed := r.issue("b.pem", "b.example", time.Hour)
	r.compare()
	if got := r.alarmed(alarm.CertificateDiffers); got != "" || r.watch.seen != nil {
		t.Errorf("seen for the first time: alarm %q, files are read again: %v", got, r.watch.seen == nil)
	}
	r.watch.seen = map[string]stamp{}
	r.clock.Advance(differsFor)
	r.compare()
	got := r.alarmed(alarm.CertificateDiffers)
	for _, want := range []string{"mqtts: it serves certificate 2 of \"CN=b.example\", SHA-256 " + pki.Fingerprint(b.Leaf), r.file("b.pem") + " holds certificate 3", pki.Fingerprint(renewed.Leaf)} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if r.watch.seen == nil {
		t.Error("the files are read again at each look")
	}
	status := r.certificateStatus()
	if len(status) != 2 || status[0].Differs == "" || !strings.Contains(certificateWords(&status[1]), "the file holds something else") {
		t.Errorf("%+v", status)
	}
	if err := os.Remove(r.file("a.pem")); err != nil {
		t.Fatal(err)
	}
	r.compare()
	if got := r.alarmed(alarm.CertificateDiffers); !strings.Contains(got, "its file cannot be read any more") {
		t.Errorf("a file that is gone: %q", got)
	}
	r.serves(r.issue("a.pem", "a.example", time.Hour), renewed)
	r.compare()
	if got := r.alarmed(alarm.CertificateDiffers); got != "" {
		t.Errorf("it serves what the files hold: %q", got)
	}
	if s := r.certificateStatus(); s[0].Differs != "" || s[1].Fingerprint != pki.Fingerprint(renewed.Leaf) || s[1].File != r.file("b.pem") {
		t.Errorf("%+v", s)
	}
}

// TestCertificatesHaveASeriesEach, by listener and place.
func TestCertificatesHaveASeriesEach(t *testing.T) {
	r := newCertRig(t)
	r.serves(r.issue("a.pem", "a.example", time.Hour), r.issue("b.pem", "b.example", 2*time.Hour))
	r.reportCertificates()
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{`{certificate="0",listener="mqtts"} 1.77237e+09`, `{certificate="1",listener="mqtts"} 1.7723736`} {
		if !strings.Contains(w.Body.String(), "\nredoubt_certificate_not_after_timestamp_seconds"+want) {
			t.Errorf("no %s", want)
		}
	}
}
