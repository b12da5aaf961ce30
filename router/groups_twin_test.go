package router

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// groupTwin is one group too plain to be wrong.
type groupTwin struct {
	seats []seat
	turn  int
}

// best are the places of those in the best state that anybody has who may get the
// message.
func (w *groupTwin) best(not []Ref) (out []int) {
	for _, state := range []State{Accepting, Full, Offline} {
		for i, s := range w.seats {
			if s.m.State() == state && !slices.Contains(not, s.sub.Ref) {
				out = append(out, i)
			}
		}
		if out != nil {
			return out
		}
	}
	return nil
}

// next is whose turn it is: the first of the best at or behind the turn.
func (w *groupTwin) next(not []Ref) int {
	best := w.best(not)
	n := len(w.seats)
	for k := range n {
		if i := (w.turn + k) % n; slices.Contains(best, i) {
			w.turn += k + 1
			return i
		}
	}
	w.turn++
	return -1
}

func (w *groupTwin) find(ref Ref) int {
	return slices.IndexFunc(w.seats, func(s seat) bool { return s.sub.Ref == ref })
}

// Random joins, leavings, states and picks against the twin. Many members make
// rosters of several pages. At the end everybody leaves and nothing may be left.
func TestGroupsAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := New()
		g := NewGroups(x)
		names := [][2]string{{"g", "a/+"}, {"g", "a/b"}, {"h", "a/+"}}
		twins := map[[2]string]*groupTwin{}
		refs := map[[2]string]Ref{}
		old := []Ref{}
		sessions := rapid.SampledFrom([]int{2, 6, 300}).Draw(t, "sessions")
		join := func(name [2]string, s Subscriber) {
			w := twins[name]
			if w == nil {
				w = &groupTwin{}
				twins[name] = w
			}
			m := &Member{}
			at := w.find(s.Ref)
			ref, replaced := g.Join(name[0], name[1], s, m)
			if replaced != (at >= 0) || len(w.seats) > 0 && ref != refs[name] || slices.Contains(old, ref) {
				t.Fatalf("Join(%v, %v) = %v, %t", name, s, ref, replaced)
			}
			refs[name] = ref
			if at >= 0 {
				w.seats[at] = seat{s, m}
			} else {
				w.seats = append(w.seats, seat{s, m})
			}
		}
		leave := func(name [2]string, ref Ref) {
			w, at := twins[name], -1
			if w != nil {
				at = w.find(ref)
			}
			if got := g.Leave(name[0], name[1], ref); got != (at >= 0) {
				t.Fatalf("Leave(%v, %v) = %t", name, ref, got)
			}
			if at < 0 {
				return
			}
			last := len(w.seats) - 1
			w.seats[at] = w.seats[last]
			if w.seats = w.seats[:last]; last == 0 {
				old = append(old, refs[name])
				delete(twins, name)
				delete(refs, name)
			}
		}
		if sessions > 6 {
			for i := range 280 {
				join(names[0], Subscriber{Ref: Ref{Slot: uint32(i)}})
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			ref := Ref{Home: uint16(rapid.IntRange(0, 1).Draw(t, "home")), Slot: uint32(rapid.IntRange(0, sessions).Draw(t, "slot"))}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0, 1, 2:
				join(name, Subscriber{ref, rapid.Uint32Range(0, 3).Draw(t, "id"), Opts(rapid.IntRange(0, 3).Draw(t, "opts"))})
			case 3, 4:
				leave(name, ref)
			case 5:
				if w := twins[name]; w != nil {
					s := rapid.SampledFrom(w.seats).Draw(t, "seat")
					s.m.SetState(State(rapid.IntRange(0, 2).Draw(t, "state")))
				}
			default:
				pickAgainstTwin(t, g, refs[name], twins[name], ref)
			}
			members := 0
			for _, w := range twins {
				members += len(w.seats)
			}
			if n, m := g.Stats(); n != len(twins) || m != members || x.Stats().Subscribers != n {
				t.Fatalf("%d groups with %d members, want %d with %d; %+v", n, m, len(twins), members, x.Stats())
			}
		}
		var m Matches
		x.Match([]byte("a/b"), &m)
		if got, want := fmt.Sprint(groupRefs(m.Subs)), fmt.Sprint(groupRefs(subsOf(refs))); got != want {
			t.Fatalf("Match = %s, want %s", got, want)
		}
		for name, w := range twins {
			for len(w.seats) > 0 {
				leave(name, w.seats[len(w.seats)/2].sub.Ref)
			}
		}
		if groups, members := g.Stats(); groups != 0 || members != 0 || !g.byID.empty() || !g.byName.empty() || x.nodes() != 0 {
			t.Fatalf("%d groups, %d members and %d nodes are left of nothing", groups, members, x.nodes())
		}
	})
}

