package retain

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func newNumbers() list[*int64, int64] {
	return list[*int64, int64]{
		cmp:    func(e *int64, key int64) int { return cmp.Compare(*e, key) },
		cmpLow: cmp.Compare[int64],
		lowOf:  func(e *int64) int64 { return *e },
	}
}

// A list against a sorted slice, in sizes that make blocks split and merge.
func TestListAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newNumbers()
		var plain []int64
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			add := rapid.Bool().Draw(t, "add")
			from := rapid.Int64Range(0, 2000).Draw(t, "from")
			stride := rapid.SampledFrom([]int64{1, -1, 7, 389}).Draw(t, "stride") // rising, falling, scattered
			for i := range rapid.Int64Range(1, 1500).Draw(t, "n") {
				at := ((from+i*stride)%3000 + 3000) % 3000
				p := l.seek(at)
				i, there := slices.BinarySearch(plain, at)
				e, here, ok := l.at(p)
				if (ok && *e == at) != there {
					t.Fatalf("%d: found %v, want %t", at, e, there)
				}
				switch {
				case add && !there:
					l.insert(p, &at)
					plain = slices.Insert(plain, i, at)
				case !add && there:
					l.remove(here)
					plain = slices.Delete(plain, i, i+1)
				}
			}
			checkList(t, &l, plain)
			from, to := rapid.Int64Range(0, 3000).Draw(t, "a"), rapid.Int64Range(0, 3000).Draw(t, "b")
			if e, here, ok := l.at(l.seek(min(from, to))); ok && *e < max(from, to) {
				if got, want := l.seekFrom(here, max(from, to)), l.seek(max(from, to)); got != want {
					t.Fatalf("seekFrom %v = %v, want %v", here, got, want)
				}
			}
		}
	})
}

func checkList(t *rapid.T, l *list[*int64, int64], want []int64) {
	var got []int64
	for p := (place{}); ; {
		e, here, ok := l.at(p)
		if !ok {
			break
		}
		got = append(got, *e)
		p = place{here.block, here.i + 1}
	}
	if !slices.Equal(got, want) || l.n != len(want) {
		t.Fatalf("holds %d, want %d", l.n, len(want))
	}
	for i, b := range l.blocks {
		items := b.items
		if len(items) == 0 || len(items) > blockMax || cap(items) >= len(items)+2*blockStep || i > 0 && len(items)+len(l.blocks[i-1].items) <= blockMax/2 {
			t.Fatalf("block %d of %d holds %d, room for %d", i, len(l.blocks), len(items), cap(items))
		}
		if i > 0 && (b.low > *items[0] || b.low <= *l.blocks[i-1].items[len(l.blocks[i-1].items)-1]) {
			t.Fatalf("block %d has low %d and starts with %d", i, b.low, *items[0])
		}
		if slices.ContainsFunc(items[len(items):cap(items)], func(e *int64) bool { return e != nil }) {
			t.Fatalf("block %d keeps an element that was removed", i)
		}
	}
}
