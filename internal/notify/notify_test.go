package notify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hears is a manager at a real socket, and what it gets.
func hears(t *testing.T, address string) (next func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func opened(t *testing.T, address string) *Manager {
	t.Helper()
	m, err := Open(address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestWhatIsSaid(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	next, m := hears(t, address), opened(t, address)
	for _, c := range []struct {
		say  func() error
		want string
	}{
		{func() error { return m.Ready("serving mqtts") }, "READY=1\nSTATUS=serving mqtts"},
		{func() error { return m.Status("two\nREADY=0\x00\x1b[31m lines\xff") }, "STATUS=two READY=0  [31m lines "},
		{func() error { return m.Status(strings.Repeat("ü", 400)) }, "STATUS=" + strings.Repeat("ü", 256)},
		{m.Alive, "WATCHDOG=1"},
		{m.Stopping, "STOPPING=1"},
	} {
		if err := c.say(); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// A manager since systemd 253 compares the time of a reload with its own, in microseconds
// of the same clock.
func TestAReloadSaysWhen(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	next, m := hears(t, address), opened(t, address)
	before, _ := monotonic()
	if err := m.Reloading(); err != nil {
		t.Fatal(err)
	}
	after, known := monotonic()
	got, stamped := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
	if at, err := strconv.ParseInt(got, 10, 64); known && (!stamped || err != nil || at < before.Microseconds() || at > after.Microseconds()) {
		t.Errorf("%q, %v: not between %v and %v", got, err, before, after)
	}
}

func TestAnAbstractSocket(t *testing.T) {
	t.Parallel()
	address := "@redoubt-notify-" + strings.ReplaceAll(t.TempDir(), "/", "-")
	next, m := hears(t, address), opened(t, address)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("%q", got)
	}
}

func TestNobodyIsTold(t *testing.T) {
	t.Parallel()
	m := opened(t, "")
	for _, say := range []func() error{m.Alive, m.Reloading, m.Stopping, func() error { return m.Ready("") }, func() error { return m.Status("") }} {
		if err := say(); m != nil || err != nil {
			t.Errorf("%v %v", m, err)
		}
	}
}

func TestWrongSockets(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"notify": "neither a path", "vsock:2:1": "neither a path", "@": "neither a path", "/": "neither a path", filepath.Join(t.TempDir(), "none"): "no such file"} {
		if m, err := Open(address, time.Now); m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", address, m, err)
		}
	}
}

// A manager that does not read costs a second, and then an error; never more.
func TestAManagerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	_ = hears(t, address)
	m := opened(t, address)
	past := time.Now().Add(-time.Hour) // a second later is past, too: nothing is waited for
	m.now = func() time.Time { return past }
	for range 100_000 {
		if err := m.Alive(); err != nil {
			return
		}
	}
	t.Error("there was room for everything")
}

func TestWatchdogOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		fault     string
	}{
		{"", "", 0, ""},
		{"", "x", 0, ""},
		{"30000000", "", 30 * time.Second, ""},
		{"30000000", "7", 30 * time.Second, ""},
		{"30000000", "8", 0, ""},
		{"1", "7", time.Microsecond, ""},
		{"0", "", 0, "WATCHDOG_USEC"},
		{"-5", "", 0, "WATCHDOG_USEC"},
		{"30s", "", 0, "WATCHDOG_USEC"},
		{"9223372036854775807", "", 0, "WATCHDOG_USEC"},
		{"30000000", "0", 0, "WATCHDOG_PID"},
		{"30000000", "me", 0, "WATCHDOG_PID"},
	} {
		got, err := Watchdog(c.usec, c.pid, 7)
		if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q %q: %v, %v", c.usec, c.pid, got, err)
		}
	}
}

// A manager that has made its socket anew hears of us again: it ends who is silent.
func TestAManagerThatComesBack(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	first, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := opened(t, address)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	if err := os.Remove(address); err != nil {
		t.Fatal(err)
	}
	if err := m.Alive(); err == nil {
		t.Error("nobody is there, and nobody says so")
	}
	next := hears(t, address)
	if err := m.Alive(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("%q", got)
	}
}
