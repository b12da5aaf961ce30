package broker

import (
	"fmt"
	"testing"
	"time"
)

// TestAFleetThatStaysIsNotRemembered: what is known of connects goes when its time is over,
// though nobody connects any more.
func TestAFleetThatStaysIsNotRemembered(t *testing.T) {
	d := newDesk(t, 1, flapping, func(s *Settings) { s.ConnectRate = ConnectRate{Connects: 10, Burst: time.Second} })
	for i := range 2000 {
		d.sit(0, fmt.Sprint("c", i), from("192.0.2.1"))
	}
	h := d.homes[0]
	l, f := &h.work.pacing.ledger, &h.work.flaps
	if len(l.order) == 0 || len(f.order) == 0 || h.nextForget().IsZero() {
		t.Fatalf("%d and %d are remembered: the test proves nothing", len(l.order), len(f.order))
	}
	for range 5 {
		d.pass(time.Second)
	}
	if l.by != nil || l.order != nil {
		t.Errorf("%d of the rate of connects are left", len(l.order))
	}
	for left := d.b.Settings().Flapping.Window; left > 0; left -= time.Second {
		d.pass(time.Second)
	}
	if f.order != nil || f.by.room() != 0 {
		t.Errorf("%d windows are left, in room for %d", len(f.order), f.by.room())
	}
	if at := h.nextForget(); !at.IsZero() {
		t.Errorf("and it wakes up for them at %v", at)
	}
}
