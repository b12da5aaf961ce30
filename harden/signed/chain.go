package signed

import (
	"fmt"
	"slices"
)

// Member is a text whose signature is good, with its place.
type Member struct {
	Name string // of its file
	Link
	Hash string // of the text
}

// Chain sorts members, and answers an error that names where they do not follow each other. One
// alone follows nobody.
func Chain(all []Member) ([]Member, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Member) int {
		switch {
		case a.Sequence < b.Sequence:
			return -1
		case a.Sequence > b.Sequence:
			return 1
		}
		return 0
	})
	for i := 1; i < len(all); i++ {
		before, m := &all[i-1], &all[i]
		switch {
		case m.Sequence == before.Sequence && m.Hash == before.Hash:
			continue // the same one, under two names
		case m.Sequence == before.Sequence:
			return all, fmt.Errorf("the chain is broken: %s and %s are both report %d, and not the same", before.Name, m.Name, m.Sequence)
		case m.Sequence != before.Sequence+1:
			missing := "1 report is"
			if n := m.Sequence - before.Sequence - 1; n > 1 {
				missing = fmt.Sprintf("%d reports are", n)
			}
			return all, fmt.Errorf("the chain is broken: %s missing between report %d (%s) and report %d (%s)", missing, before.Sequence, before.Name, m.Sequence, m.Name)
		case m.Previous != before.Hash:
			return all, fmt.Errorf("the chain is broken: report %d (%s) does not follow %s, which is not the report %d that it was made after", m.Sequence, m.Name, before.Name, before.Sequence)
		}
	}
	return all, nil
}
