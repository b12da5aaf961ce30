package limit

import (
	"hash/maphash"
	"sync/atomic"
)

// tallyPlaces is how many sums a Tally keeps: 128 KiB.
const tallyPlaces = 1 << 14

// Tally is how much of something each of very many has, in memory that does not grow: all
// whose names hash to one place have one sum. So it never says too little, and who
// shares a place with somebody who has very much, which is one in 16,384 and changes with each
// start, is taken for him. It is safe for concurrent use.
type Tally struct {
	seed maphash.Seed
	sums [tallyPlaces]atomic.Int64
}

// NewTally knows of nobody.
func NewTally() *Tally { return &Tally{seed: maphash.MakeSeed()} }

// Place is where the sum of a name is; it stays.
func (t *Tally) Place(name string) uint16 {
	return uint16(maphash.String(t.seed, name) & (tallyPlaces - 1))
}

// Add counts n more, or fewer, and answers the sum.
func (t *Tally) Add(place uint16, n int64) int64 { return t.sums[place&(tallyPlaces-1)].Add(n) }

// Sum is how much those of a place have.
func (t *Tally) Sum(place uint16) int64 { return t.sums[place&(tallyPlaces-1)].Load() }
