package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// newHealth serves the pages on loopback.
func newHealth(t *testing.T, why *atomic.Pointer[[]string], change func(*Health)) (addr string, stop func() error) {
	t.Helper()
	reg := metrics.New()
	reg.NewShard().Add(metrics.BytesReceived, 4711)
	h := NewHealth(HealthOptions{Metrics: reg.Handler(), Log: slog.New(slog.DiscardHandler), NotReady: func() []string {
		if p := why.Load(); p != nil {
			return *p
		}
		return nil
	}})
	if change != nil {
		change(h)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, l) }()
	stop = func() error { cancel(); err := <-ended; ended <- err; return err }
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String(), stop
}

func get(t *testing.T, method, addr, path, body string) (int, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s may be kept", path)
	}
	return resp.StatusCode, string(b)
}

func TestHealthPages(t *testing.T) {
	var why atomic.Pointer[[]string]
	addr, _ := newHealth(t, &why, nil)
	for _, c := range []struct {
		method, path, body string
		notReady           []string
		status             int
		want               string
	}{
		{"GET", "/livez", "", nil, 200, "ok\n"},
		{"GET", "/readyz", "", nil, 200, "ok\n"},
		{"HEAD", "/readyz", "", nil, 200, ""},
		{"GET", "/livez", "", []string{"draining"}, 200, "ok\n"},
		{"GET", "/readyz", "", []string{"listener mqtts is not open", "draining"}, 503, "listener mqtts is not open\ndraining\n"},
		{"GET", "/metrics", "", nil, 200, "redoubt_received_bytes_total 4711\n"},
		{"POST", "/livez", "", nil, 405, ""},
		{"GET", "/livez", "x", nil, 413, "no page here takes a body"},
		{"GET", "/", "", nil, 404, ""},
		{"GET", "/api/v5/status", "", nil, 404, ""},
		{"GET", "/debug/pprof/", "", nil, 404, ""},
	} {
		why.Store(&c.notReady)
		if status, body := get(t, c.method, addr, c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %.80q, want %d %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestAttacksOnHealth(t *testing.T) {
	var why atomic.Pointer[[]string]
	for name, c := range map[string]struct{ bytes, want string }{
		"slow header":  {"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
		"large header": {"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"endless body": {"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nx", "HTTP/1.1 413 "},
		"tls":          {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n", "HTTP/1."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := newHealth(t, &why, func(h *Health) {
				h.times.header, h.times.request, h.times.idle = 50*time.Millisecond, 150*time.Millisecond, 50*time.Millisecond
			})
			if got := typed(t, "tcp", addr, c.bytes); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("answered %.100q, want %q", got, c.want)
			}
		})
	}
}

func TestHealthEnds(t *testing.T) {
	var why atomic.Pointer[[]string]
	addr, stop := newHealth(t, &why, func(h *Health) { h.times.graceful = 20 * time.Millisecond })
	c, err := net.Dial("tcp", addr) // somebody who says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if status, _ := get(t, "GET", addr, "/livez", ""); status != http.StatusOK {
		t.Fatal(status)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	}
}
