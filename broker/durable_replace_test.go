package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/store"
)

// A subscription that was to replace another and is not on disk is not granted: it is
// what it was, now and after a crash.
func TestAReplacementThatFailedIsNotGranted(t *testing.T) {
	k := newKeptDesk(t, 1)
	c, pub := k.join(0, "c"), k.join(0, "pub")
	k.hears(c, "open/#", 0)
	c.wish("open/#", 1)
	k.turn()
	k.log.fail(store.ErrFull, false)
	k.news()
	c.expect("SUBACK 97")
	pub.publish("open/a", "m1", 1, 1)
	k.rest()
	if got := k.drink(c); got != "m1" { // at QoS 0, at once
		t.Errorf("received %q", got)
	}
	c.cut()
	pub.publish("open/a", "m2", 1, 2)
	k.rest()
	k.crash()
	if got := k.drink(k.back("c")); got != "" {
		t.Errorf("received %q of a subscription at QoS 0", got)
	}
}
