package harden

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// More entrances than are judged at a time are judged all, a bounded number side by side,
// and the answers are in their order.
func TestEntrancesSideBySide(t *testing.T) {
	t.Parallel()
	const n = 3 * sideBySide
	eps := make([]*endpoint, n)
	for i := range eps {
		eps[i] = &endpoint{name: strings.Repeat("x", i)}
	}
	var now, most atomic.Int64
	full := make(chan struct{})
	var once atomic.Bool
	out := each(eps, func(p *endpoint) Result {
		if at := now.Add(1); at > most.Load() {
			most.Store(at)
			if at == sideBySide && once.CompareAndSwap(false, true) {
				close(full)
			}
		}
		<-full // all places are taken
		now.Add(-1)
		return Result{Scope: p.name}
	})
	for i, r := range out {
		if r.Scope != eps[i].name {
			t.Errorf("result %d is that of %d", i, len(r.Scope))
		}
	}
	if most.Load() > sideBySide {
		t.Errorf("%d at the same time", most.Load())
	}
}

// What there was no time for says so: it was not the broker that did not answer.
func TestALimitOfTheRunsOwnSaysSo(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	f.listen("to", "mqtt", "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	checks, err := Select(Checks, []string{"P4.1"})
	if err != nil {
		t.Fatal(err)
	}
	row := Examine(ctx, f.alone(f.env()), checks).Rows[0]
	said := false
	for _, r := range row.Results {
		said = said || strings.Contains(r.Summary, "own limit of time") && strings.Contains(r.Summary, "--only P4.1")
	}
	if row.State() != Unknown || !said {
		t.Errorf("%s: %+v", row.State(), row.Results)
	}
}

// Two spans of time are apart when the fastest of the one is slower than most of the other.
func TestSpans(t *testing.T) {
	ms := func(all ...float64) (s span) {
		for _, x := range all {
			s = append(s, time.Duration(x*float64(time.Millisecond)))
		}
		return s
	}
	for _, c := range []struct {
		a, b  span
		apart bool
	}{
		{ms(30, 31, 34), ms(30.5, 32, 33), false},
		{ms(30, 40, 60), ms(33, 34, 60), false},     // noise
		{ms(30, 32, 34), ms(35, 36, 38), false},     // a sixth more: noise
		{ms(30, 32, 34), ms(60, 65, 70), true},      // two hashes
		{ms(1, 2, 36), ms(30, 50, 102), true},       // on a busy machine
		{ms(0.1, 0.2, 0.4), ms(30, 31, 34), true},   // none
		{ms(0.1, 0.1, 0.2), ms(0.9, 1, 1.1), false}, // nobody can measure that
	} {
		if c.a.apartFrom(c.b) != c.apart || c.b.apartFrom(c.a) != c.apart {
			t.Errorf("%v and %v: apart %v, want %v", c.a, c.b, !c.apart, c.apart)
		}
	}
}
