package router

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// club makes one group "g" of "jobs/+" with n members, and answers them by slot.
func club(n int) (g *Groups, group Ref, members []*Member) {
	g = NewGroups(New())
	for i := range n {
		m := &Member{}
		group, _ = g.Join("g", "jobs/+", Subscriber{Ref: Ref{Slot: uint32(i), Gen: 1}}, m)
		members = append(members, m)
	}
	return g, group, members
}

// share picks so many times and counts per slot; slot -1 is nobody.
func share(g *Groups, group Ref, times int, by func(i int) Choice) map[int]int {
	got := map[int]int{}
	for i := range times {
		if s, ok := g.Pick(group, by(i)); ok {
			got[int(s.Ref.Slot)]++
		} else {
			got[-1]++
		}
	}
	return got
}

func always(c Choice) func(int) Choice { return func(int) Choice { return c } }

var strategies = []Strategy{RoundRobin, Random, Sticky, HashClientID, HashTopic}

// A group is one subscriber of the index, under its filter, for as long as it has
// members, and each member has its own options [MQTT-4.8.2-3].
func TestGroupInTheIndex(t *testing.T) {
	x := New()
	g := NewGroups(x)
	a, b := Ref{Slot: 1}, Ref{Home: 1, Slot: 2}
	ref, replaced := g.Join("g", "jobs/+", Subscriber{a, 7, NoLocal}, &Member{})
	if ref.Home != GroupHome || replaced {
		t.Fatalf("the first member: %v, replaced %t", ref, replaced)
	}
	if again, replaced := g.Join("g", "jobs/+", Subscriber{b, 0, 2}, &Member{}); again != ref || replaced {
		t.Errorf("the second member: %v, replaced %t", again, replaced)
	}
	other, _ := g.Join("h", "jobs/+", Subscriber{Ref: a}, &Member{})
	if other == ref {
		t.Error("two share names are one group")
	}
	if split, _ := g.Join("g/jobs", "+", Subscriber{Ref: a}, &Member{}); split == ref {
		t.Error("share name and filter are told apart by where they are joined") // ParseShare lets no '/' pass
	}
	var m Matches
	x.Match([]byte("jobs/1"), &m)
	if m.Filters != 1 || fmt.Sprint(sorted(m.Subs)) != fmt.Sprint(sorted([]Subscriber{{Ref: ref}, {Ref: other}})) {
		t.Errorf("matched: %v", m.Subs)
	}
	if share, filter, ok := g.Name(ref); share != "g" || filter != "jobs/+" || !ok {
		t.Errorf("name: %q %q %t", share, filter, ok)
	}
	if groups, members := g.Stats(); groups != 3 || members != 4 {
		t.Errorf("%d groups, %d members", groups, members)
	}
	// Again, with other options [MQTT-3.8.4-3].
	full := &Member{}
	full.SetState(Full)
	if _, replaced := g.Join("g", "jobs/+", Subscriber{a, 8, 1}, full); !replaced {
		t.Error("not replaced")
	}
	if s, _ := g.Pick(ref, Choice{Not: []Ref{b}}); s != (Subscriber{a, 8, 1}) {
		t.Errorf("after it joined again: %v", s)
	}
	if s, _ := g.Pick(ref, Choice{Strategy: Random}); s.Ref != b {
		t.Errorf("its new state is not seen: %v", s)
	}
	if _, members := g.Stats(); members != 4 {
		t.Errorf("%d members", members)
	}
	for _, ref := range []Ref{a, b} {
		if !g.Leave("g", "jobs/+", ref) || g.Leave("g", "jobs/+", ref) {
			t.Errorf("%v did not leave exactly once", ref)
		}
	}
	if g.Leave("g", "jobs/x", a) || g.Leave("none", "jobs/+", a) {
		t.Error("left what was not there")
	}
	if x.Match([]byte("jobs/1"), &m); len(m.Subs) != 1 || m.Subs[0].Ref != other {
		t.Errorf("matched after the group has gone: %v", m.Subs)
	}
	// What takes its place is another group, and the old reference is of nobody.
	fresh, _ := g.Join("g", "jobs/+", Subscriber{Ref: b}, &Member{})
	if fresh == ref {
		t.Error("a reference was used again")
	}
	if _, _, ok := g.Name(ref); ok {
		t.Error("the group has a name after it has gone")
	}
	for _, bad := range []Ref{ref, a, {}, {Slot: fresh.Slot, Gen: fresh.Gen}} {
		if s, ok := g.Pick(bad, Choice{}); ok {
			t.Errorf("picked %v of %v", s, bad)
		}
		if _, _, ok := g.Name(bad); ok {
			t.Errorf("%v has a name", bad)
		}
	}
}

