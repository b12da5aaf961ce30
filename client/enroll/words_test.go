package enroll

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// TestAnotherPortIsSaidToBeOne: whoever takes the port of the listener, or none, is told where to
// look.
func TestAnotherPortIsSaidToBeOne(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	hangsUp := server(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := &url.URL{Scheme: "https", Host: closed.Addr().String()}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for what, row := range map[string]struct {
		s    *Server
		want string
	}{
		"hangs up":      {hangsUp, "not how the port for enrolment"},
		"no TLS":        {&Server{URL: &url.URL{Scheme: "https", Host: plain.Listener.Addr().String()}}, "not how the port for enrolment"},
		"nobody listen": {&Server{URL: nobody}, "nothing is open there"},
	} {
		_, err := row.s.WithToken(t.Context(), t0, "dev-1", secret.New([]byte("x")), mustKey(t))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", what, err, row.want)
		}
	}
}

// TestFilesInWords: no names of temporary files and nothing of crypto/tls.
func TestFilesInWords(t *testing.T) {
	dir := t.TempDir()
	f := In(filepath.Join(dir, "none"), "dev")
	if err := f.Begin(mustKey(t)); err == nil || !strings.Contains(err.Error(), "the folder "+filepath.Join(dir, "none")+" is not there") {
		t.Errorf("no folder: %v", err)
	}
	f = In(dir, "dev")
	key, other := mustKey(t), mustKey(t)
	if err := f.Stage(key); err != nil {
		t.Fatal(err)
	}
	if err := f.Done(certFor(t, "dev", key.Public(), t0), key); err != nil {
		t.Fatal(err)
	}
	text, err := keyPEM(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Key, text, keyMode); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "does not belong to the certificate in "+f.Cert) {
		t.Errorf("another's key: %v", err)
	}
}
