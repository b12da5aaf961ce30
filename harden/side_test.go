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
