package router

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// wildShards is how many shards of the trie there are for filters whose first
// level is a literal. One more holds those that start with a wildcard.
const wildShards = 64

// wildShard is the part of the trie below some first levels. Readers take no lock.
type wildShard struct {
	mu   sync.Mutex // held by writers
	root node       // of no level
	_    [8]byte    // a cache line of its own
}

// node is one level of one or more wildcard filters; it is 48 bytes. Its pointers
// change, what they point to does not, but for the nodes below.
type node struct {
	level string // empty for the root and for '+'
	kids  hashTree[kid]
	plus  atomic.Pointer[node]
	here  atomic.Pointer[set] // subscribers of the filter that ends with this level
	below atomic.Pointer[set] // subscribers of the filter that ends with a '#' after it
}

type kid struct {
	node *node
	tag  uint32 // hash of its level
}

func (k kid) hash() uint32 { return k.tag }

func (n *node) empty() bool {
	return n.kids.empty() && n.plus.Load() == nil && n.here.Load() == nil && n.below.Load() == nil
}

func (n *node) find(tag uint32, level string) (int, *node) {
	leaf := n.kids.leafOf(tag)
	for i := range leaf {
		if leaf[i].tag == tag && leaf[i].node.level == level {
			return i, leaf[i].node
		}
	}
	return -1, nil
}

// get is find for a reader that holds bytes; it does not allocate.
func (n *node) get(tag uint32, level []byte) *node {
	leaf := n.kids.leafOf(tag)
	for i := range leaf {
		if leaf[i].tag == tag && leaf[i].node.level == string(level) {
			return leaf[i].node
		}
	}
	return nil
}

// ends is the set that a filter with the last level `last` has at n: its
// own, or the one for '#'.
func (n *node) ends(last string) *atomic.Pointer[set] {
	if last == "#" {
		return &n.below
	}
	return &n.here
}

func tagOf(seed maphash.Seed, level string) uint32 {
	return uint32(maphash.String(seed, level))
}

// subscribe adds the nodes that the filter needs and then the subscriber. A reader
// that meets the new nodes before the subscriber finds nothing in them.
func (s *wildShard) subscribe(seed maphash.Seed, filter string, sub Subscriber) (change delta, replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.root
	level, rest, more := strings.Cut(filter, "/")
	for ; more || level != "#"; level, rest, more = strings.Cut(rest, "/") {
		n = n.grow(seed, level)
		if !more {
			break
		}
	}
	at := n.ends(level)
	old := at.Load()
	if old == nil {
		at.Store(&set{one: sub})
		return delta{filters: 1, subs: 1}, false
	}
	out, replaced := old.with(sub)
	if out != *old {
		at.Store(&out)
	}
	if replaced {
		return delta{}, true
	}
	return delta{subs: 1}, false
}

// grow is the node of that level below n, made if it is missing. Each level is a
// string of its own, so that no node keeps the rest of a long filter alive.
func (n *node) grow(seed maphash.Seed, level string) *node {
	if level == "+" {
		next := n.plus.Load()
		if next == nil {
			next = &node{}
			n.plus.Store(next)
		}
		return next
	}
	tag := tagOf(seed, level)
	_, next := n.find(tag, level)
	if next == nil {
		next = &node{level: strings.Clone(level)}
		n.kids.put(-1, kid{next, tag})
	}
	return next
}

// step is one edge of the trie on the way down.
type step struct {
	parent, child *node
	tag           uint32 // of child's level, unless it is parent's '+'
}

func (s *wildShard) unsubscribe(seed maphash.Seed, filter string, ref Ref) (change delta, existed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var onStack [16]step
	path := onStack[:0]
	n := &s.root
	level, rest, more := strings.Cut(filter, "/")
	for ; more || level != "#"; level, rest, more = strings.Cut(rest, "/") {
		st := step{parent: n}
		if level == "+" {
			st.child = n.plus.Load()
		} else {
			st.tag = tagOf(seed, level)
			_, st.child = n.find(st.tag, level)
		}
		if st.child == nil {
			return delta{}, false
		}
		path = append(path, st)
		n = st.child
		if !more {
			break
		}
	}
	at := n.ends(level)
	old := at.Load()
	if old == nil {
		return delta{}, false
	}
	out, left, existed := old.without(ref)
	switch {
	case !existed:
		return delta{}, false
	case !left:
		at.Store(nil)
		prune(path)
		return delta{filters: -1, subs: -1}, true
	case out != *old:
		next := out // so that out is on the stack where nothing of it is kept
		at.Store(&next)
	}
	return delta{subs: -1}, true
}

// prune takes the nodes that have become empty out of the trie, from the last one
// up (A042).
func prune(path []step) {
	for i := len(path) - 1; i >= 0 && path[i].child.empty(); i-- {
		st := path[i]
		if st.parent.plus.Load() == st.child {
			st.parent.plus.Store(nil)
			continue
		}
		at, _ := st.parent.find(st.tag, st.child.level)
		st.parent.kids.remove(st.tag, at)
	}
}
