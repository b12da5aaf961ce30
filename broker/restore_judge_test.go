package broker

import (
	"fmt"
	"testing"
)

// Sessions that come back are judged by the rules of now: a part at once, and the rest in turns
// that nobody asks for before clients are let in. Meanwhile whoever has lost a right is given
// nothing by it, neither what waited nor what comes, and whoever has not has all.
func TestJudgingTheRestoredWaitsForTheDoors(t *testing.T) {
	for _, opened := range []bool{false, true} {
		what := fmt.Sprint("opened ", opened)
		k := newKeptDesk(t, 1)
		k.rules(denied())
		// The slots follow the names, which are hashes: with so many, some of them come late.
		const n = decisionsPerTurn
		for i := range n {
			user := fmt.Sprint("u", i)
			s := k.join(0, user)
			k.hears(s, "open/secret", 1)
			k.hears(s, "open/other", 1)
			s.cut()
		}
		pub := k.join(0, "pub")
		k.rest()
		k.sayQ(pub, "open/secret", 1, 1, 1)
		pub.cut()
		k.rest()
		users := ""
		for i := range n / 2 {
			users += fmt.Sprint(", u", 2*i)
		}
		k.policy = fmt.Sprintf("  - {deny: subscribe, users: [nobody%s], topics: [\"open/secret\"]}\n  - {allow: all, topics: [\"open/#\"]}", users)
		k.crash()
		h, w := k.homes[0], k.wires[0]
		if !h.work.judge || int(h.work.judging) >= n {
			t.Fatalf("%s: %d are judged, want a part", what, h.work.judging)
		}
		if asked := w.asked; asked != 0 {
			t.Errorf("%s: judging asks for %d turns before clients are let in", what, asked)
		}
		var late []string // of both kinds, not judged yet
		for _, r := range h.slots[h.work.judging:] {
			late = append(late, r.by.Username)
		}
		if opened {
			h.Opened(k.now)
			judging := h.work.judging
			if k.turn(); w.asked != 0 || h.work.judging != judging {
				t.Errorf("%s: judging goes on at once: %d turns are asked for, %d are judged", what, w.asked, h.work.judging-judging)
			}
			if next := h.NextTick(); next.After(k.now.Add(judgeAfter)) {
				t.Errorf("%s: the loop wakes at %v", what, next)
			}
			k.now = k.now.Add(judgeAfter)
			for h.work.judge {
				asked := w.asked
				if k.turn(); h.work.judge && w.asked == asked {
					t.Fatalf("%s: judging has stopped at %d", what, h.work.judging)
				}
			}
		} else {
			h.work.judge = false // as if no turn came before all of this
		}
		pub = k.back("pub")
		pub.publish("open/secret", "m2", 1, 2)
		pub.publish("open/other", "m3", 1, 3)
		k.rest()
		kinds := map[bool]int{}
		for _, user := range late[max(0, len(late)-40):] {
			if user == "pub" {
				continue
			}
			var i int
			_, _ = fmt.Sscanf(user, "u%d", &i)
			want := []string{"m1", "m2", "m3"}
			if i%2 == 0 {
				want = []string{"m3"}
			}
			kinds[i%2 == 0]++
			if got := k.drinkAll(k.back(user))[0]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s has %v, want %v", what, user, got, want)
			}
		}
		if len(kinds) != 2 {
			t.Fatalf("%s: of the last there is one kind only", what)
		}
	}
}
