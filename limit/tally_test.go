package limit

import (
	"fmt"
	"testing"
)

// Nobody's sum is less than what is his, and few have more.
func TestTally(t *testing.T) {
	tally := NewTally()
	const names = 2000
	for i := range names {
		tally.Add(tally.Place(fmt.Sprint(i)), int64(i))
	}
	more := 0
	for i := range names {
		switch sum := tally.Sum(tally.Place(fmt.Sprint(i))); {
		case sum < int64(i):
			t.Fatalf("%d has a sum of %d", i, sum)
		case sum > int64(i):
			more++
		}
	}
	if more > names/3 { // 1 in 16,384 for each of the others: a ninth
		t.Errorf("%d of %d share a place", more, names)
	}
	for i := range names {
		tally.Add(tally.Place(fmt.Sprint(i)), -int64(i))
	}
	for i := range uint16(tallyPlaces) {
		if tally.Sum(i) != 0 {
			t.Fatal("something is left")
		}
	}
}
