package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/directory"
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
	for left := d.b.Settings().Flapping.Window + time.Second; left > 0; left -= time.Second {
		d.pass(time.Second)
	}
	if f.order != nil || f.by.Room() != 0 {
		t.Errorf("%d windows are left, in room for %d", len(f.order), f.by.Room())
	}
	if at := h.nextForget(); !at.IsZero() {
		t.Errorf("and it wakes up for them at %v", at)
	}
}

// TestForgettingHasTurns: a crowd that came together is not forgotten in one turn, and the next
// goes on at once.
func TestForgettingHasTurns(t *testing.T) {
	var f flaps
	set := &Flapping{Connects: 5, Window: time.Minute}
	now := time.Unix(1_700_000_000, 0)
	for key := range uint64(3*forgetMost + 1) {
		f.over(now, key+1, set)
	}
	after := now.Add(2 * set.Window)
	for n := 3; n > 0; n-- {
		if before := len(f.order); !f.sweep(after.Sub(f.epoch)-set.Window) || before-len(f.order) != forgetMost {
			t.Fatalf("%d of %d were forgotten, want %d and more to come", before-len(f.order), before, forgetMost)
		}
	}
	if f.sweep(after.Sub(f.epoch)-set.Window) || f.order != nil {
		t.Errorf("%d are left", len(f.order))
	}

	d := newDesk(t, 1, flapping)
	h := d.homes[0]
	for key := range uint64(2*forgetMost + 1) {
		h.work.flaps.over(d.now, key+1, set)
	}
	d.now = d.now.Add(2 * set.Window)
	if h.forgetSome(d.now); h.nextForget().After(d.now) {
		t.Errorf("the rest is forgotten at %v, want in the next turn, at %v", h.nextForget(), d.now)
	}
}

// TestAWindowThatIsOverCountsNoMore: also while there was no turn to forget it.
func TestAWindowThatIsOverCountsNoMore(t *testing.T) {
	var f flaps
	set := &Flapping{Connects: 2, Window: time.Minute}
	now := time.Unix(1_700_000_000, 0)
	for key := range uint64(2*forgetMost + 1) {
		f.over(now, key+1, set)
		f.over(now, key+1, set)
	}
	now = now.Add(set.Window)
	for _, key := range []uint64{2*forgetMost + 1, forgetMost + 1, 1} { // the newest first
		if f.over(now, key, set) {
			t.Errorf("%d is over by what it did in a window before", key)
		}
	}
}

// TestNumbersOfWindowsBeginAnew: after the last there is a first.
func TestNumbersOfWindowsBeginAnew(t *testing.T) {
	f := flaps{first: directory.NumberMax - 2}
	set := &Flapping{Connects: 1, Window: time.Minute}
	now := time.Unix(1_700_000_000, 0)
	for key := range uint64(10) {
		f.over(now, key+1, set)
		if !f.over(now, key+1, set) {
			t.Errorf("%d was not found again", key)
		}
	}
	for f.sweep(now.Add(time.Minute).Sub(f.epoch)) {
	}
	if f.by.Len() != 0 || f.order != nil {
		t.Errorf("%d and %d are left", f.by.Len(), len(f.order))
	}
}
