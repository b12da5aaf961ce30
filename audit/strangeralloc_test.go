//go:build !race

package audit

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// again is a stranger who does the same once more within the minute.
func again() func() {
	l := New(slog.New(slog.NewJSONHandler(io.Discard, nil)), metrics.New().NewShard())
	now, from := time.Unix(1000, 0), netip.MustParseAddrPort("192.0.2.17:5")
	return func() {
		l.Stranger(now, slog.LevelWarn, "connection refused by an access rule", from.Addr(), "a", func() []slog.Attr {
			return []slog.Attr{slog.String("address", from.Addr().String()), slog.String("listener", "mqtts"), slog.String("rule", "deny")}
		})
	}
}

// A line that is not written costs no field of it.
func TestAllocStrangerAgain(t *testing.T) {
	do := again()
	do()
	if n := testing.AllocsPerRun(100, do); n != 0 {
		t.Errorf("%v allocations for a line that is only counted", n)
	}
}

func BenchmarkStrangerAgain(b *testing.B) {
	do := again()
	do()
	b.ReportAllocs()
	for b.Loop() {
		do()
	}
}
