package broker

import (
	"slices"

	"github.com/redoubtmq/redoubt/store/fact"
)

// A retained publish that is matched before a subscription, and comes after it in the log,
// is neither among what is retained when the subscription begins nor does it name its
// filter: after a crash the session would be left with the older value. So its filters are
// looked at again at the moment when it is handed to the log, if any joined.

// rematched is which records of a batch that concerns.
type rematched struct {
	at     []int  // indices of retained publishes that name filters
	joined uint64 // of filters, before the first of them was matched
}

// noteRetained notes that the record added last is one.
func (h *Home) noteRetained(joined uint64) {
	j := &h.journal
	if len(j.rematched.at) == 0 {
		j.rematched.joined = joined
	}
	j.rematched.at = append(j.rematched.at, len(j.recs)-1)
}

// hold keeps new filters from joining until the batch is handed over, and names those that
// have joined since its records were matched. A session says that it subscribes after its
// filter has joined, so that its record comes later.
func (h *Home) hold(b *batch) (free func()) {
	f := h.b.filters
	if len(b.rematched.at) == 0 {
		return func() {}
	}
	f.mu.RLock()
	if f.joined.Load() == b.rematched.joined {
		return f.mu.RUnlock
	}
	for _, i := range b.rematched.at {
		var m fact.Message
		if m.Decode(b.recs[i].Body) != nil {
			continue // it was encoded here
		}
		ids, broad := f.match(m.Topic, &h.scratch.matches, nil)
		if slices.Equal(ids, m.Filters) && broad == m.Broad {
			continue
		}
		m.Filters, m.Broad = ids, broad
		b.recs[i].Body = m.Append(nil)
	}
	return f.mu.RUnlock
}