// Two groups whose names have the same hash are two groups.
func TestGroupsWithEqualHashes(t *testing.T) {
	g := NewGroups(New())
	seen := map[uint32]string{}
	for i := 0; ; i++ { // about 77,000 until two of four billion are the same
		name := fmt.Sprint(i)
		first, there := seen[g.tagOf("g", name)]
		if seen[g.tagOf("g", name)] = name; !there {
			continue
		}
		a, _ := g.Join("g", first, Subscriber{Ref: Ref{Slot: 1}}, &Member{})
		b, _ := g.Join("g", name, Subscriber{Ref: Ref{Slot: 2}}, &Member{})
		if _, filter, _ := g.Name(b); a == b || filter != name {
			t.Fatalf("%s and %s are one group", first, name)
		}
		if g.Leave("g", name, Ref{Slot: 1}) || !g.Leave("g", name, Ref{Slot: 2}) || !g.Leave("g", first, Ref{Slot: 1}) || !g.byName.empty() {
			t.Errorf("a member left the group of the other name")
		}
		return
	}
}

func TestGroupNamesAreCopied(t *testing.T) {
	g := NewGroups(New())
	b, c := []byte("group"), []byte("a/b")
	ref, _ := g.Join(unsafeString(b), unsafeString(c), Subscriber{}, &Member{})
	b[0], c[0] = '!', '!'
	if share, filter, _ := g.Name(ref); share != "group" || filter != "a/b" {
		t.Errorf("name: %q %q", share, filter)
	}
	if !g.Leave("group", "a/b", Ref{}) {
		t.Error("not found any more")
	}
}

// Every strategy prefers who accepts, then who is connected, then anybody, and
// never takes one that is excluded.
func TestPickByState(t *testing.T) {
	for _, strategy := range strategies {
		g, group, m := club(6)
		by := func(not ...int) func(i int) Choice {
			c := Choice{Strategy: strategy}
			for _, s := range not {
				c.Not = append(c.Not, Ref{Slot: uint32(s), Gen: 1})
			}
			r := rand.New(rand.NewPCG(1, 2))
			return func(i int) Choice {
				c.Random, c.Publisher, c.Topic = r.Uint64(), uint64(i), uint64(i)
				return c
			}
		}
		only := func(what string, got map[int]int, want ...int) {
			t.Helper()
			for slot := range got {
				ok := false
				for _, w := range want {
					ok = ok || w == slot
				}
				if !ok {
					t.Errorf("strategy %d, %s: %v, want only %v", strategy, what, got, want)
				}
			}
		}
		m[0].SetState(Offline)
		m[1].SetState(Full)
		only("two do not accept", share(g, group, 200, by()), 2, 3, 4, 5)
		only("and two excluded", share(g, group, 200, by(2, 5)), 3, 4)
		only("nobody accepts but the excluded", share(g, group, 200, by(2, 3, 4, 5)), 1)
		only("only one is left, offline", share(g, group, 200, by(1, 2, 3, 4, 5)), 0)
		only("nobody is left", share(g, group, 200, by(0, 1, 2, 3, 4, 5)), -1)
		for i := range m {
			m[i].SetState(Offline)
		}
		only("all offline", share(g, group, 200, by()), 0, 1, 2, 3, 4, 5)
		m[3].SetState(Full)
		only("all offline but one, which is full", share(g, group, 200, by()), 3)
		m[4].SetState(Accepting)
		only("one accepts", share(g, group, 200, by()), 4)
	}
}

