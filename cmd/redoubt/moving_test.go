package main

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// A listener on an interface listens where that has addresses: one that comes is listened on,
// one that goes is not, and an interface that is gone altogether has none.
func TestAddressesOfInterfacesAreFollowed(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	n := &node{log: log, clock: clock.System{}, audit: audit.New(log, metrics.New().NewShard())}
	now := []string{"127.0.0.1:0"}
	n.ofInterface = func(name string, port uint16) ([]string, error) {
		if now == nil || name != "eth7" || port != 1883 {
			return nil, fmt.Errorf("there is no network interface %s", name)
		}
		return now, nil
	}
	l := &door{Listener: &listener.Listener{Name: "plant"}}
	t.Cleanup(l.Close)
	c := config.Listener{Bind: []string{"eth7:1883", "127.0.0.9:0"}}
	moves := func(wanted bool, opened, closed int) {
		t.Helper()
		m, err := n.move(l, c, wanted)
		if err != nil || len(m.Opened) != opened || len(m.Closed) != closed {
			t.Fatalf("%+v %v, want %d opened and %d closed", m, err, opened, closed)
		}
		m.Commit()
	}
	moves(true, 2, 0)
	kept := l.Bound()
	now = []string{"127.0.0.1:0", "127.0.0.2:0", "192.0.2.77:0"} // the last is not there for the kernel yet
	moves(false, 1, 0)
	moves(false, 0, 0)
	now = []string{"127.0.0.2:0"}
	moves(false, 0, 1)
	now = nil
	moves(false, 0, 1)
	if got := l.Addresses(); len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.9:") || !slices.Contains(kept, l.Bound()[0]) {
		t.Errorf("it listens on %v", got)
	}
	if _, err := n.move(l, c, true); err == nil || !strings.Contains(err.Error(), `listeners.plant.bind: "eth7:1883": there is no network interface eth7`) {
		t.Errorf("%v", err)
	}
	now = []string{"127.0.0.1:0"}
	moves(false, 1, 0)
	if nc, err := net.Dial("tcp", l.Addresses()[1]); err != nil {
		t.Error(err)
	} else {
		_ = nc.Close()
	}
}
