package retain

import (
	"slices"

	"github.com/redoubtmq/redoubt/mqtt"
)

// blockMax is how many frames a block holds. With it a million messages are about
// 6,000 blocks: a search costs some twenty comparisons, a change moves a kilobyte
// inside one block, and the room for one message is 8 to 16 bytes.
const blockMax = 256

// list is frames in an order, in blocks. Two neighbouring blocks together are
// always more than a quarter full, so that what is removed gives its memory back.
// It is not safe for concurrent use.
type list struct {
	blocks [][]*mqtt.Frame // none is empty
	n      int             // frames in all of them
}

// place is a position in a list. A change to the list makes it void.
type place struct{ block, i int }

// at is the frame at p, or nil at the end.
func (l *list) at(p place) *mqtt.Frame {
	if p.block == len(l.blocks) {
		return nil
	}
	return l.blocks[p.block][p.i]
}

// next is the place after p, which is not the end.
func (l *list) next(p place) place {
	if p.i++; p.i == len(l.blocks[p.block]) {
		return place{p.block + 1, 0}
	}
	return p
}

// seek is the place of the first frame that is not less, or the end. less must be
// true for a first part of the list and false for the rest.
func (l *list) seek(less func(f *mqtt.Frame) bool) place {
	return l.seekFrom(place{}, less)
}

// seekFrom is seek where all frames before p are known to be less. It is cheap if
// the place is close behind p.
func (l *list) seekFrom(p place, less func(f *mqtt.Frame) bool) place {
	lo, hi := p.block, len(l.blocks)
	for step := 0; lo < hi; { // doubling steps first, then halves
		mid := (lo + hi) / 2
		if step < 16 {
			mid = min(mid, lo+step)
			step = 2*step + 1
		}
		if b := l.blocks[mid]; less(b[len(b)-1]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.blocks) {
		return place{lo, 0}
	}
	b := l.blocks[lo]
	i, j := 0, len(b)-1 // the last one is not less
	for i < j {
		if mid := (i + j) / 2; less(b[mid]) {
			i = mid + 1
		} else {
			j = mid
		}
	}
	return place{lo, i}
}

// insert puts f before the frame at p.
func (l *list) insert(p place, f *mqtt.Frame) {
	l.n++
	if p.block == len(l.blocks) {
		last := len(l.blocks) - 1
		if last < 0 || len(l.blocks[last]) == blockMax {
			l.blocks = append(l.blocks, []*mqtt.Frame{f}) // what arrives in order fills blocks
			return
		}
		p = place{last, len(l.blocks[last])}
	}
	b := l.blocks[p.block]
	if len(b) == blockMax {
		right := append(make([]*mqtt.Frame, 0, blockMax), b[blockMax/2:]...)
		clear(b[blockMax/2:])
		b = b[:blockMax/2]
		l.blocks[p.block] = b
		l.blocks = slices.Insert(l.blocks, p.block+1, right)
		if p.i > len(b) {
			p = place{p.block + 1, p.i - len(b)}
			b = right
		}
	}
	l.blocks[p.block] = slices.Insert(b, p.i, f)
}

// remove takes the frame at p out.
func (l *list) remove(p place) {
	l.n--
	l.blocks[p.block] = slices.Delete(l.blocks[p.block], p.i, p.i+1)
	switch {
	case l.n == 0:
		l.blocks = nil
	case len(l.blocks[p.block]) == 0:
		l.blocks = slices.Delete(l.blocks, p.block, p.block+1)
	}
	l.merge(p.block)
	l.merge(p.block - 1)
}

// merge joins block i with the one behind it if half a block holds both.
func (l *list) merge(i int) {
	if i < 0 || i+1 >= len(l.blocks) || len(l.blocks[i])+len(l.blocks[i+1]) > blockMax/2 {
		return
	}
	l.blocks[i] = append(l.blocks[i], l.blocks[i+1]...)
	l.blocks = slices.Delete(l.blocks, i+1, i+2)
}
