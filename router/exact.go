package router

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// exactShards is how many writers of exact filters can be at work at once. It
// costs one cache line each.
const exactShards = 256

// exactShard is one part of the exact filters. Readers take no lock.
type exactShard struct {
	mu   sync.Mutex // held by writers
	tree hashTree[entry]
	_    [48]byte // a cache line of its own: a writer here must not slow the readers next door
}

// entry is one exact filter with its subscribers; it is 48 bytes.
type entry struct {
	filter string
	more   *many // more and one are a set, taken apart to save its padding
	one    Subscriber
	tag    uint32 // hash of filter
}

func (e entry) hash() uint32 { return e.tag }
func (e *entry) set() set    { return set{e.more, e.one} }

func (s *exactShard) find(tag uint32, filter string) (int, *entry) {
	leaf := s.tree.leafOf(tag)
	for i := range leaf {
		if leaf[i].tag == tag && leaf[i].filter == filter {
			return i, &leaf[i]
		}
	}
	return -1, nil
}

// get is find for a reader that holds bytes; it does not allocate.
func (s *exactShard) get(tag uint32, topic []byte) *entry {
	leaf := s.tree.leafOf(tag)
	for i := range leaf {
		if leaf[i].tag == tag && leaf[i].filter == string(topic) {
			return &leaf[i]
		}
	}
	return nil
}

func (s *exactShard) subscribe(tag uint32, filter string, sub Subscriber) (change delta, replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, e := s.find(tag, filter)
	if e == nil {
		s.tree.put(-1, entry{filter: filter, one: sub, tag: tag})
		return delta{filters: 1, subs: 1}, false
	}
	old := e.set()
	set, replaced := old.with(sub)
	if set != old {
		s.tree.put(i, entry{filter: e.filter, more: set.more, one: set.one, tag: tag})
	}
	if replaced {
		return delta{}, true
	}
	return delta{subs: 1}, false
}

func (s *exactShard) unsubscribe(tag uint32, filter string, ref Ref) (change delta, existed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, e := s.find(tag, filter)
	if e == nil {
		return delta{}, false
	}
	old := e.set()
	set, left, existed := old.without(ref)
	switch {
	case !existed:
		return delta{}, false
	case !left:
		s.tree.remove(tag, i)
		return delta{filters: -1, subs: -1}, true
	case set != old:
		s.tree.put(i, entry{filter: e.filter, more: set.more, one: set.one, tag: tag})
	}
	return delta{subs: -1}, true
}

// load is subscribe for many, of which each is there once. They are scratch afterwards.
func (s *exactShard) load(list []entry) (change delta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(list, func(a, b entry) int {
		if a.tag != b.tag {
			return cmp.Compare(a.tag, b.tag)
		}
		return strings.Compare(a.filter, b.filter)
	})
	fresh := list[:0]
	for len(list) > 0 {
		e, n := list[0], 1
		for n < len(list) && list[n].tag == e.tag && list[n].filter == e.filter {
			n++
		}
		i, old := s.find(e.tag, e.filter)
		set := e.set()
		rest := list[1:n]
		if old != nil {
			set, rest = old.set(), list[:n]
		}
		for k := range rest {
			var replaced bool
			if set, replaced = set.with(rest[k].one); !replaced {
				change.subs++
			}
		}
		list = list[n:]
		e.more, e.one = set.more, set.one
		switch {
		case old == nil:
			fresh = append(fresh, e)
			change.filters++
			change.subs++
		case old.set() != set:
			e.filter = old.filter
			s.tree.put(i, e)
		}
	}
	s.tree.putAll(fresh)
	return change
}
