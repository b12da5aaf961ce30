package listener

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// entrances is a door with two listeners, of which one is bounded.
func entrances(t *testing.T, l GateLimits) (p *porch, public, plant *Listener) {
	p = newPorch(t, DoorLimits{ConnectionsTotal: 1000, UnauthenticatedTotal: 1000, HandshakesTotal: 1000, KnownShare: l.KnownShare})
	public, plant = &Listener{Name: "public", Door: p.Door}, &Listener{Name: "plant", Door: p.Door}
	public.Gate.SetLimits(l)
	return p, public, plant
}

func (p *porch) through(l *Listener, now time.Time, a string) (*guest, Refusal) {
	g := &guest{}
	var refusal Refusal
	if g.Admission, refusal, _ = l.Admit(now, netip.MustParseAddr(a)); refusal == "" {
		g.Evictable(func() { g.told = true })
	}
	return g, refusal
}

// The cap of one listener holds, strangers of it make room, clients who are in stay,
// and nobody at another listener notices.
func TestAListenersConnections(t *testing.T) {
	p, public, plant := entrances(t, GateLimits{Connections: 10})
	var in, all []*guest
	for i := range 4 {
		g, _ := p.through(public, start, fmt.Sprintf("198.51.%d.1", i))
		g.Authenticated()
		in, all = append(in, g), append(all, g)
	}
	other, _ := p.through(plant, start, "203.0.113.200")
	all = append(all, other)
	for i := range 100 {
		g, refusal := p.through(public, start, fmt.Sprintf("203.0.113.%d", i))
		if refusal != "" {
			t.Fatalf("%d: %s", i, refusal)
		}
		all = append(all, g)
	}
	told := 0
	for _, g := range all {
		if g.told {
			if told++; !g.Evicted() {
				t.Error("told to go without having to")
			}
			g.Leave()
		}
	}
	if told != 94 || public.Gate.total.InUse() != 10 || other.told || plant.Gate.total.InUse() != 1 {
		t.Errorf("%d made room, %d and %d are there", told, public.Gate.total.InUse(), plant.Gate.total.InUse())
	}
	for _, g := range all {
		if !g.told && !g.Authenticated() {
			t.Error("a place was lost")
		}
		g.Leave()
	}
	for i := range 10 {
		g, _ := p.through(public, start, fmt.Sprintf("198.51.%d.1", i))
		g.Authenticated()
		in = append(in, g)
	}
	if _, refusal := p.through(public, start, "192.0.2.1"); refusal != OverListener || refusal.Key("public") != "listeners.public.limits.connections" {
		t.Errorf("a full house: %q", refusal)
	}
	p.count(metrics.ConnectionsRefusedListenerLimit, 1)
	p.count(metrics.Connections, 10)
	if p.total.InUse() != 10 || p.strangers.InUse() != 0 || p.prefixes.InUse(netip.MustParseAddr("192.0.2.1")) != 0 {
		t.Error("a refusal has left something behind")
	}
	public.Gate.SetLimits(GateLimits{}) // no cap any more
	if g, refusal := p.through(public, start, "192.0.2.1"); refusal != "" {
		t.Errorf("without a cap: %q", refusal)
	} else {
		g.Leave()
	}
	for _, g := range in {
		g.Leave()
	}
	if p.total.InUse() != 0 || public.Gate.total.InUse() != 0 || public.Gate.strangers.Load().InUse() != 0 {
		t.Error("something is left")
	}
}

// A cap that the door refuses later gives the place at the gate back.
func TestAGateIsLeftWhenTheDoorRefuses(t *testing.T) {
	p, public, _ := entrances(t, GateLimits{Connections: 10})
	if err := p.Apply(DoorLimits{ConnectionsTotal: 1000, UnauthenticatedTotal: 0, HandshakesTotal: 1000, ConnectDeadline: time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, refusal := p.through(public, start, "192.0.2.1"); refusal != OverUnauthenticated {
		t.Errorf("refused for %q", refusal)
	}
	if public.Gate.total.InUse() != 0 || public.Gate.strangers.Load().InUse() != 0 || p.total.InUse() != 0 {
		t.Error("something is left")
	}
}

// The rate of a listener is for all networks together; a flood of strangers leaves
// the known their part of it, and the other listener all of it.
func TestAListenersConnectRate(t *testing.T) {
	p, public, plant := entrances(t, GateLimits{ConnectRate: 100, KnownShare: 20})
	p.accept("198.51.100.7")
	in := func(l *Listener, now time.Time, a string) bool {
		g, refusal := p.through(l, now, a)
		if refusal != "" && refusal != OverListenerRate {
			t.Fatal(refusal)
		}
		g.Leave()
		return refusal == ""
	}
	flood := func(now time.Time, n int) (passed int) {
		for i := range n {
			if in(public, now, fmt.Sprintf("10.%d.%d.1", i/250, i%250)) {
				passed++
			}
		}
		return passed
	}
	if n := flood(start, 1000); n != 80 {
		t.Errorf("%d of 1,000 strangers passed at once, want 80", n)
	}
	for i := range 20 {
		if !in(public, start, "198.51.100.7") {
			t.Fatalf("the known one was refused, time %d", i)
		}
	}
	if in(public, start, "198.51.100.7") {
		t.Error("the known are not limited")
	}
	if !in(plant, start, "10.0.0.1") {
		t.Error("another listener is limited")
	}
	if n := flood(start.Add(time.Second), 1000); n != 80 {
		t.Errorf("%d strangers passed a second later", n)
	}
	for s := 1; s < 5; s++ { // whatever the flood does, whenever it does it
		now := start.Add(time.Duration(s)*time.Second + 500*time.Millisecond)
		flood(now, 1000)
		if !in(public, now, "198.51.100.7") {
			t.Error("the known one was refused")
		}
	}
	_, refusal := p.through(public, start.Add(6*time.Second), "10.9.9.9")
	if refusal != "" || OverListenerRate.Key("public") != "listeners.public.limits.connect_rate" {
		t.Errorf("%q, %s", refusal, OverListenerRate.Key("public"))
	}
}
