package conn

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// A start without descriptors is refused with the sum, and leaves none open.
func TestNewWithoutDescriptors(t *testing.T) {
	r := newRealRig(t, nil)
	free := func() int { // the lowest that is free
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return int(f.Fd())
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := free()
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	for more := range 2*pollerFiles + cores.Count() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(low + more), Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{Loops: 2, Broker: r.broker, Metrics: metrics.New(), Clock: clock.System{}})
		if err == nil || s != nil {
			t.Fatalf("it started with %d descriptors", more)
		}
		for _, part := range []string{fmt.Sprintf("%d descriptors", 4+cores.Count()), fmt.Sprintf("2 loops, 2 each, and %d for handshakes", cores.Count()), "ulimit -n", "LimitNOFILE=", "too many open files"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("not said: %s\n%v", part, err)
			}
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(low), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	err := r.server.Serve(&listener.Listener{Name: "late", Sockets: r.server.listeners[0].Sockets})
	if err == nil || !strings.Contains(err.Error(), "listeners.late") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("a listener without a descriptor: %v", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if now := free(); now != low {
		t.Errorf("descriptors were left open: %d is the lowest free one, was %d", now, low)
	}
}