// Round robin is exact: in every run of n messages each of n members gets one, in
// the same order.
func TestRoundRobinIsExact(t *testing.T) {
	g, group, m := club(300) // three pages
	var first []Ref
	for range len(m) {
		s, _ := g.Pick(group, Choice{})
		first = append(first, s.Ref)
	}
	seen := map[Ref]bool{}
	for _, r := range first {
		seen[r] = true
	}
	if len(seen) != 300 {
		t.Fatalf("%d of 300 had a turn", len(seen))
	}
	for i := range 600 {
		if s, _ := g.Pick(group, Choice{}); s.Ref != first[i%300] {
			t.Fatalf("turn %d: %v, want %v", i, s.Ref, first[i%300])
		}
	}
}

// Those who accept get equal parts wherever they sit: who sits behind many that
// are offline does not get their turns as well.
func TestRoundRobinPassesOverFairly(t *testing.T) {
	g, group, m := club(10)
	for i := range m {
		if i != 0 && i != 8 && i != 9 {
			m[i].SetState(Offline)
		}
	}
	for range 100 {
		if got := share(g, group, 3, always(Choice{})); got[0] != 1 || got[8] != 1 || got[9] != 1 {
			t.Fatalf("of three turns: %v", got)
		}
	}
	for i := range m {
		m[i].SetState(Offline)
	}
	if got := share(g, group, 10, always(Choice{})); len(got) != 10 {
		t.Errorf("all offline: %v", got)
	}
}

// Messages of one publisher wait with one member while nobody accepts, and are dealt out one by one otherwise.
func TestRoundRobinWaitsTogether(t *testing.T) {
	g, group, m := club(3)
	pick := func(together bool) uint32 {
		t.Helper()
		s, ok := g.Pick(group, Choice{Together: together})
		if !ok {
			t.Fatal("nobody")
		}
		return s.Ref.Slot
	}
	for i := range 6 { // a group whose first message is not the first of its publisher, too
		if got := pick(true); got != uint32(i%3) { //nolint:gosec // small
			t.Fatalf("message %d to %d while all accept", i, got)
		}
	}
	for i := range m {
		m[i].SetState(Full)
	}
	for run := range 4 {
		for i := range 5 {
			if got := pick(i > 0); got != uint32(run%3) { //nolint:gosec // small
				t.Fatalf("message %d of run %d waits with %d", i, run, got)
			}
		}
	}
	m[2].SetState(Accepting)
	if got := pick(true); got != 2 {
		t.Fatalf("a message waits with %d while 2 accepts", got)
	}
	m[2].SetState(Full)
	if got := pick(true); got != 2 {
		t.Fatalf("waits with %d, where 2 had the last turn", got)
	}
	m[2].SetState(Offline)
	if got := pick(true); got == 2 {
		t.Fatal("waits with who is offline")
	}
}

// near tells whether a count is within six standard deviations of its mean.
func near(got, times int, p float64) bool {
	d := float64(got) - float64(times)*p
	return d*d <= 36*float64(times)*p*(1-p)
}

func TestRandomIsEven(t *testing.T) {
	const times = 20_000
	for what, offline := range map[string][]int{"all": nil, "half offline": {1, 2, 3, 4, 5}, "all but two": {0, 1, 2, 3, 4, 6, 7, 8}} {
		g, group, m := club(10)
		for _, i := range offline {
			m[i].SetState(Offline)
		}
		r := rand.New(rand.NewPCG(3, 4))
		got := share(g, group, times, func(int) Choice { return Choice{Strategy: Random, Random: r.Uint64()} })
		if len(got) != 10-len(offline) {
			t.Errorf("%s: %v", what, got)
		}
		for slot, n := range got {
			if !near(n, times, 1/float64(len(got))) {
				t.Errorf("%s: slot %d gets %d of %d", what, slot, n, times)
			}
		}
	}
}

