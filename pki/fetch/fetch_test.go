package fetch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestAListedAddressIsAsked(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.Header.Get("Content-Type")+" "+string(b))
	})
	c := New(loopback, 0)
	if b, err := c.Get(t.Context(), at, 100); err != nil || string(b) != "GET  " {
		t.Errorf("Get: %q, %v", b, err)
	}
	if b, err := c.Post(t.Context(), at, "application/ocsp-request", []byte("who?"), 100); err != nil || string(b) != "POST application/ocsp-request who?" {
		t.Errorf("Post: %q, %v", b, err)
	}
}

// A139: whoever makes certificates chooses their addresses.
func TestAddressesOfThisHostAreNotAsked(t *testing.T) {
	asked := false
	at := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(at, "http://"))
	c := New(nil, 0)
	for _, url := range []string{at, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://[::1]:" + port, "http://0.0.0.0:" + port, "http://169.254.169.254/latest/meta-data", "http://10.0.0.1", "http://[fe80::1]"} {
		_, err := c.Get(t.Context(), url, 100)
		if err == nil || !strings.Contains(err.Error(), "tls.fetch_from") {
			t.Errorf("%s: %v, want a refusal that names the key", url, err)
		}
	}
	if asked {
		t.Error("a server on this host was asked")
	}
	if _, err := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 0).Get(t.Context(), at, 100); err == nil {
		t.Error("a list of other networks lets this host be asked")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := false
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other" {
			followed = true
			return
		}
		http.Redirect(w, r, "/other", http.StatusFound)
	})
	_, err := New(loopback, 0).Get(t.Context(), at, 100)
	if err == nil || !strings.Contains(err.Error(), "redirects are not followed") || followed {
		t.Errorf("%v, followed: %v", err, followed)
	}
}

func TestSizeIsBoundedBeforeItIsRead(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/said" {
			w.Header().Set("Content-Length", "104857600")
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 50))
		w.(http.Flusher).Flush() // and so no length is said
		_, _ = io.WriteString(w, strings.Repeat("x", 51))
	})
	c := New(loopback, 0)
	if _, err := c.Get(t.Context(), at+"/said", 100); err == nil || !strings.Contains(err.Error(), "has 104857600 bytes; the most is 100") {
		t.Errorf("a length over the limit: %v", err)
	}
	if _, err := c.Get(t.Context(), at, 100); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("101 bytes: %v", err)
	}
	if b, err := c.Get(t.Context(), at, 101); err != nil || len(b) != 101 {
		t.Errorf("as many as are allowed: %d, %v", len(b), err)
	}
}

func TestAServerThatDoesNotEndIsLeft(t *testing.T) {
	begun := make(chan struct{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		close(begun)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := New(loopback, time.Hour).Get(ctx, at, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := New(loopback, time.Nanosecond).Get(t.Context(), at, 100); err == nil {
		t.Error("a request has no limit of time")
	}
}

func TestOtherAnswersAreErrors(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) })
	if _, err := New(loopback, 0).Get(t.Context(), at, 100); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{
		"http://crl.example/a.crl":       "",
		"https://crl.example:8443/a.crl": "",
		"ldap://crl.example/cn=x":        "not of http or https",
		"file:///etc/passwd":             "not of http or https",
		"http://u:pw@crl.example/":       "has a user name",
		"http:///a":                      "names no host",
		"http://a b":                     "is no address",
		"http://x/\r\nHost: y":           "is no address",
		"":                               "not of http or https",
		"http://crl.example/" + strings.Repeat("x", 1<<12): "the most is 2048",
	} {
		err := Check(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("an error shows a password: %v", err)
		}
	}
}

func TestPublic(t *testing.T) {
	for a, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "::ffff:93.184.216.34": true,
		"64:ff9b::5db8:d822": true, "64:ff9b::7f00:1": false, "64:ff9b::a00:1": false, // NAT64
		"2002:5db8:d822::1": true, "2002:7f00:1::1": false, "2002:c0a8:1::1": false, // 6to4
		"127.0.0.1": false, "127.255.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.0.1": false, "fc00::1": false, "fd12::1": false, "::ffff:10.0.0.1": false,
		"169.254.169.254": false, "fe80::1%eth0": false, "224.0.0.1": false, "ff02::1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "255.255.255.255": false, "250.0.0.1": false,
		"100.64.0.1": false, "198.18.0.1": false, "192.0.0.8": false, "2001::1": false, "fec0::1": false, "2001:db8::1": false, "::ffff:0:7f00:1": false,
	} {
		if got := Public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: public %v, want %v", a, got, want)
		}
	}
}
