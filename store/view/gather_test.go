package view

import (
	"math/rand/v2"
	"testing"

	"github.com/redoubtmq/redoubt/store"
)

// However many postings there are of however many filters, the first are kept, each once,
// and no more memory than for three times as many as were asked for.
func TestGatherKeepsTheFirst(t *testing.T) {
	const most, lists = 100, 8
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 10, most, most + 1, 50_000} {
		g := newGather(make([]Posting, 1), most)
		seen := make(map[store.Seq]bool)
		for range lists {
			more := true
			for seq := store.Seq(1); seq <= store.Seq(n) && more; seq += store.Seq(1 + random.IntN(2)) { //nolint:gosec // small
				if more = g.add(Posting{Seq: seq}); more {
					seen[seq] = true
				}
			}
		}
		g.settle()
		list := g.list[1:]
		for i := 1; i < len(list); i++ {
			if list[i].Seq <= list[i-1].Seq {
				t.Fatalf("%d of each: %v comes after %v", n, list[i], list[i-1])
			}
		}
		for seq := range seen {
			if i := len(list); i > 0 && seq <= list[i-1].Seq {
				delete(seen, seq)
			}
		}
		if cut := g.cut != never; cut != (len(seen) > 0) || len(list) > most || cut && (len(list) < most || g.cut != list[most-1].Seq) || cap(g.list) > 3*most {
			t.Errorf("%d of each: %d of at most %d, up to %d, %d left out, room for %d", n, len(list), most, g.cut, len(seen), cap(g.list))
		}
	}
}
