package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Slow and large requests end early; nobody is held up by them.
func TestAttacksOnTheServer(t *testing.T) {
	short := func(s *Server) {
		s.times.header, s.times.request, s.times.idle = 50*time.Millisecond, 150*time.Millisecond, 50*time.Millisecond
	}
	// What is large must not be found slow on a machine that is busy.
	patient := func(s *Server) {
		s.times.header, s.times.request, s.times.idle = 30*time.Second, 30*time.Second, 50*time.Millisecond
	}
	big := `{"user_id":"` + strings.Repeat("a", 2<<20) + `"}`
	for name, c := range map[string]struct {
		bytes string
		want  string // prefix of the answer; "" means closed without one
	}{
		"nothing":            {"", ""},
		"slow header":        {"GET /api/v5/status HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
		"slow body":          {"POST " + usersURL + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "HTTP/1.1 408 "},
		"slow second":        {"GET /api/v5/status HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
		"large header":       {"GET /api/v5/status HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("a", apiHeaderBytesMax+(32<<10)) + "\r\n\r\n", "HTTP/1.1 431 "},
		"large body":         {fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", usersURL, len(big), big), "HTTP/1.1 413 "},
		"large chunked body": {fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", usersURL, len(big), big), "HTTP/1.1 413 "},
		"no HTTP":            {"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\r\n\r\n", "HTTP/1.1 400 "},
		"two lengths":        {"POST " + usersURL + " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n{}x", "HTTP/1.1 400 "},
		"options star":       {"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times := short
			if strings.HasPrefix(name, "large") {
				times = patient
			}
			r := newRig(t, times)
			got := typed(t, "unix", r.socket, c.bytes)
			if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("answered %.200q, want %q", got, c.want)
			}
			if r.store.Len() != 0 {
				t.Error("a user was added")
			}
			if _, err := r.client.Status(t.Context()); err != nil {
				t.Errorf("afterwards the server does not answer: %v", err)
			}
		})
	}
}

// blockingUsers lets a test hold requests inside.
type blockingUsers struct {
	Users
	entered chan struct{}
	release chan struct{}
}

func (b *blockingUsers) List(ctx context.Context, q UserQuery) (UserPage, error) {
	b.entered <- struct{}{}
	select {
	case <-b.release:
		return UserPage{Data: []User{}}, nil
	case <-ctx.Done():
		return UserPage{}, ctx.Err()
	}
}

// withBlockingUsers rebuilds the API around users that wait.
func withBlockingUsers(b *blockingUsers) func(*Server) {
	return func(s *Server) {
		o := Options{Version: "x", Clock: s.guard.clock, Log: s.log, Users: b, Policy: nilPolicy{}, Status: fixedStatus{}, Reloader: fixedStatus{}}
		mux, api := newAPI(&o)
		s.guard.next, s.api = mux, api
	}
}

type fixedStatus struct{}

func (fixedStatus) Status() StatusReport                         { return StatusReport{} }
func (fixedStatus) Reload(context.Context) (ReloadReport, error) { return ReloadReport{}, nil }

func TestTooManyRequestsAtOnce(t *testing.T) {
	b := &blockingUsers{entered: make(chan struct{}), release: make(chan struct{})}
	r := newRig(t, withBlockingUsers(b))
	var wg sync.WaitGroup
	for range requestsMax {
		wg.Go(func() {
			if _, err := r.client.List(context.Background(), UserQuery{}); err != nil {
				t.Errorf("a request within the limit: %v", err)
			}
		})
	}
	for range requestsMax {
		<-b.entered
	}
	resp, body := r.raw(http.MethodGet, "/api/v5/status", "")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too many") {
		t.Errorf("one more: %d %s", resp.StatusCode, body)
	}
	close(b.release)
	wg.Wait()
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Connections beyond the limit wait in the kernel and are served later.
func TestTooManyConnections(t *testing.T) {
	r := newRig(t, nil)
	var open []net.Conn
	for range connectionsMax {
		c, err := net.Dial("unix", r.socket)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	// One answer on each proves that all were accepted.
	for _, c := range open {
		if _, err := io.WriteString(c, "GET /api/v5/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.client.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one connection more: %v, want it to wait", err)
	}
	for _, c := range open {
		_ = c.Close()
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("after the others left: %v", err)
	}
}

func TestGracefulEnd(t *testing.T) {
	b := &blockingUsers{entered: make(chan struct{}), release: make(chan struct{})}
	r := newRig(t, withBlockingUsers(b))
	answered := make(chan error, 1)
	go func() { _, err := r.client.List(context.Background(), UserQuery{}); answered <- err }()
	<-b.entered
	r.stop()
	close(b.release)
	if err := <-answered; err != nil {
		t.Errorf("a request under way at the end: %v", err)
	}
	if err := r.wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	_, err := r.client.Status(t.Context())
	var u *UnreachableError
	if !errors.As(err, &u) || !u.Offline() || u.ExitCode() != 3 {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := os.Lstat(r.socket); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}

// A request that does not end is cut off after the grace period.
func TestEndDoesNotWaitForever(t *testing.T) {
	b := &blockingUsers{entered: make(chan struct{}), release: make(chan struct{})}
	r := newRig(t, func(s *Server) {
		withBlockingUsers(b)(s)
		s.times.graceful = 20 * time.Millisecond
	})
	answered := make(chan error, 1)
	go func() { _, err := r.client.List(context.Background(), UserQuery{}); answered <- err }()
	<-b.entered
	r.stop()
	if err := r.wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered although nobody released it")
	}
}

// panicUsers is a bug.
type panicUsers struct{ Users }

func (panicUsers) Add(context.Context, string, secret.Value, ...builtin.Extra) (User, error) {
	panic("boom")
}

func TestBugCostsOneRequest(t *testing.T) {
	r := newRig(t, func(s *Server) {
		o := Options{Version: "x", Clock: s.guard.clock, Log: s.log, Users: panicUsers{}, Policy: nilPolicy{}, Status: fixedStatus{}, Reloader: fixedStatus{}}
		s.guard.next, s.api = newAPI(&o)
	})
	_, err := r.client.Add(t.Context(), "a", secret.Value{})
	if status(err) != http.StatusInternalServerError || strings.Contains(err.Error(), "boom") {
		t.Errorf("answered %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, `"stack"`) || !strings.Contains(log, `"status":500`) {
		t.Errorf("the log does not tell: %s", log)
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestServeTellsWhenItsListenerFails(t *testing.T) {
	l, err := Listen(t.TempDir() + "/s")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	r := newRig(t, nil)
	if err := r.server.Serve(t.Context(), l); err == nil {
		t.Error("Serve on a closed listener ends without an error")
	}
}
