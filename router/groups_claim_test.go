package router

import (
	"sync"
	"testing"
)

// Claim chooses among those that can send, and promises each no more than it has room for;
// what has come makes room again.
func TestClaimTakesRoom(t *testing.T) {
	for _, s := range strategies {
		g, group, members := club(3)
		members[0].SetRoom(2)
		members[1].SetRoom(0)
		members[2].SetState(Offline)
		members[2].SetRoom(5)
		if n := g.Spare(group, 100); n != 2 {
			t.Errorf("%v: room for %d", s, n)
		}
		var held []*Member
		for i := range 5 {
			to, m, ok := g.Claim(group, Choice{Strategy: s, Random: uint64(i) << 60, Topic: uint64(i)})
			if ok != (i < 2) || ok && (to.Ref.Slot != 0 || m != members[0]) {
				t.Errorf("%v: claim %d: %v, %v", s, i, to, ok)
			}
			if ok {
				held = append(held, m)
			}
		}
		if members[0].State() != Full || members[0].Said() != Accepting {
			t.Errorf("%v: what was promised does not count: %v", s, members[0].State())
		}
		if _, ok := g.Pick(group, Choice{Strategy: s}); !ok {
			t.Errorf("%v: somebody would have it all the same", s)
		}
		held[0].Arrived()
		if n := g.Spare(group, 100); n != 1 {
			t.Errorf("%v: room for %d", s, n)
		}
		if _, _, ok := g.Claim(group, Choice{Strategy: s, Not: []Ref{{Slot: 0, Gen: 1}}}); ok {
			t.Errorf("%v: claimed from who must not have it", s)
		}
		members[0].Forget()
		members[0].Arrived() // one more than there were
		if n := g.Spare(group, 100); n != 2 {
			t.Errorf("%v: room for %d", s, n)
		}
		if n := g.Spare(group, 1); n != 1 {
			t.Errorf("%v: room for %d of 1", s, n)
		}
	}
}

// However many claim at once, no member is promised more than its room.
func TestClaimsOfManyAtOnce(t *testing.T) {
	g, group, members := club(4)
	for _, m := range members {
		m.SetRoom(100)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := make(map[Ref]int)
	for range 8 {
		wg.Go(func() {
			mine := make(map[Ref]int)
			for range 200 {
				if s, _, ok := g.Claim(group, Choice{}); ok {
					mine[s.Ref]++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for ref, n := range mine {
				got[ref] += n
			}
		})
	}
	wg.Wait()
	for ref, n := range got {
		if n > 100 {
			t.Errorf("%v was promised %d", ref, n)
		}
	}
	if len(got) != 4 || g.Spare(group, 1000) != 0 && got[Ref{Slot: 0, Gen: 1}] < 90 {
		t.Errorf("claimed %v, %d left", got, g.Spare(group, 1000))
	}
}
