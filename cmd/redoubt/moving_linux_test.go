package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/session"
)

// A listener that gets a socket and no descriptors to accept with is refused while the change
// can still be refused: nobody listens where nobody accepts, and what there was goes on.
func TestASocketThatNobodyCouldAcceptAtIsRefused(t *testing.T) {
	log, all := slog.New(slog.DiscardHandler), metrics.New()
	n := &node{log: log, clock: clock.System{}, audit: audit.New(log, all.NewShard())}
	b := broker.New(broker.Options{Homes: 1, Settings: &broker.Settings{Session: &session.Limits{}}, Log: n.audit})
	var err error
	if n.server, err = conn.New(conn.Options{Loops: 1, Broker: b, Metrics: all, Clock: n.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.server.Shutdown(context.Background()) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	lowest := func() int {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return int(f.Fd())
	}
	l := &door{Listener: &listener.Listener{Name: "plant"}}
	c := config.Listener{Bind: []string{address}}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := lowest()
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	for more := 1; more <= 2; more++ { // for the socket, and for one of the two that it takes to duplicate it
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(low + more), Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.rebind(l, c, true); err == nil || !strings.Contains(err.Error(), "listeners.plant: another descriptor for "+address) || !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("with %d descriptors: %v", more, err)
		}
		if now := lowest(); now != low {
			t.Fatalf("descriptors were left open: %d is the lowest free one, was %d", now, low)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if nc, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		_ = nc.Close()
		t.Errorf("it listens: %v", err)
	}
	if len(l.Bound()) != 0 {
		t.Errorf("the listener has %v", l.Addresses())
	}
	got, err := n.rebind(l, c, true)
	if err != nil {
		t.Fatal(err)
	}
	got.undo()
	if now := lowest(); now != low {
		t.Errorf("descriptors were left open: %d is the lowest free one, was %d", now, low)
	}
}
