package router

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// Members come and go and change what they can do, groups appear and vanish, and
// publishers match and pick without a lock. One member stays and accepts: nobody
// may be told that the group is empty, and nobody may get a member of another
// group through a reference that was used before.
func TestGroupsConcurrentUse(t *testing.T) {
	x := New()
	g := NewGroups(x)
	stays := Subscriber{Ref: Ref{Home: 9}, SubID: 1}
	group, _ := g.Join("stay", "a/b", stays, &Member{})
	const writers, rounds = 4, 400
	var done atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			defer done.Add(1)
			own := fmt.Sprint(w)
			m := &Member{}
			var found Matches
			for i := range rounds {
				me := Subscriber{Ref: Ref{Home: uint16(w), Slot: uint32(i)}, SubID: 1}
				m.SetState(State(i % 3))
				g.Join("stay", "a/b", me, m)
				if i%2 == 0 {
					m.SetState(Full)
				}
				mine, _ := g.Join(own, "a/b", Subscriber{Ref: me.Ref, SubID: uint32(w) + 2}, m)
				x.Match([]byte("a/b"), &found)
				if count(&found, mine) != 1 || count(&found, group) != 1 {
					t.Errorf("a group that was joined is not matched")
				}
				if s, ok := g.Pick(mine, Choice{Strategy: Strategy(i % 5)}); !ok || s.Ref != me.Ref {
					t.Errorf("the only member is not picked: %v, %t", s, ok)
				}
				if !g.Leave(own, "a/b", me.Ref) || !g.Leave("stay", "a/b", me.Ref) {
					t.Errorf("%v was not there", me)
				}
				if s, ok := g.Pick(mine, Choice{}); ok {
					t.Errorf("%v picked of a group that has gone", s)
				}
				if x.Match([]byte("a/b"), &found); count(&found, mine) != 0 {
					t.Error("a group that has gone is matched")
				}
			}
		})
	}
	for p := range 2 {
		wg.Go(func() {
			var found Matches
			for i := uint64(p); done.Load() < writers; i++ {
				x.Match([]byte("a/b"), &found)
				if count(&found, group) != 1 {
					t.Error("the group that stays is not matched")
				}
				for _, sub := range found.Subs {
					by := Choice{Strategy: Strategy(i % 5), Random: mix(i), Publisher: i, Topic: i}
					s, ok := g.Pick(sub.Ref, by)
					switch {
					case sub.Ref == group && (!ok || s.SubID != 1):
						t.Errorf("Pick of the group that stays = %v, %t", s, ok)
					case sub.Ref != group && ok && s.SubID != uint32(s.Ref.Home)+2:
						t.Errorf("%v is a member of another group", s)
					}
				}
				g.Stats()
				g.Name(group)
			}
		})
	}
	wg.Wait()
	if groups, members := g.Stats(); groups != 1 || members != 1 || x.Stats().Subscribers != 1 {
		t.Errorf("left: %d groups, %d members, %+v", groups, members, x.Stats())
	}
}
