package broker

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/store/fact"
)

// Who wants a filter is who was put in and not taken out, however many they are and although
// some filters have the same place in the table.
func TestTakersAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Home{}
		ids := []fact.FilterID{1, 2, 1<<40 | 1, 1<<40 | 65, 1 << 63, 7<<32 | 3, 7<<32 | 67} // of some a tag and a part are the same
		for slot := range uint32(6) {
			h.slots, h.gens = append(h.slots, &resident{ref: Ref{slot, slot + 10}, log: &durable{}}), append(h.gens, slot+10)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			id := rapid.SampledFrom(ids).Draw(t, "filter")
			r := h.slots[rapid.IntRange(0, 5).Draw(t, "session")]
			switch i := slices.IndexFunc(r.log.subs, func(s durableSub) bool { return s.id == id }); {
			case i < 0 || h.takes(r.ref.Slot, id) < 3 && rapid.Bool().Draw(t, "by another name"):
				r.log.subs = append(r.log.subs, durableSub{id: id})
				h.take(id, r.ref)
			default:
				h.byFilter.drop(id, r.ref)
				r.log.subs = slices.Delete(r.log.subs, i, i+1)
			}
			plain := make(map[fact.FilterID]map[Ref]bool)
			for _, id := range ids {
				plain[id] = make(map[Ref]bool)
				for slot := range uint32(6) {
					if h.takes(slot, id) > 0 {
						plain[id][h.refOf(slot)] = true
					}
				}
			}
			var one [1]Ref
			n := 0
			for _, id := range ids {
				got := make(map[Ref]bool)
				for _, ref := range h.takersOf(id, one[:]) {
					got[ref] = true
				}
				if !maps.Equal(got, plain[id]) {
					t.Fatalf("filter %x: %v, want %v", id, got, plain[id])
				}
				n += len(got)
			}
			if (h.byFilter.len() > 0) != (n > 0) {
				t.Fatalf("%d filters are left for %d sessions", h.byFilter.len(), n)
			}
		}
	})
}

// Homes that have a filter are those of which more came than went.
func TestUseCountsHomes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := uint16(rapid.IntRange(0, 2).Draw(t, "first")) //nolint:gosec // small
		u, plain := use{home: first, n: 1}, [3]int{}
		plain[first] = 1
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			home := rapid.IntRange(0, 2).Draw(t, "home")
			if plain[home] > 0 && rapid.Bool().Draw(t, "leaves") {
				var left bool
				plain[home]--
				if u, left = u.minus(uint16(home)); left != (plain != [3]int{}) { //nolint:gosec // small
					t.Fatalf("left: %t of %v", left, plain)
				}
				if !left {
					return
				}
			} else {
				plain[home]++
				u = u.plus(uint16(home), 3) //nolint:gosec // small
			}
			var got [3]bool
			u.each(func(home int) { got[home] = true })
			if got != [3]bool{plain[0] > 0, plain[1] > 0, plain[2] > 0} {
				t.Fatalf("homes %v of %v", got, plain)
			}
		}
	})
}
