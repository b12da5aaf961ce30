package listener

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/limit"
)

// Handshakes compute network by network, and within their part of the machine.
func TestHandshakesTakeTurnsByNetwork(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ShakeCPU: 1})
	var order []string
	waiting := map[string]*limit.Turn{}
	dealt := map[string]bool{}
	ask := func(a string) *guest {
		g, _ := p.admit(a, true)
		waiting[a] = &limit.Turn{Dealt: func() { dealt[a] = true }}
		if after := g.Ask(start, waiting[a]); after != 0 {
			t.Fatalf("a quiet door is in debt: %v", after)
		}
		return g
	}
	first := ask("203.0.113.1")
	for i := range 5 {
		ask(fmt.Sprintf("203.0.113.%d", 10+i))
	}
	ask("198.51.100.7")
	for a := "203.0.113.1"; a != ""; {
		first.Done(start, waiting[a])
		delete(waiting, a)
		order, a = append(order, a), ""
		for other := range waiting {
			if dealt[other] {
				a = other
			}
		}
	}
	if len(order) != 7 || order[1] != "203.0.113.10" || order[2] != "198.51.100.7" {
		t.Errorf("the order was %v", order)
	}
}

// Who is over the rate of his network waits for no more than half of the patience
// there is; a WebSocket upgrade without TLS and a resumed handshake are half as dear.
func TestHandshakeRate(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ShakeRatePerPrefix: map[string]int{"/24": 2}})
	begin := func(a string, secure bool) (time.Duration, Refusal) {
		g, refusal := p.admit(a, true)
		if refusal != "" {
			t.Fatal(refusal)
		}
		defer g.Leave()
		return g.Begin(start, secure)
	}
	for i := range 12 {
		wait, refusal := begin("203.0.113.1", true)
		if want := time.Duration(max(0, i-1)) * time.Second / 2; refusal != "" || (wait-want).Abs() > time.Microsecond {
			t.Errorf("handshake %d: %v %q, want %v", i, wait, refusal, want)
		}
	}
	if _, refusal := begin("203.0.113.9", true); refusal != OverHandshakeRate {
		t.Errorf("one more than fits in five seconds: %q", refusal)
	}
	if wait, refusal := begin("198.51.100.7", true); wait != 0 || refusal != "" {
		t.Errorf("another network: %v %q", wait, refusal)
	}
	for i := range 4 {
		if wait, refusal := begin("192.0.2.1", false); wait != 0 || refusal != "" {
			t.Errorf("upgrade %d: %v %q", i, wait, refusal)
		}
	}
	g, _ := p.admit("203.0.113.77", true)
	g.Resumed(start)
	if wait, refusal := g.Begin(start, false); refusal != "" || (wait-5*time.Second).Abs() > time.Microsecond {
		t.Errorf("half a handshake after one that was resumed: %v %q", wait, refusal)
	}
	var none Admission
	none.Resumed(start)
	if wait, refusal := none.Begin(start, true); wait != 0 || refusal != "" {
		t.Errorf("a connection of no door: %v %q", wait, refusal)
	}
}
