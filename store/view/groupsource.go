package view

import (
	"cmp"
	"slices"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A source is a range of numbers under one identifier, less what was taken.

// Source is a part of what a group has: what came for it, or what a member gave back.
// The messages are those with postings under ID for which Wants is true.
type Source struct {
	ID    fact.FilterID // of the group, or of the member it was given to
	Part  store.Seq     // the number of the record that gave it back; 0: it came for the group
	After store.Seq     // messages that are later
	Until store.Seq     // and not later than this
	At    int64         // Unix milliseconds, of the record

	Only  []store.Seq // messages not later than After that belong to it as well, in order
	Below store.Seq   // whatever is before it is done with
	Taken []store.Seq // what is done with and not before Below, in order
}

// never is later than everything.
const never = ^store.Seq(0)

// Wants tells whether a message that stands under the source's ID belongs to it and was
// not taken.
func (s *Source) Wants(seq store.Seq) bool {
	if seq < s.Below || seq > s.Until {
		return false
	}
	if seq <= s.After {
		if _, ok := slices.BinarySearch(s.Only, seq); !ok {
			return false
		}
	}
	_, taken := slices.BinarySearch(s.Taken, seq)
	return !taken
}

// Start is the number that all it wants is later than.
func (s *Source) Start() store.Seq {
	start := s.After
	if len(s.Only) > 0 {
		start = min(start, s.Only[0]-1)
	}
	if s.Below > 0 {
		start = max(start, s.Below-1)
	}
	return start
}

// order is that of the sources: as they came.
func (s *Source) order(o *Source) int {
	return cmp.Or(cmp.Compare(s.Part, o.Part), cmp.Compare(s.ID, o.ID))
}

// find is where a source of that name is, or belongs.
func (gr *group) find(id fact.FilterID, part store.Seq) (at int, there bool) {
	return slices.BinarySearchFunc(gr.sources, &Source{ID: id, Part: part}, (*Source).order)
}

// source is the source of that name; nil if there is none.
func (gr *group) source(id fact.FilterID, part store.Seq) *Source {
	if at, there := gr.find(id, part); there {
		return gr.sources[at]
	}
	return nil
}

// add adds a source.
func (gr *group) add(s *Source) {
	at, _ := gr.find(s.ID, s.Part)
	gr.sources = slices.Insert(gr.sources, at, s)
}
