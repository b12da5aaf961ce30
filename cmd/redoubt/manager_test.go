package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// onePlain is a listener that costs little.
const onePlain = "  plain: {protocol: mqtt, bind: [\"127.0.0.1:0\"]}\n"

// hearing is a service manager at a real socket.
type hearing struct {
	t *testing.T
	c *net.UnixConn
}

// listensTo has the environment name a manager that wants to hear every within.
func listensTo(t *testing.T, usec string) *hearing {
	t.Helper()
	path := filepath.Join(testkit.TempDir(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", "")
	return &hearing{t, c}
}

// next is the next datagram, or "" when there is none within.
func (h *hearing) next(within time.Duration) string {
	h.t.Helper()
	b := make([]byte, 4096)
	_ = h.c.SetReadDeadline(time.Now().Add(within))
	n, err := h.c.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// hears waits for a datagram that begins so, past others.
func (h *hearing) hears(begin string) string {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if s := h.next(20 * time.Second); strings.HasPrefix(s, begin) {
			return s
		}
	}
	h.t.Fatalf("never %q", begin)
	return ""
}

// The watchdog hears of the broker while every loop turns, and nothing from when one of
// them stands still until it goes on.
func TestTheWatchdogHearsOfLoopsThatTurn(t *testing.T) {
	h := listensTo(t, "30000") // 30 ms: told every 10
	n := serveNode(t, onePlain)
	n.findManager()
	t.Cleanup(n.manager.to.Close)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); n.manager.keep(ctx, n.server.Turned, n.inALine) }()
	h.hears("WATCHDOG=1")
	h.hears("WATCHDOG=1")

	hold, stuck := make(chan struct{}), make(chan struct{}, n.loops)
	go n.server.Each(func(time.Time, *broker.Home) { // all of them, since nobody outside can name one
		stuck <- struct{}{}
		<-hold
	})
	for range n.loops {
		<-stuck
	}
	for h.next(50*time.Millisecond) != "" { // what was on its way
	}
	if s := h.next(200 * time.Millisecond); s != "" {
		t.Errorf("the loops stand still, and the watchdog hears %q", s)
	}
	close(hold)
	h.hears("WATCHDOG=1")
	cancel()
	<-ended
	if s := n.log.String(); strings.Contains(s, "service manager") {
		t.Error(s)
	}
}

// A loop that stands still must not keep the end of the process waiting.
func TestTheWatchdogEndsBesideAStuckLoop(t *testing.T) {
	h := listensTo(t, "30000000")
	n := serveNode(t, onePlain)
	n.findManager()
	t.Cleanup(n.manager.to.Close)
	if n.manager.every != 10*time.Second || !n.manager.dog {
		t.Errorf("told every %v, %v", n.manager.every, n.manager.dog)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{})
	go func() {
		<-waits
		cancel()
	}()
	n.manager.keep(ctx, func(ctx context.Context) error {
		close(waits)
		<-ctx.Done()
		return ctx.Err()
	}, n.inALine)
	if s := h.next(time.Millisecond); s != "" {
		t.Errorf("heard %q", s)
	}
}

// What a manager hears of a start, of reloads that are taken and refused, and of the end.
func TestTheManagerHearsOfReloads(t *testing.T) {
	h := listensTo(t, "")
	n := serveNode(t, onePlain)
	n.findManager()
	t.Cleanup(n.manager.to.Close)
	if _, err := n.Reload(t.Context()); err != nil { // before it is ready there is nothing to tell
		t.Fatal(err)
	}
	n.manager.serving(n.inALine())
	if s := h.next(10 * time.Second); !strings.HasPrefix(s, "READY=1\nSTATUS=serving plain 127.0.0.1:") || !strings.HasSuffix(s, "; 0 connections") {
		t.Errorf("heard %q", s)
	}
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.hears("RELOADING=1")
	h.hears("READY=1")
	n.write("  plain: {protocol: nonsense}\n")
	if _, err := n.Reload(t.Context()); err == nil {
		t.Fatal("taken")
	}
	h.hears("RELOADING=1")
	h.hears("READY=1\nSTATUS=serving plain")
	n.manager.stopping()
	if s := h.next(10 * time.Second); s != "STOPPING=1" {
		t.Errorf("heard %q", s)
	}
}

// A manager that cannot be told costs a line in the log, and no start.
func TestAManagerThatIsNotThere(t *testing.T) {
	h := listensTo(t, "soon")
	n := serveNode(t, onePlain)
	n.findManager()
	t.Cleanup(n.manager.to.Close)
	if n.manager.dog || n.manager.to == nil || !strings.Contains(n.log.String(), "WATCHDOG_USEC") {
		t.Errorf("%v, %s", n.manager.dog, n.log)
	}
	_ = h.c.Close() // it is gone
	for range 3 {
		n.manager.serving("x")
	}
	if got := strings.Count(n.log.String(), "has not arrived"); got != 1 {
		t.Errorf("said %d times\n%s", got, n.log)
	}
	t.Setenv("NOTIFY_SOCKET", "nowhere")
	n.manager.to.Close()
	n.manager.to = nil
	n.findManager()
	if n.manager.to != nil || !strings.Contains(n.log.String(), "neither a path") {
		t.Errorf("%v, %s", n.manager.to, n.log)
	}
	n.manager.serving("x")
	n.manager.reloading(n.inALine)()
	n.manager.stopping()
	n.manager.keep(t.Context(), nil, nil)
}

// redoubt status --ready is what health checks of containers ask.
func TestReadyOrWhyNot(t *testing.T) {
	t.Parallel()
	n := serveNode(t, onePlain)
	s := n.Status()
	if err := notReadyError(&s); err != nil {
		t.Error(err)
	}
	n.stops("plain", false)
	s = n.Status()
	if err := notReadyError(&s); err == nil || !strings.Contains(err.Error(), "not ready: every listener was stopped") {
		t.Errorf("%v", err)
	}
}
