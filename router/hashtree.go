package router

import "sync/atomic"

const (
	forkBits  = 3             // bits of the hash that one fork consumes
	forkWidth = 1 << forkBits // slots of a fork
	leafMax   = 16            // elements of a leaf before it becomes a fork
	leafMin   = leafMax / 4   // elements of a fork before it becomes a leaf again
	forksMax  = 30 / forkBits // forks on one path; beyond it only equal hashes are left
)

// hashed is what a hashTree can hold. The hash decides the place and must spread
// well in its low bits; telling equal hashes apart is the caller's business.
type hashed interface{ hash() uint32 }

// hashTree is a hash table for one writer and many readers. Readers take no lock:
// everything they can reach through an atomic pointer is finished and, but for the
// slots of forks, never written again. The writer copies one short leaf per change
// and never the whole table, so a change costs the same at ten elements and at ten
// million, and nobody waits for a table that grows. Methods that write need the
// lock of whoever owns the tree.
//
// The zero value is empty and costs one pointer.
type hashTree[E hashed] struct {
	root atomic.Pointer[twig[E]]
}

// twig is a leaf or a fork. It is immutable: a change puts another in its place.
type twig[E hashed] struct {
	leaf []E // in no order; never empty unless fork is set
	fork *fork[E]
}

type fork[E hashed] struct {
	n     int // elements below; the writer's
	slots [forkWidth]atomic.Pointer[twig[E]]
}

// leafOf is where an element with hash h is, if it is anywhere. The caller must
// not write to it.
func (t *hashTree[E]) leafOf(h uint32) []E {
	tw := t.root.Load()
	for tw != nil && tw.fork != nil {
		tw = tw.fork.slots[h%forkWidth].Load()
		h >>= forkBits
	}
	if tw == nil {
		return nil
	}
	return tw.leaf
}

func (t *hashTree[E]) empty() bool { return t.root.Load() == nil }

// appendTo appends every element, in no order. An element added or removed
// meanwhile may be among them or not; all others are there exactly once.
func (t *hashTree[E]) appendTo(dst []E) []E {
	return t.root.Load().appendTo(dst)
}

// appendTo recurses, at most forksMax deep whatever clients do.
func (tw *twig[E]) appendTo(dst []E) []E {
	if tw == nil {
		return dst
	}
	if tw.fork == nil {
		return append(dst, tw.leaf...)
	}
	for i := range tw.fork.slots {
		dst = tw.fork.slots[i].Load().appendTo(dst)
	}
	return dst
}

// put writes e over element i of leafOf(e.hash()), or adds it if i is negative.
func (t *hashTree[E]) put(i int, e E) {
	h := e.hash()
	at, forks := &t.root, 0
	old := at.Load()
	for old != nil && old.fork != nil {
		if i < 0 {
			old.fork.n++
		}
		at = &old.fork.slots[h%forkWidth]
		h >>= forkBits
		forks++
		old = at.Load()
	}
	var leaf []E
	if old != nil {
		leaf = old.leaf
	}
	// The capacity is exact: what append would add is wasted for ever.
	if i >= 0 {
		next := make([]E, len(leaf))
		copy(next, leaf)
		next[i] = e
		at.Store(&twig[E]{leaf: next})
		return
	}
	next := make([]E, len(leaf)+1)
	copy(next, leaf)
	next[len(leaf)] = e
	if len(next) > leafMax && forks < forksMax {
		at.Store(&twig[E]{fork: newFork(next, forks)})
		return
	}
	at.Store(&twig[E]{leaf: next})
}

// putAll adds elements that are not there yet, in any order. It is for who has very many: put
// copies a leaf for each, and this one once for all that it gets. items is scratch afterwards.
func (t *hashTree[E]) putAll(items []E) { putBelow(&t.root, items, 0) }

// putBelow recurses, at most forksMax deep whatever clients do; there are so many forks above.
func putBelow[E hashed](at *atomic.Pointer[twig[E]], items []E, above int) {
	if len(items) == 0 {
		return
	}
	old := at.Load()
	if old == nil || old.fork == nil {
		var leaf []E
		if old != nil {
			leaf = old.leaf
		}
		if len(leaf)+len(items) <= leafMax || above >= forksMax {
			next := make([]E, len(leaf)+len(items))
			copy(next[copy(next, leaf):], items)
			at.Store(&twig[E]{leaf: next})
			return
		}
		// Nobody sees it before it is whole.
		f := &fork[E]{n: len(leaf) + len(items)}
		f.spread(append([]E(nil), leaf...), above)
		f.spread(items, above)
		at.Store(&twig[E]{fork: f})
		return
	}
	old.fork.n += len(items)
	old.fork.spread(items, above)
}

// spread puts items below the slots of f, and sorts them by slot for it.
func (f *fork[E]) spread(items []E, above int) {
	slotOf := func(e *E) uint32 { return (*e).hash() >> (forkBits * above) % forkWidth }
	var next, end [forkWidth]int
	for i := range items {
		end[slotOf(&items[i])]++
	}
	from := 0
	for s := range end {
		next[s] = from
		from += end[s]
		end[s] = from
	}
	for s := range next {
		for next[s] < end[s] {
			to := slotOf(&items[next[s]])
			if int(to) == s {
				next[s]++
				continue
			}
			items[next[s]], items[next[to]] = items[next[to]], items[next[s]]
			next[to]++
		}
	}
	from = 0
	for s := range end {
		putBelow(&f.slots[s], items[from:end[s]], above+1)
		from = end[s]
	}
}

// newFork spreads items over the slots of a fork that has so many forks above it.
func newFork[E hashed](items []E, above int) *fork[E] {
	f := &fork[E]{n: len(items)}
	slotOf := func(e E) uint32 { return e.hash() >> (forkBits * above) % forkWidth }
	var count [forkWidth]int
	for _, e := range items {
		count[slotOf(e)]++
	}
	for s, n := range count {
		if n == 0 {
			continue
		}
		leaf := make([]E, 0, n)
		for _, e := range items {
			if slotOf(e) == uint32(s) {
				leaf = append(leaf, e)
			}
		}
		f.slots[s].Store(&twig[E]{leaf: leaf})
	}
	return f
}

// remove takes element i of leafOf(h) out, and turns the highest fork that has
// become almost empty into a leaf, so that nothing is left of what is gone (A042).
func (t *hashTree[E]) remove(h uint32, i int) {
	at := &t.root
	collapse := (*atomic.Pointer[twig[E]])(nil)
	tw := at.Load()
	for tw.fork != nil {
		tw.fork.n--
		if collapse == nil && tw.fork.n <= leafMin {
			collapse = at
		}
		at = &tw.fork.slots[h%forkWidth]
		h >>= forkBits
		tw = at.Load()
	}
	if len(tw.leaf) == 1 {
		at.Store(nil)
	} else {
		next := make([]E, 0, len(tw.leaf)-1)
		next = append(next, tw.leaf[:i]...)
		next = append(next, tw.leaf[i+1:]...)
		at.Store(&twig[E]{leaf: next})
	}
	if collapse != nil {
		top := collapse.Load()
		collapse.Store(&twig[E]{leaf: top.appendTo(make([]E, 0, top.fork.n))})
	}
}
