package shrink

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is put in and taken out, the map holds what one that never shrinks
// would hold.
func TestAgainstAPlainMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, plain := map[int]int{}, map[int]int{}
		var most Most
		for range rapid.IntRange(1, 6).Draw(t, "waves") {
			for i := range rapid.IntRange(0, 4000).Draw(t, "come") {
				m[i], plain[i] = i, i
			}
			for i := range rapid.IntRange(0, 4000).Draw(t, "go") {
				delete(plain, i)
				delete(m, i)
				m = Map(m, &most)
			}
			if !maps.Equal(m, plain) {
				t.Fatalf("%d entries, want %d", len(m), len(plain))
			}
		}
	})
}

// Copying stays a fraction of deleting, also for a map that hovers at the edge.
func TestCopiesAreFew(t *testing.T) {
	m := map[int]int{}
	var most Most
	deleted, copied := 0, 0
	for range 50 {
		for i := range 10_000 {
			m[i] = i
		}
		for i := range 10_000 {
			delete(m, i)
			deleted++
			before := most
			m = Map(m, &most)
			if most < before { // it was made anew
				copied += len(m)
			}
		}
	}
	if copied == 0 || copied*8 > deleted {
		t.Errorf("%d entries were copied for %d deletes", copied, deleted)
	}
}
