package conn

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
)

// refuser is a listener that has no room and a server that says so.
func refuser(t testing.TB, limits listener.DoorLimits) (s *Server, l *listener.Listener) {
	reg := metrics.New()
	log := audit.New(slog.New(slog.NewTextHandler(io.Discard, nil)), reg.NewShard())
	set := broker.Settings{}
	s = &Server{count: reg.NewShard(), broker: broker.New(broker.Options{Homes: 1, Settings: &set, Index: router.New(), Retained: retain.New(retain.Options{}), Log: log})}
	door, err := listener.NewDoor(limits, reg.NewShard())
	if err != nil {
		t.Fatal(err)
	}
	return s, &listener.Listener{Name: "mqtts", Door: door}
}

// BenchmarkRefusal is what a connection costs that is not let in, beside its accept
// and its close: 64 networks knock.
func BenchmarkRefusal(b *testing.B) {
	for name, limits := range map[string]listener.DoorLimits{
		"connect_rate": {ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, RatePerPrefix: map[string]int{"/24": 1, "/56": 1}, PerPrefix: map[string]int{"/32": 2000, "/24": 20000}},
		"total":        {ConnectionsTotal: 0, UnauthenticatedTotal: 0, HandshakesTotal: 100, RatePerPrefix: map[string]int{"/24": 1_000_000}, PerPrefix: map[string]int{"/32": 2000, "/24": 20000}},
	} {
		b.Run(name, func(b *testing.B) {
			s, l := refuser(b, limits)
			now := time.Unix(1_800_000_000, 0)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i % 64), 1}), 5)
				if _, refusal, _ := l.Admit(now, from.Addr()); refusal != "" {
					s.refusedAtDoor(now, refusal, from, l)
				}
			}
		})
	}
}