func TestSticky(t *testing.T) {
	g, group, m := club(5)
	r := rand.New(rand.NewPCG(5, 6))
	by := func(int) Choice { return Choice{Strategy: Sticky, Random: r.Uint64()} }
	held := func(what string) int {
		t.Helper()
		got := share(g, group, 100, by)
		if len(got) != 1 {
			t.Fatalf("%s: %v", what, got)
		}
		for slot := range got {
			return slot
		}
		return -1
	}
	a := held("at first")
	b := (a + 1) % 5
	for _, what := range []string{"another leaves", "another joins"} { // whichever seat it had
		for i := range 5 {
			if i == a {
				continue
			}
			ref := Ref{Slot: uint32(i), Gen: 1}
			if what == "another leaves" {
				g.Leave("g", "jobs/+", ref)
			} else {
				g.Join("g", "jobs/+", Subscriber{Ref: ref}, m[i])
			}
			if now := held(what); now != a {
				t.Fatalf("%s: %d is kept, was %d", what, now, a)
			}
		}
	}
	// One message that must not go there goes elsewhere, the next one back.
	if s, ok := g.Pick(group, Choice{Strategy: Sticky, Not: []Ref{{Slot: uint32(a), Gen: 1}}}); !ok || int(s.Ref.Slot) == a {
		t.Errorf("excluded and picked: %v", s)
	}
	if now := held("after an exclusion"); now != a {
		t.Errorf("%d is kept, was %d", now, a)
	}
	// It is kept while nobody is better off, and left when somebody is.
	for i := range m {
		m[i].SetState(Full)
	}
	if now := held("all full"); now != a {
		t.Errorf("%d is kept, was %d", now, a)
	}
	m[b].SetState(Accepting)
	if now := held("another accepts"); now != b {
		t.Errorf("%d is kept, want %d", now, b)
	}
	m[a].SetState(Accepting)
	if now := held("the first accepts again"); now != b {
		t.Errorf("%d is kept, want %d", now, b)
	}
	g.Leave("g", "jobs/+", Ref{Slot: uint32(b), Gen: 1})
	if now := held("it left"); now != a { // the only one that accepts
		t.Errorf("%d is kept", now)
	}
}

// Who leaves a hash strategy, or stops accepting, moves its own keys and no others,
// and they go to the rest in equal parts; who joins takes an equal part from all.
func TestHashMovesOnlyItsShare(t *testing.T) {
	for strategy, by := range map[string]func(i int) Choice{
		"hash_clientid": func(i int) Choice { return Choice{Strategy: HashClientID, Publisher: uint64(i)} },
		"hash_topic":    func(i int) Choice { return Choice{Strategy: HashTopic, Topic: uint64(i)} },
	} {
		const keys, n = 20_000, 10
		g, group, m := club(n)
		owners := func() []int {
			var out []int
			for i := range keys {
				s, _ := g.Pick(group, by(i))
				out = append(out, int(s.Ref.Slot))
			}
			return out
		}
		before := owners()
		count := map[int]int{}
		for _, o := range before {
			count[o]++
		}
		for slot := range n {
			if !near(count[slot], keys, 1.0/n) {
				t.Errorf("%s: slot %d has %d of %d keys", strategy, slot, count[slot], keys)
			}
		}
		moved := func(what string, gone int, after []int) {
			t.Helper()
			to := map[int]int{}
			for i := range after {
				switch {
				case before[i] == gone:
					to[after[i]]++
				case before[i] != after[i]:
					t.Fatalf("%s, %s: key %d moved from %d to %d", strategy, what, i, before[i], after[i])
				}
			}
			for slot := range n {
				if slot != gone && !near(to[slot], count[gone], 1.0/(n-1)) {
					t.Errorf("%s, %s: slot %d took %d of %d", strategy, what, slot, to[slot], count[gone])
				}
			}
		}
		m[4].SetState(Full)
		moved("full", 4, owners())
		m[4].SetState(Accepting)
		g.Leave("g", "jobs/+", Ref{Slot: 4, Gen: 1})
		moved("left", 4, owners())
		g.Join("g", "jobs/+", Subscriber{Ref: Ref{Slot: 4, Gen: 1}}, m[4])
		for i, o := range owners() {
			if o != before[i] {
				t.Fatalf("%s: key %d is with %d and was with %d", strategy, i, o, before[i])
			}
		}
	}
}

func TestPickRefusesBugs(t *testing.T) {
	g, group, _ := club(1)
	for what, f := range map[string]func(){
		"no such strategy": func() { g.Pick(group, Choice{Strategy: HashTopic + 1}) },
		"no member":        func() { g.Join("g", "f", Subscriber{}, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
}
