package router

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestExclusive(t *testing.T) {
	e := NewExclusive()
	a, b := Ref{Slot: 1, Gen: 1}, Ref{Slot: 1, Gen: 2} // one slot, two sessions
	if !e.Take("a/+", a) || !e.Take("a/+", a) || e.Take("a/+", b) {
		t.Error("the first who takes it has it, and nobody else")
	}
	if !e.Take("a/b", b) {
		t.Error("a filter that overlaps is another one")
	}
	e.Release("a/+", b) // it is not b's
	if who, ok := e.Owner("a/+"); who != a || !ok {
		t.Errorf("owner: %v, %t", who, ok)
	}
	e.Release("a/+", a)
	if who, ok := e.Owner("a/+"); ok {
		t.Errorf("owner after release: %v", who)
	}
	if !e.Take("a/+", b) {
		t.Error("it is free and cannot be taken")
	}
	e.Release("a/+", a) // late
	if who, _ := e.Owner("a/+"); who != b {
		t.Errorf("a late release of the former owner took it from %v", who)
	}
	e.Release("none", Ref{}) // the zero Ref is nobody's absence
	e.Release("a/+", b)
	e.Release("a/b", b)
	if len(e.held) != 0 {
		t.Errorf("left: %v", e.held)
	}
	name := []byte("x/y")
	e.Take(unsafeString(name), a)
	if name[0] = '!'; e.Take("x/y", b) {
		t.Error("the filter was not copied")
	}
}

// Whoever is told that it has a filter has it alone.
func TestExclusiveConcurrentUse(t *testing.T) {
	e := NewExclusive()
	var owners atomic.Int32
	var wg sync.WaitGroup
	for w := range uint32(8) {
		wg.Go(func() {
			for i := range uint32(500) {
				me := Ref{Slot: w, Gen: i}
				if !e.Take("a", me) {
					continue
				}
				if owners.Add(1) != 1 {
					t.Error("two owners")
				}
				if who, ok := e.Owner("a"); !ok || who != me {
					t.Errorf("%v has it, Owner says %v", me, who)
				}
				owners.Add(-1)
				e.Release("a", me)
			}
		})
	}
	wg.Wait()
	if _, ok := e.Owner("a"); ok {
		t.Error("somebody still has it")
	}
}
