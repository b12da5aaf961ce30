package broker

import (
	"slices"

	"github.com/redoubtmq/redoubt/internal/directory"
	"github.com/redoubtmq/redoubt/store/fact"
)

// takers is which sessions of a home want the messages of a filter from the log. Most filters
// of a fleet have one, which is a number in a table; several are a list. A session that wants
// the same filter by several names is there as often.
type takers struct {
	one  directory.Directory // slots
	many map[fact.FilterID][]Ref
}

// hashOf is where the directory has a filter: its identifier is a keyed hash.
func hashOf(id fact.FilterID) uint64 { return uint64(id) }

// take adds a session to those that want a filter.
func (h *Home) take(id fact.FilterID, ref Ref) {
	t := &h.byFilter
	if list := t.many[id]; list != nil {
		t.many[id] = append(list, ref)
		return
	}
	slot, ok := t.one.Find(hashOf(id), func(slot uint32) bool { return slot != ref.Slot && h.oneTakes(slot, id) })
	if !ok {
		t.one.Put(hashOf(id), ref.Slot)
		return
	}
	list := []Ref{ref}
	for range h.takes(slot, id) {
		t.one.Drop(hashOf(id), slot)
		list = append(list, h.refOf(slot))
	}
	if t.many == nil {
		t.many = make(map[fact.FilterID][]Ref)
	}
	t.many[id] = list
}

// drop takes one out that take has put in.
func (t *takers) drop(id fact.FilterID, ref Ref) {
	list := t.many[id]
	if list == nil {
		t.one.Drop(hashOf(id), ref.Slot)
		return
	}
	i, last := slices.Index(list, ref), len(list)-1
	list[i] = list[last]
	if last > 0 {
		t.many[id] = list[:last]
		return
	}
	if delete(t.many, id); len(t.many) == 0 {
		t.many = nil // a map keeps the memory of its best days (A042)
	}
}

func (t *takers) len() int { return t.one.Len() + len(t.many) }

// takersOf answers the sessions that want a filter, in room if it is one. Another list is the
// home's: it may change with what is delivered.
func (h *Home) takersOf(id fact.FilterID, room []Ref) []Ref {
	if list := h.byFilter.many[id]; list != nil {
		return list
	}
	slot, ok := h.byFilter.one.Find(hashOf(id), func(slot uint32) bool { return h.oneTakes(slot, id) })
	if !ok {
		return nil
	}
	return append(room[:0], h.refOf(slot))
}

// oneTakes tells whether the session of a slot wants a filter from the log.
func (h *Home) oneTakes(slot uint32, id fact.FilterID) bool {
	r := h.slots[slot]
	return r != nil && r.log != nil && slices.ContainsFunc(r.log.subs, func(s durableSub) bool { return s.id == id })
}

// takes is by how many names the session of a slot wants a filter from the log.
func (h *Home) takes(slot uint32, id fact.FilterID) (names int) {
	r := h.slots[slot]
	if r == nil || r.log == nil {
		return 0
	}
	for i := range r.log.subs {
		if r.log.subs[i].id == id {
			names++
		}
	}
	return names
}

func (h *Home) refOf(slot uint32) Ref { return Ref{slot, h.gens[slot]} }
