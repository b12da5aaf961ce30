package listener

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
)

// What the node is short of makes the door impatient, and lets strangers have an eighth
// of their room; whoever knocks still gets in, and who kept us waiting goes.
func TestPressureOfTheNode(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 1000, UnauthenticatedTotal: 80, HandshakesTotal: 1000})
	var all []*guest
	enter := func(n int) {
		for range n {
			g, refusal := p.admit(fmt.Sprintf("10.0.%d.1", len(all)%7), false)
			if refusal != "" {
				t.Fatalf("guest %d was refused: %s", len(all), refusal)
			}
			all = append(all, g)
		}
	}
	told := func() (n int) {
		for _, g := range all {
			if g.told {
				n++
			}
		}
		return n
	}
	enter(12)
	for _, c := range []struct {
		pressure float64
		patience time.Duration
	}{{0, 10 * time.Second}, {0.5, 10 * time.Second}, {0.7, 6 * time.Second}, {1, PatienceMin}, {7, PatienceMin}, {-1, 10 * time.Second}} {
		if p.Press(c.pressure, false); p.Patience().Round(time.Millisecond) != c.patience {
			t.Errorf("at a pressure of %v: %v, want %v", c.pressure, p.Patience(), c.patience)
		}
	}
	p.Press(0.99, false)
	if enter(1); told() != 0 {
		t.Errorf("%d had to make room before it was overloaded", told())
	}
	p.Press(1, false)
	if enter(5); told() != 5 {
		t.Errorf("%d of 5 made room", told())
	}
	p.count(metrics.Unauthenticated, 13)
	p.Press(0, false)
	if enter(5); told() != 5 {
		t.Errorf("%d had to make room when all was well again", told()-5)
	}
	for _, g := range all {
		g.Leave()
	}
	p.count(metrics.Connections, 0)
}

func TestAClosedDoorLetsNobodyIn(t *testing.T) {
	p := newPorch(t, DoorLimits{ConnectionsTotal: 10, UnauthenticatedTotal: 10, HandshakesTotal: 10})
	p.Press(1, true)
	if _, refusal := p.admit("10.0.0.1", false); refusal != OverMemory {
		t.Errorf("refusal %q", refusal)
	}
	p.count(metrics.ConnectionsRefusedMemory, 1)
	p.count(metrics.Connections, 0)
	p.Press(0, false)
	if _, refusal := p.admit("10.0.0.1", false); refusal != "" {
		t.Errorf("refusal %q when it is open again", refusal)
	}
}
