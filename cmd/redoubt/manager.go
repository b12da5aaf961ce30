package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/notify"
	"github.com/redoubtmq/redoubt/metrics"
)

// manager is the service manager that started the process, such as systemd with
// Type=notify; the zero manager is nobody, who is told nothing.
type manager struct {
	to    *notify.Manager
	log   *slog.Logger
	every time.Duration // how often it is told that the loops turn
	dog   bool          // it ends the process when it does not hear that
	ready atomic.Bool   // it has been told: before that there is no reload to tell of
	mute  atomic.Bool   // what it is told does not arrive, which is in the log once
}

// statusEvery is how often the line of systemctl status is made anew without a watchdog.
const statusEvery = 10 * time.Second

// dogPart: within the time of the watchdog it is told this often, so that one datagram
// that is lost, and a machine that is busy for a moment, cost nothing.
const dogPart = 3

// findManager finds who started the process, if he wants to be told. What is wrong with that is
// no reason not to start: then a manager that waits for it says so itself.
func (n *node) findManager() {
	m := &n.manager
	m.log, m.every = n.log, statusEvery
	to, err := notify.Open(os.Getenv("NOTIFY_SOCKET"), n.clock.Now)
	if err != nil {
		n.log.Warn("the service manager cannot be told how the broker is", "error", err.Error())
		return
	}
	within, err := notify.Watchdog(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid())
	if err != nil {
		n.log.Warn("the watchdog of the service manager will hear nothing", "error", err.Error())
	}
	m.to = to
	if within > 0 {
		m.dog, m.every = true, max(within/dogPart, time.Millisecond)
	}
}

// told notes whether something has arrived.
func (m *manager) told(err error) {
	if err != nil && !m.mute.Swap(true) {
		m.log.Warn("what the service manager was told has not arrived", "error", err.Error())
	}
	if err == nil {
		m.mute.Store(false)
	}
}

// serving tells that the broker serves.
func (m *manager) serving(status string) {
	if m.to != nil {
		m.ready.Store(true)
		m.told(m.to.Ready(status))
	}
}

// reloading tells that the configuration is being read again. done tells that it is over,
// whatever has come of it: the broker goes on in either case.
func (m *manager) reloading(status func() string) (done func()) {
	if m.to == nil || !m.ready.Load() {
		return func() {}
	}
	m.told(m.to.Reloading())
	return func() { m.told(m.to.Ready(status())) }
}

// stopping tells that the broker ends.
func (m *manager) stopping() {
	if m.to != nil {
		m.told(m.to.Stopping())
	}
}

// keep tells how the broker is until ctx is done, and the watchdog that it is alive each
// time that turned has answered: a loop that stands still is waited for here, and then the
// watchdog hears nothing.
func (m *manager) keep(ctx context.Context, turned func(context.Context) error, status func() string) {
	if m.to == nil {
		return
	}
	next := time.NewTicker(m.every)
	defer next.Stop()
	last := ""
	for turned(ctx) == nil && ctx.Err() == nil {
		if m.dog {
			m.told(m.to.Alive())
		}
		if now := status(); now != last {
			last = now
			m.told(m.to.Status(now))
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

// inALine is how the broker is, for the line of systemctl status.
func (n *node) inALine() string {
	var b strings.Builder
	if why := n.notReady(); len(why) > 0 {
		b.WriteString("not ready: " + strings.Join(why, "; ") + "; ")
	} else {
		b.WriteString("serving ")
		for i, l := range n.doors() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(l.Name + " " + strings.Join(l.Addresses(), " "))
		}
		b.WriteString("; ")
	}
	fmt.Fprintf(&b, "%d connections", n.metrics.Value(metrics.Connections))
	switch active := n.alarms.Active(); len(active) {
	case 0:
	case 1:
		b.WriteString("; alarm " + active[0].Kind.Name)
	default:
		fmt.Fprintf(&b, "; %d alarms, the first %s", len(active), active[0].Kind.Name)
	}
	return b.String()
}
