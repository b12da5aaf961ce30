package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// TestFiltersThatFindNothingAreTurnsToo: a walk through the retained store takes its time whatever it
// finds, and a client may be owed as many as it has filters (D-07).
func TestFiltersThatFindNothingAreTurnsToo(t *testing.T) {
	const many = 3*replayStep + 5
	d := newDesk(t, 1)
	pub, a := d.sit(0, "pub"), d.sit(0, "a")
	pub.publish("open/last", "kept", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	d.turn()
	for i := range many {
		a.subscribe(fmt.Sprintf("open/none/%d", i), 0)
	}
	a.subscribe("open/last", 0)
	left := many + 1
	for turns := 0; left > 0; turns++ {
		d.turn()
		now := len(a.resident().look().replays)
		if left-now > replayStep || left == now {
			t.Fatalf("turn %d: %d of %d walks ended, want at most %d", turns, left-now, left, replayStep)
		}
		left = now
	}
	if got := a.payloads(); len(got) != 1 || got[0] != "kept" {
		t.Errorf("after the others it got %q", got)
	}
}
