package router

import "sync"

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
