package directory

import (
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestDirectoryAgainstAMap: whatever is put and dropped, a directory finds what a map would.
// The hashes are few and lie at the ends, so that many are alike, many want the same cells, and
// rows of cells go round the end: as if somebody could choose them.
func TestDirectoryAgainstAMap(t *testing.T) {
	hashes := rapid.SampledFrom([]uint64{0, 1, 1 << 32, 1<<32 | 1, 1 << 62, 1 << 63, 1<<63 | 1<<62, 0xFFFFFFFF << 32, 0xFFFFFFFE << 32, 0xFFFFFFFF<<32 | 1, 0xF0000000 << 32})
	rapid.Check(t, func(t *rapid.T) {
		type name struct {
			hash uint64
			text int
		}
		var d Directory
		names := map[uint32]name{} // by number, as its owner has them
		plain := map[name]uint32{}
		look := func(n name) (uint32, bool) {
			return d.Find(n.hash, func(number uint32) bool { return names[number] == n })
		}
		next := uint32(0)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			n := name{hashes.Draw(t, "hash"), rapid.IntRange(0, 9).Draw(t, "text")}
			number, want := plain[n]
			if got, ok := look(n); ok != want || ok && got != number {
				t.Fatalf("%v is %d, %v; want %d, %v", n, got, ok, number, want)
			}
			if want {
				if !d.Drop(n.hash, number) || d.Drop(n.hash, number) {
					t.Fatalf("%v is not dropped once", n)
				}
				delete(plain, n)
				delete(names, number)
				continue
			}
			if d.Drop(n.hash, NumberMax) {
				t.Fatal("what was not there is dropped")
			}
			names[next], plain[n] = n, next
			d.Put(n.hash, next)
			next++
		}
		for n, number := range plain {
			if got, ok := look(n); !ok || got != number {
				t.Fatalf("%v is %d, %v; want %d", n, got, ok, number)
			}
		}
		if d.Len() != len(plain) {
			t.Fatalf("%d, want %d", d.Len(), len(plain))
		}
		if len(plain) == 0 && d.Room() != 0 {
			t.Fatalf("an empty one has %d cells", d.Room())
		}
	})
}

// A crowd comes and goes: everybody is found at any size, a name takes 10 to 15 bytes while
// there are many, and what they took comes back.
func TestDirectoryGrowsAndGivesBack(t *testing.T) {
	var d Directory
	seed := maphash.MakeSeed()
	hash := func(n uint32) uint64 { return maphash.Comparable(seed, n) }
	found := func(n uint32) bool {
		_, ok := d.Find(hash(n), func(number uint32) bool { return number == n })
		return ok
	}
	const most = 100_000
	for n := range uint32(most) {
		if found(n) {
			t.Fatalf("%d is there before it came", n)
		}
		d.Put(hash(n), n)
		if n > most/10 && d.Room()*8 > int(n)*16 {
			t.Fatalf("%d take %d bytes", n, d.Room()*8)
		}
	}
	order := rand.Perm(most)
	for i, n := range order {
		if !found(uint32(n)) {
			t.Fatalf("%d is lost", n)
		}
		d.Drop(hash(uint32(n)), uint32(n))
		if left := most - i - 1; left < most/10 && d.Room() > 5*left+directoryParts*cellsMin {
			t.Fatalf("%d of them have %d cells", left, d.Room())
		}
	}
	if d.Room() != 0 {
		t.Errorf("%d cells are left", d.Room())
	}
}

// Nobody waits for long because a directory grows: it moves one part of it.
func TestDirectoryGrowsAPartAtATime(t *testing.T) {
	var d Directory
	seed := maphash.MakeSeed()
	for n := range uint32(64_000) {
		sizes := [directoryParts]int{}
		for i := range d.parts {
			sizes[i] = len(d.parts[i].cells)
		}
		d.Put(maphash.Comparable(seed, n), n)
		grown := 0
		for i := range d.parts {
			if len(d.parts[i].cells) != sizes[i] {
				grown++
			}
		}
		if grown > 1 {
			t.Fatalf("%d parts grew for one name", grown)
		}
	}
}
