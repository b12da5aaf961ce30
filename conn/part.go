package conn

import (
	"math/bits"
	"sync"
)

// A packet that comes in parts is put together in buffers of these sizes, each twice the one
// before, so that a packet of a megabyte is copied once and not, as append would have it, five
// times. They are used again: made anew for every packet they are some megabytes of garbage
// for each megabyte that somebody sends, and while that is collected the loop has to help, for
// milliseconds in which others wait (D-07). The collector takes those that nobody uses.
const (
	partMin = 8 << 10
	partMax = 2 << 20 // a larger one is for its packet alone
)

var parts [9]sync.Pool // partMin<<i

// partOf is which of parts holds n bytes.
func partOf(n int) int { return bits.Len(uint(n-1) / partMin) }

// partRoom is how large the buffer of a packet of n bytes may be.
func partRoom(n int) int {
	if n > partMax {
		return n
	}
	return partMin << partOf(n)
}

// extend appends b to the part of a packet that had has, which is gone then. whole is how
// large the packet is to be, as far as that is known.
func extend(had, b []byte, whole int) []byte {
	need := len(had) + len(b)
	if need <= cap(had) {
		return append(had, b...)
	}
	var next []byte
	switch room := max(need, min(2*cap(had), whole)); {
	case need <= bufferMin: // most of those that are kept are the half of something small
		return append(had, b...)
	case room > partMax:
		next = make([]byte, 0, room)
	default:
		next = getPart(room)
	}
	next = append(append(next, had...), b...)
	putPart(had)
	return next
}

func getPart(n int) []byte {
	i := partOf(n)
	if h, ok := parts[i].Get().(*[]byte); ok {
		b := *h
		*h = nil
		heads.Put(h)
		return b
	}
	return make([]byte, 0, partMin<<i)
}

// putPart gives a buffer back that nobody looks into any more.
func putPart(b []byte) {
	n := cap(b)
	if n < partMin || n > partMax || n&(n-1) != 0 {
		return
	}
	give(&parts[partOf(n)], b[:0])
}
