package listener

import (
	"net/netip"
	"testing"

	"github.com/redoubtmq/redoubt/metrics"
)

// A bug at the door, in a ban's question or in what a connection that makes room does, takes
// no place of the newcomer with it, and one while it leaves none either.
func TestABugAtTheDoorLeavesNoPlaceBehind(t *testing.T) {
	roomy := DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, PerPrefix: map[string]int{"/32": 100}}
	with := func(change func(*DoorLimits)) DoorLimits { l := roomy; change(&l); return l }
	for name, c := range map[string]struct {
		limits DoorLimits
		gate   int64
		proxy  bool
	}{
		"all":        {limits: with(func(l *DoorLimits) { l.ConnectionsTotal = 2 })},
		"strangers":  {limits: with(func(l *DoorLimits) { l.UnauthenticatedTotal = 2 })},
		"handshakes": {limits: with(func(l *DoorLimits) { l.HandshakesTotal = 2 })},
		"listener":   {limits: roomy, gate: 2},
		"proxies":    {limits: with(func(l *DoorLimits) { l.UnauthenticatedTotal = 2 }), proxy: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPorch(t, c.limits)
			l := &Listener{Name: "x", Door: p.Door, WebSocket: &WebSocket{}}
			l.Gate.SetLimits(GateLimits{Connections: c.gate})
			l.Proxy.Store(&Proxy{Sources: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
			admit := func(a string) (place Admission, refusal Refusal) {
				if c.proxy {
					return l.AdmitProxy(netip.MustParseAddr(a))
				}
				place, refusal, _ = l.Admit(start, netip.MustParseAddr(a))
				return place, refusal
			}
			var inside []*Admission
			for range 2 {
				place, refusal := admit("192.0.2.1")
				if refusal != "" {
					t.Fatal(refusal)
				}
				place.Evictable(func() { panic("a bug") })
				inside = append(inside, &place)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("nobody made room")
					}
				}()
				_, _ = admit("198.51.100.1")
			}()
			if n := p.total.InUse(); n != 2 {
				t.Errorf("%d are counted, 2 are there", n)
			}
			for _, place := range inside {
				place.Leave()
			}
			for what, n := range map[string]int64{
				"all": p.total.InUse(), "strangers": p.strangers.InUse(), "handshakes": p.shakers.InUse(), "listener": l.Gate.total.InUse(),
				"prefixes": int64(p.prefixes.InUse(netip.MustParseAddr("198.51.100.1"))), "gauge": p.metrics.Value(metrics.Connections), "gauge of handshakes": p.metrics.Value(metrics.Handshakes),
			} {
				if n != 0 {
					t.Errorf("%s: %d places left behind", what, n)
				}
			}
		})
	}
	p := newPorch(t, roomy)
	g, _ := p.admit("192.0.2.1", true)
	g.waits.stranger.Leave() // the bug: it will be left twice
	func() {
		defer func() { _ = recover() }()
		g.Leave()
		t.Error("no bug was noticed")
	}()
	if n, m, h := p.total.InUse(), p.metrics.Value(metrics.Connections), p.shakers.InUse(); n != 0 || m != 0 || h != 0 {
		t.Errorf("a bug on the way out has left %d, %d and %d behind", n, m, h)
	}
}
