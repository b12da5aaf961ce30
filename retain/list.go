package retain

import "slices"

// blockMax is how many elements a block holds. With it a million messages are
// about 10,000 blocks, and a change moves at most two kilobytes inside one.
const blockMax = 128

// blockStep is how much room a block grows by. What a block has room for and does not
// hold is memory of every retained message: doubling, as append does, would waste a third.
const blockStep = 16

// list is elements in the order of their keys, in blocks. Two neighbouring blocks
// together are always more than a quarter full, so that what is removed gives its
// memory back. It is not safe for concurrent use.
//
// What makes a search dear among a million messages is not comparing but reaching
// memory that is in no cache. So each block has a low key beside those of its
// neighbours, and only the last steps of a search look at elements.
type list[E, K any] struct {
	cmp    func(e E, key K) int
	cmpLow func(low, key K) int
	lowOf  func(e E) K // the key of e, as a copy

	blocks []block[E, K]
	n      int // elements in all of them
}

type block[E, K any] struct {
	low   K   // not greater than the elements here, greater than all before; means nothing in the first block
	items []E // never empty
}

// place is a position in a list: an element, the end of a block, or the end of the
// list. A change to the list makes it void.
type place struct{ block, i int }

// at is the element at p, or the first of the next block if p is the end of one;
// here is where it is. ok is false at the end of the list.
func (l *list[E, K]) at(p place) (e E, here place, ok bool) {
	if p.block < len(l.blocks) && p.i == len(l.blocks[p.block].items) {
		p = place{p.block + 1, 0}
	}
	if p.block >= len(l.blocks) {
		return e, p, false
	}
	return l.blocks[p.block].items[p.i], p, true
}

// blockOf is the block that key belongs to; 0 if there is none.
func (l *list[E, K]) blockOf(key K) int { return l.blockIn(0, len(l.blocks), key) }

// blockIn is blockOf where it is known to be at or behind lo and before hi.
func (l *list[E, K]) blockIn(lo, hi int, key K) int {
	for lo+1 < hi {
		if mid := (lo + hi) / 2; l.cmpLow(l.blocks[mid].low, key) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// within is the place of the first element of block b that is not less than key,
// or the end of the block.
func (l *list[E, K]) within(b int, key K) place {
	if b >= len(l.blocks) {
		return place{b, 0}
	}
	items := l.blocks[b].items
	lo, hi := 0, len(items)
	for lo < hi {
		if mid := (lo + hi) / 2; l.cmp(items[mid], key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return place{b, lo}
}

// seek is the place of the first element that is not less than key, in the block
// where key belongs.
func (l *list[E, K]) seek(key K) place { return l.within(l.blockOf(key), key) }

// seekFrom is seek where key is known to be greater than the element at p. It is
// cheap if the place is close behind p.
func (l *list[E, K]) seekFrom(p place, key K) place {
	lo, hi := p.block, len(l.blocks)
	for step := 1; lo+step < hi; step *= 2 {
		if l.cmpLow(l.blocks[lo+step].low, key) > 0 {
			hi = lo + step
			break
		}
		lo += step
	}
	return l.within(l.blockIn(lo, hi, key), key)
}

// insert puts e at p, which seek answered for its key.
func (l *list[E, K]) insert(p place, e E) {
	l.n++
	if len(l.blocks) == 0 {
		l.blocks = []block[E, K]{{l.lowOf(e), []E{e}}}
		return
	}
	items := l.blocks[p.block].items
	if len(items) < blockMax {
		l.blocks[p.block].items = slices.Insert(roomy(items), p.i, e)
		return
	}
	if p.block == len(l.blocks)-1 && p.i == len(items) { // what arrives in order fills its blocks
		l.blocks = append(l.blocks, block[E, K]{l.lowOf(e), []E{e}})
		return
	}
	const half = blockMax / 2
	right := fitted(items[half:])
	l.blocks[p.block].items = fitted(items[:half])
	l.blocks = slices.Insert(l.blocks, p.block+1, block[E, K]{l.lowOf(right[0]), right})
	if p.i > half {
		p = place{p.block + 1, p.i - half}
	}
	l.blocks[p.block].items = slices.Insert(l.blocks[p.block].items, p.i, e)
}

// remove takes the element at p out.
func (l *list[E, K]) remove(p place) {
	l.n--
	b := &l.blocks[p.block]
	if b.items = slices.Delete(b.items, p.i, p.i+1); cap(b.items) >= len(b.items)+2*blockStep {
		b.items = fitted(b.items)
	}
	switch {
	case l.n == 0:
		l.blocks = nil
	case len(b.items) == 0:
		l.blocks = slices.Delete(l.blocks, p.block, p.block+1)
	}
	l.merge(p.block)
	l.merge(p.block - 1)
}

// merge joins block i with the one behind it if half a block holds both.
func (l *list[E, K]) merge(i int) {
	if i < 0 || i+1 >= len(l.blocks) || len(l.blocks[i].items)+len(l.blocks[i+1].items) > blockMax/2 {
		return
	}
	l.blocks[i].items = fitted(l.blocks[i].items, l.blocks[i+1].items...)
	l.blocks = slices.Delete(l.blocks, i+1, i+2)
}

// fitted is a copy of items, and of more behind them, with room for a step at most, and for one at least.
func fitted[E any](items []E, more ...E) []E {
	n := (len(items)+len(more))/blockStep*blockStep + blockStep
	return append(append(make([]E, 0, n), items...), more...)
}

// roomy is items with room for one more.
func roomy[E any](items []E) []E {
	if len(items) < cap(items) {
		return items
	}
	return fitted(items)
}
