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
	d := newDesk(t, 1, func(s *Settings) { s.WildcardSubscriptions = many })
	pub, a := d.sit(0, "pub"), d.sit(0, "a")
	for _, name := range []string{"open/last", "open/last/x/9"} { // with the second one look at the store cannot be sure
		pub.publish(name, "kept", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	}
	d.turn()
	for i := range many {
		a.subscribe(fmt.Sprintf("open/+/+/a%d", i), 0)
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

// TestWhatIsNotRetainedIsNotOwed: nobody waits for a walk through the retained store that would find nothing, and one who
// subscribes again is owed nothing by the time before.
func TestWhatIsNotRetainedIsNotOwed(t *testing.T) {
	d := newDesk(t, 1)
	pub, a := d.sit(0, "pub"), d.sit(0, "a")
	pub.publish("open/b", "kept", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	d.turn()
	for _, filter := range []string{"open/a", "open/c/#", "open/c/+", "open/z/+/d"} {
		if a.subscribe(filter, 0); len(a.resident().look().replays) != 0 {
			t.Errorf("%s: a walk is owed that finds nothing", filter)
		}
	}
	a.subscribe("open/+", 0)
	if n := len(a.resident().look().replays); n != 1 {
		t.Fatalf("%d walks are owed for what is retained, want one", n)
	}
	pub.publish("open/b", "", 1, 2, func(p *mqtt.Publish) { p.Retain = true })
	if a.subscribe("open/+", 0); len(a.resident().look().replays) != 0 {
		t.Error("the walk of before is owed still")
	}
	d.turn()
	a.take()
	pub.publish("open/b", "live", 1, 3, func(p *mqtt.Publish) { p.Retain = true })
	d.turn()
	if got := a.payloads(); len(got) != 1 || got[0] != "live" {
		t.Errorf("it got %q, want what came live", got)
	}
}