func pickAgainstTwin(t *rapid.T, g *Groups, group Ref, w *groupTwin, not Ref) {
	by := Choice{
		Strategy:  rapid.SampledFrom(strategies).Draw(t, "strategy"),
		Publisher: rapid.Uint64().Draw(t, "publisher"),
		Topic:     rapid.Uint64().Draw(t, "topic"),
		Random:    rapid.Uint64().Draw(t, "random"),
	}
	if rapid.Bool().Draw(t, "excludes") {
		by.Not = []Ref{not, {Slot: 1}}
	}
	var kept Ref // of Sticky, before
	var accepts bool
	if w != nil {
		_, gr := g.at(idOf(group))
		if i := int(gr.roster.Load().kept.Load()) - 1; i >= 0 {
			s := w.seats[i]
			kept, accepts = s.sub.Ref, s.m.State() == Accepting && !slices.Contains(by.Not, s.sub.Ref)
		}
	}
	s, ok := g.Pick(group, by)
	if w == nil {
		if ok {
			t.Fatalf("Pick of a group that has gone = %v", s)
		}
		return
	}
	best := w.best(by.Not)
	at := w.find(s.Ref)
	if ok != (best != nil) || ok && (!slices.Contains(best, at) || w.seats[at].sub != s) {
		t.Fatalf("Pick(%+v) = %v, %t; the best are at %v of %v", by, s, ok, best, w.seats)
	}
	if by.Strategy == RoundRobin {
		if want := w.next(by.Not); ok && at != want {
			t.Fatalf("Pick(%+v) takes place %d, it is the turn of %d", by, at, want)
		}
	}
	if by.Strategy == Sticky && accepts && s.Ref != kept {
		t.Fatalf("Pick(%+v) = %v although %v is kept and accepts", by, s, kept)
	}
	if by.Strategy == HashTopic && ok {
		for _, i := range best {
			if w.seats[i].sub.Ref.score(mix(by.Topic)) > s.Ref.score(mix(by.Topic)) {
				t.Fatalf("Pick(%+v) = %v, and place %d has a higher score", by, s, i)
			}
		}
	}
}

func groupRefs(subs []Subscriber) (out []Ref) {
	for _, s := range sorted(subs) {
		out = append(out, s.Ref)
	}
	return out
}

func subsOf(refs map[[2]string]Ref) (out []Subscriber) {
	for _, r := range refs {
		out = append(out, Subscriber{Ref: r})
	}
	return out
}

// A large group that has gone leaves nothing, whichever end it goes from (A042).
func TestNothingIsLeftOfAGroup(t *testing.T) {
	for _, backwards := range []bool{false, true} {
		g, group, m := club(3000)
		for i := range m {
			slot := i
			if backwards {
				slot = len(m) - 1 - i
			}
			s, ok := g.Pick(group, Choice{Strategy: Sticky, Random: uint64(i) * golden})
			if !ok || backwards && int(s.Ref.Slot) > slot || !backwards && int(s.Ref.Slot) < slot {
				t.Fatalf("picked %v, %t when %d leaves", s, ok, slot)
			}
			if !g.Leave("g", "jobs/+", Ref{Slot: uint32(slot), Gen: 1}) {
				t.Fatalf("%d was not there", slot)
			}
		}
		if !g.byID.empty() || !g.byName.empty() || g.index.nodes() != 0 {
			t.Error("something is left")
		}
	}
}
