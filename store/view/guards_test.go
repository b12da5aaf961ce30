package view

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/store"
)

// Guards are found as in a map, whatever comes and goes, and places are used again.
func TestGuardsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g guards
		twin := map[store.SID]guard{}
		most := 0
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			sid := store.SID{0: byte(rapid.IntRange(0, 40).Draw(t, "sid")), 15: byte(rapid.IntRange(0, 1).Draw(t, "end"))}
			if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
				g.drop(&sid)
				delete(twin, sid)
			} else {
				is := guard{epoch: rapid.Uint64Range(1, 9).Draw(t, "epoch"), subs: rapid.Bool().Draw(t, "subs")}
				g.set(&sid, is)
				twin[sid] = is
			}
			most = max(most, len(twin))
			got, there := g.of(&sid)
			want, is := twin[sid]
			if got != want || there != is || g.len() != len(twin) {
				t.Fatalf("%+v, %v of %d, want %+v, %v of %d", got, there, g.len(), want, is, len(twin))
			}
		}
		for sid, want := range twin {
			if got, there := g.of(&sid); !there || got != want {
				t.Fatalf("%+v, %v, want %+v", got, there, want)
			}
		}
		if int(g.places) > most {
			t.Fatalf("%d places for %d at most", g.places, most)
		}
	})
}

// There are as many as a fleet has: the chunks go on where one ends.
func TestGuardsOfMany(t *testing.T) {
	var g guards
	const n = 3*guardedChunk + 5
	sid := func(i int) *store.SID { return &store.SID{byte(i), byte(i >> 8), 7} }
	for i := range n {
		g.set(sid(i), guard{epoch: uint64(i)})
	}
	for i := range n {
		if is, there := g.of(sid(i)); !there || is.epoch != uint64(i) {
			t.Fatalf("%d: %+v, %v", i, is, there)
		}
	}
	for i := range n {
		g.drop(sid(i))
	}
	if g.len() != 0 || g.chunks != nil || g.by.Room() != 0 {
		t.Errorf("%d are left, %d chunks, %d cells", g.len(), len(g.chunks), g.by.Room())
	}
}
