//go:build !race

package router

import (
	"fmt"
	"testing"
	"unsafe"
)

func TestMatchDoesNotAllocate(t *testing.T) {
	x := New()
	for i := range 1000 {
		x.Subscribe(fmt.Sprintf("dev/%d/state", i), Subscriber{Ref: Ref{Slot: uint32(i)}})
		x.Subscribe(fmt.Sprintf("dev/%d/+", i), Subscriber{Ref: Ref{Slot: uint32(i)}})
		x.Subscribe("dev/+/state", Subscriber{Ref: Ref{Slot: uint32(i)}})
		x.Subscribe("dev/1/state", Subscriber{Ref: Ref{Slot: uint32(i)}})
	}
	x.Subscribe("#", Subscriber{})
	var m Matches
	name := []byte("dev/1/state")
	x.Match(name, &m) // grows
	if n := testing.AllocsPerRun(100, func() { x.Match(name, &m) }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
	if len(m.Subs) != 2002 {
		t.Errorf("%d subscribers", len(m.Subs))
	}
}

// A filter with one subscriber is its entry in a leaf and its own string: the
// leaf that holds the entry is copied, and no slice is made for the subscriber.
func TestAllocSingleSubscriberIsCompact(t *testing.T) {
	if got := unsafe.Sizeof(entry{}); got != 48 {
		t.Errorf("an entry takes %d bytes", got)
	}
	if got := unsafe.Sizeof(node{}); got != 48 {
		t.Errorf("a node takes %d bytes", got)
	}
	if got := unsafe.Sizeof(set{}); got != 32 {
		t.Errorf("a set takes %d bytes", got)
	}
	x := New()
	i := 0
	n := testing.AllocsPerRun(1000, func() {
		i++
		x.Subscribe("dev/1/state", Subscriber{Ref: Ref{Slot: 1}, SubID: uint32(i)}) // replaced in place
	})
	if n > 2 { // a twig and its leaf
		t.Errorf("replacing the only subscriber allocates %v times", n)
	}
}

func TestAllocPick(t *testing.T) {
	for _, n := range []int{1, 10, 1000} {
		g, group, m := club(n)
		m[0].SetState(Full)
		not := []Ref{{Slot: 1, Gen: 1}}
		for _, strategy := range strategies {
			for _, by := range []Choice{{Strategy: strategy, Random: 1}, {Strategy: strategy, Not: not}} {
				if a := testing.AllocsPerRun(100, func() { g.Pick(group, by) }); a != 0 {
					t.Errorf("Pick by strategy %d of %d members allocates %v times", strategy, n, a)
				}
			}
		}
	}
}
