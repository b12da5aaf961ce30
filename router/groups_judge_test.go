package router

import "testing"

// Who may not have a topic is passed over by every strategy, its share goes to all others, and
// what nobody may have is nobody's. Only who has the option Check is asked.
func TestWhoMayNotIsPassedOver(t *testing.T) {
	for _, s := range strategies {
		g, group, members := club(3)
		for i, m := range members[:2] { // both have a judge, and only the second must be asked
			g.Join("g", "jobs/+", Subscriber{Ref: Ref{Slot: uint32(i), Gen: 1}, Opts: Opts(i) * Check}, m) //nolint:gosec // 0 and 1
			m.SetJudge(func(name []byte) bool { return string(name) != "jobs/secret" })
		}
		by := func(name string) func(i int) Choice {
			return func(i int) Choice {
				h := mix(uint64(i)) //nolint:gosec // small
				return Choice{Strategy: s, Random: h, Topic: h, Publisher: h, Name: []byte(name)}
			}
		}
		got := share(g, group, 600, by("jobs/secret"))
		if got[1] != 0 || got[0]+got[2] != 600 || s != Sticky && (got[0] < 200 || got[2] < 200) {
			t.Errorf("%v: %v", s, got)
		}
		if got := share(g, group, 600, by("jobs/a")); s != Sticky && got[1] < 150 {
			t.Errorf("%v: of what it may have %v", s, got)
		}
		members[0].SetState(Offline)
		members[2].SetState(Full)
		c := by("jobs/secret")(1)
		if s, _, ok := g.Claim(group, c); ok {
			t.Errorf("claimed from %v", s)
		}
		if best, barred := g.Best(group, c, Accepting); best != Full || barred {
			t.Errorf("%v: the best is %v, %v", s, best, barred)
		}
		g.Leave("g", "jobs/+", Ref{Slot: 0, Gen: 1})
		g.Leave("g", "jobs/+", Ref{Slot: 2, Gen: 1})
		if _, ok := g.Pick(group, c); ok {
			t.Errorf("%v: somebody has what nobody may have", s)
		}
		if _, barred := g.Best(group, c, Offline); !barred {
			t.Errorf("%v: nobody may have it", s)
		}
		if best, barred := g.Best(group, by("jobs/a")(1), Accepting); best != Accepting || barred {
			t.Errorf("%v: the best is %v, %v", s, best, barred)
		}
		g.Leave("g", "jobs/+", Ref{Slot: 1, Gen: 1})
		if _, barred := g.Best(group, c, Offline); barred {
			t.Errorf("%v: a group without members denies nothing", s)
		}
	}
}
