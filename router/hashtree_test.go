package router

import (
	"testing"

	"pgregory.net/rapid"
)

// item has the hash it was given, so that a test can make collisions.
type item struct {
	key int
	h   uint32
}

func (i item) hash() uint32 { return i.h }

// The tree against a map, with hashes that are all equal, differ late, or spread.
func TestHashTreeAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashOf := rapid.SampledFrom([]func(key int) uint32{
			func(int) uint32 { return 7 },
			func(k int) uint32 { return uint32(k%2) << 31 },
			func(k int) uint32 { return uint32(k) << 20 },
			func(k int) uint32 { return uint32(k) * 0x9E3779B1 },
		}).Draw(t, "hash")
		var tree hashTree[item]
		plain := map[int]bool{}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			key := rapid.IntRange(0, 60).Draw(t, "key")
			h := hashOf(key)
			at := -1
			for i, e := range tree.leafOf(h) {
				if e.key == key {
					at = i
				}
			}
			if (at >= 0) != plain[key] {
				t.Fatalf("key %d: at %d, want present %t", key, at, plain[key])
			}
			if many := rapid.IntRange(0, 60).Draw(t, "many"); many > 55 { // of those that are not there
				var all []item
				for k := key; k < key+many; k++ {
					if !plain[k] {
						all = append(all, item{k, hashOf(k)})
						plain[k] = true
					}
				}
				tree.putAll(all)
				checkTwig(t, tree.root.Load(), 0)
				continue
			}
			if rapid.IntRange(0, 2).Draw(t, "op") > 0 {
				tree.put(at, item{key, h})
				plain[key] = true
			} else if at >= 0 {
				tree.remove(h, at)
				delete(plain, key)
			}
			got := tree.appendTo(nil)
			for _, e := range got {
				if !plain[e.key] {
					t.Fatalf("key %d is there and should not be", e.key)
				}
			}
			if len(got) != len(plain) || tree.empty() != (len(plain) == 0) {
				t.Fatalf("%d elements, want %d", len(got), len(plain))
			}
			checkTwig(t, tree.root.Load(), 0)
		}
	})
}

// checkTwig checks the counts and the depth of forks, and that nothing empty or
// almost empty was left standing.
func checkTwig(t *rapid.T, tw *twig[item], above int) int {
	if tw == nil {
		return 0
	}
	if tw.fork == nil {
		if len(tw.leaf) == 0 {
			t.Fatal("empty leaf")
		}
		if cap(tw.leaf) != len(tw.leaf) {
			t.Fatalf("leaf of %d has room for %d", len(tw.leaf), cap(tw.leaf))
		}
		return len(tw.leaf)
	}
	n := 0
	for i := range tw.fork.slots {
		n += checkTwig(t, tw.fork.slots[i].Load(), above+1)
	}
	if above >= forksMax {
		t.Fatalf("a fork below %d others", above)
	}
	if n != tw.fork.n || n <= leafMin {
		t.Fatalf("fork counts %d and holds %d", tw.fork.n, n)
	}
	return n
}
