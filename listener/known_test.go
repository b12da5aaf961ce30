package listener

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/metrics"
)

// accept is a client of a that is let in and goes again.
func (p *porch) accept(a string) {
	p.t.Helper()
	g, refusal := p.admit(a, true)
	if refusal != "" || !g.Handshaken() || !g.Authenticated() {
		p.t.Fatalf("%s was not let in: %q", a, refusal)
	}
	g.Accepted(start)
	g.Accepted(start) // once is enough
	g.Leave()
	g.Leave()
}

// A flood from as many networks as there are places, none of whom can be made to go
// by an equal, fills every cap in turn: who is known gets in, who is not does not.
func TestTheKnownGetInThroughAFlood(t *testing.T) {
	for name, change := range map[string]func(l *DoorLimits){
		"unauthenticated_total": func(l *DoorLimits) { l.UnauthenticatedTotal = 50 },
		"handshakes_total":      func(l *DoorLimits) { l.HandshakesTotal = 50 },
		"connections_total":     func(l *DoorLimits) { l.ConnectionsTotal = 50 },
	} {
		t.Run(name, func(t *testing.T) {
			l := DoorLimits{ConnectionsTotal: 1000, UnauthenticatedTotal: 1000, HandshakesTotal: 1000, KnownShare: 20}
			change(&l)
			p := newPorch(t, l)
			for i := range 10 {
				p.accept(fmt.Sprintf("198.51.%d.7", i))
			}
			var all []*guest
			come := func(a string) *guest {
				g, _ := p.admit(a, true)
				if all = append(all, g); g.door == nil {
					return nil
				}
				return g
			}
			for i := range 200 {
				if g := come(fmt.Sprintf("10.0.%d.1", i)); g != nil {
					g.Busy(true)
				}
			}
			if come("192.0.2.1") != nil {
				t.Error("the flood leaves room: this test says nothing")
			}
			for i := range 10 {
				g := come(fmt.Sprintf("198.51.%d.7", i))
				if g == nil {
					t.Fatalf("the known one %d was refused", i)
				}
				if !g.known || g.told {
					t.Errorf("%d: known %v, made to go %v", i, g.known, g.told)
				}
			}
			p.count(metrics.ConnectionsKnown, 10)
			p.count(metrics.KnownAddresses, 10)
			for _, g := range all {
				g.Leave()
			}
			p.Sweep(start.Add(limit.KnownFor + time.Second))
			p.count(metrics.KnownAddresses, 0)
			p.count(metrics.Connections, 0)
			p.count(metrics.Handshakes, 0)
		})
	}
}

// Nothing that one can do without credentials makes an address known, nor does it
// help to be the neighbour of one that is.
func TestNobodyIsKnownWhoWasNotAccepted(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, KnownShare: 20})
	p.accept("198.51.100.7")
	for range 20 { // handshakes that finish, also resumed; and then a wrong password
		g, _ := p.admit("198.51.100.8", true)
		g.Begin(start, true)
		g.Resumed(start)
		g.Handshaken()
		if g.known {
			t.Fatal("known without having been accepted")
		}
		g.Leave()
	}
	g, _ := p.admit("203.0.113.1", true)
	if g.Proven(); !g.known { // its certificate is good; CONNECT is refused all the same
		t.Error("a certificate says nothing")
	}
	g.Leave()
	if g, _ := p.admit("203.0.113.1", true); g.known {
		t.Error("an address is known from which nobody was accepted")
	}
	p.count(metrics.KnownAddresses, 1)
	p.count(metrics.ConnectionsKnown, 0)
}

// An address is known as long as a client is there, and for a while after it.
func TestHowLongAnAddressIsKnown(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, KnownShare: 20})
	g, _ := p.admit("198.51.100.7", false)
	g.Authenticated()
	g.Accepted(start)
	later := start.Add(24 * time.Hour)
	p.Sweep(later)
	if again, _ := p.admit("198.51.100.7", false); !again.known {
		t.Error("not known although it is there")
	}
	p.Sweep(later)
	g.Leave()
	at := func(d time.Duration) bool {
		a, _ := p.Admit(later.Add(d), g.from, false)
		defer a.Leave()
		return a.known
	}
	if !at(limit.KnownFor) || at(limit.KnownFor+time.Second) {
		t.Error("not known for as long as it should be")
	}
}
