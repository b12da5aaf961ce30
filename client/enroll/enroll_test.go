package enroll

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certFor is a certificate of nobody in particular.
func certFor(t *testing.T, name string, public crypto.PublicKey, end time.Time) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: t0.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, mustKey(t))
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func packed(t *testing.T, certs ...*x509.Certificate) string {
	t.Helper()
	der, err := pki.Container(certs...)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// server answers everything with one handler.
func server(t *testing.T, h http.HandlerFunc) *Server {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &Server{URL: u, Roots: roots}
}

// TestWhatTheServerGivesIsJudged: a device uses nothing that it did not ask for.
func TestWhatTheServerGivesIsJudged(t *testing.T) {
	key := mustKey(t)
	good, ca := certFor(t, "dev", key.Public(), t0.Add(time.Hour)), certFor(t, "CA", mustKey(t).Public(), t0.Add(time.Hour))
	for _, row := range []struct{ what, answer, want string }{
		{"it", packed(t, good), ""},
		{"it, and its CA", packed(t, ca, good), ""},
		{"in lines", strings.ReplaceAll(packed(t, good), "A", "A\r\n"), ""},
		{"of another key", packed(t, certFor(t, "dev", mustKey(t).Public(), t0.Add(time.Hour))), "no certificate for the key"},
		{"of another name", packed(t, certFor(t, "other", key.Public(), t0.Add(time.Hour))), "another name"},
		{"an old one", packed(t, certFor(t, "dev", key.Public(), t0.Add(-time.Minute))), "has expired"},
		{"a page", "<html>", "not base64"},
		{"nothing", "", "PKCS #7"},
		{"without end", strings.Repeat("A", answerBytesMax+1), "KiB"},
	} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			name, token, _ := r.BasicAuth()
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path != "/.well-known/est/simpleenroll" || name != "dev" || token != "secret" || len(body) == 0 {
				t.Errorf("%s: %s of %q with %q", row.what, r.URL, name, token)
			}
			_, _ = io.WriteString(w, row.answer)
		})
		x, err := s.WithToken(context.Background(), t0, "dev", secret.FromString("secret"), key)
		if row.want == "" {
			if err != nil || !x.Equal(good) {
				t.Errorf("%s: %v", row.what, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
}

// TestATokenGoesNowhereElse: not where the server sends us, not in the clear, and not to one
// that is not known.
func TestATokenGoesNowhereElse(t *testing.T) {
	asked := 0
	elsewhere := server(t, func(http.ResponseWriter, *http.Request) { asked++ })
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL.String(), http.StatusTemporaryRedirect)
	})
	s.Roots.AddCert(certOf(t, elsewhere))
	var refused *Refused
	if _, err := s.WithToken(context.Background(), t0, "dev", secret.FromString("secret"), mustKey(t)); !errors.As(err, &refused) || refused.Status != http.StatusTemporaryRedirect {
		t.Errorf("a redirect: %v", err)
	}
	unknown := &Server{URL: elsewhere.URL, Roots: x509.NewCertPool()}
	if _, err := unknown.WithToken(context.Background(), t0, "dev", secret.FromString("secret"), mustKey(t)); err == nil || !strings.Contains(err.Error(), "--cafile") {
		t.Errorf("a server that is not known: %v", err)
	}
	if asked != 0 {
		t.Errorf("the other server was asked %d times", asked)
	}
	for _, text := range []string{"", "http://a:1", "https://", "https://u:p@a", "https://a/b", "https://a?x", "a:8443", "https://a#x"} {
		if _, err := ParseURL(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, text := range []string{"https://a:8443", "https://a/", "https://[::1]:8443"} {
		if _, err := ParseURL(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func certOf(t *testing.T, s *Server) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", s.URL.Host, &tls.Config{RootCAs: s.Roots, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

func TestRefusalsSayWhetherToTryAgain(t *testing.T) {
	for status, final := range map[int]bool{400: true, 401: true, 403: true, 404: true, 413: true, 429: false, 500: false, 503: false} {
		s := server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60\r\n\x1b[1m"[:2])
			w.WriteHeader(status)
		})
		_, err := s.WithToken(context.Background(), t0, "dev", secret.FromString("x"), mustKey(t))
		var r *Refused
		if !errors.As(err, &r) || r.Status != status || r.Final() != final || !strings.Contains(err.Error(), "in 60 seconds") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if digits("1\x1b[1m") != "" || digits("1234567") != "" {
		t.Error("what is no number is shown")
	}
}
