package harden

import (
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// BenchmarkLook is one look of a broker at itself while its process has 5,000 TCP sockets open. The
// clock stands still, so that it does not rest; cpu-ns/op is the processor time of all threads, of
// which ns/op has a quarter of a second in which P1.3a waits.
func BenchmarkLook(b *testing.B) {
	const sockets = 5000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range sockets / 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
	}
	loaded, err := config.LoadText(config.Options{Now: bubbleNow()}, "")
	if err != nil {
		b.Fatal(err)
	}
	r := BrokerReport{Node: "n", PID: os.Getpid(), UID: os.Geteuid(), Settings: map[string]string{}, Listeners: []ListenerReport{{"mqtt", l.Addr().String(), "mqtt"}}}
	for _, s := range loaded.Settings() {
		r.Settings[s.Key] = s.Text
	}
	log := slog.New(slog.DiscardHandler)
	bg := NewBackground(BackgroundOptions{Clock: clock.System{}, Log: log, Alarms: alarm.New(log)})
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		e := &Env{Clock: clock.NewManual(bubbleNow()), Config: loaded.Config, Broker: account{BrokerReport: r}, Quiet: true}
		if rep := bg.look(b.Context(), b.Context(), e); rep == nil {
			b.Fatal("no report")
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// processorTime is what the process has taken so far, in nanoseconds.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
