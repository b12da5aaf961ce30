package local

import (
	"sort"
	"sync"

	"github.com/redoubtmq/redoubt/store"
)

// ringBytesFirst is what the ring begins with, in bytes: a broker that stores
// little does not pay for one that stores much.
const ringBytesFirst = 64 << 10

// ring holds the frames of the last writes, so that readers who keep up never
// touch the disk. Frames lie in it as they lie in the file.
type ring struct {
	bytesMax int

	mu      sync.Mutex // guards everything below
	buf     []byte     // the byte at position p is buf[p%len(buf)]
	room    int        // how large buf may become, as long as nobody falls behind
	end     uint64     // position after the newest frame; only ever grows
	groups  []ringGroup
	next    store.Seq     // after the newest record: readers at or past it wait
	changed chan struct{} // closed by the next push; nil while nobody waits
}

// ringGroup is the frames of one write.
type ringGroup struct {
	first store.Seq
	at    uint64
}

// push adds the frames of one write, whose records begin with first.
func (r *ring) push(frames []byte, first, next store.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(frames) > r.bytesMax {
		r.groups, r.end = r.groups[:0], 0 // readers find it on the disk
	} else {
		r.fit(len(frames))
		r.groups = append(r.groups, ringGroup{first, r.end})
		n := copy(r.buf[r.end%uint64(len(r.buf)):], frames)
		copy(r.buf, frames[n:])
		r.end += uint64(len(frames))
	}
	r.next = next
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// fit makes room for n bytes: it grows as far as readers need, and then forgets the
// oldest.
func (r *ring) fit(n int) {
	room := max(n, r.room)
	used := 0
	if len(r.groups) > 0 {
		used = int(r.end - r.groups[0].at) //nolint:gosec // at most bytesMax
	}
	size := max(len(r.buf), min(ringBytesFirst, r.bytesMax))
	for size < used+n && size < room {
		size = min(2*size, r.bytesMax)
	}
	if size > len(r.buf) {
		grown := make([]byte, size)
		shift := uint64(0)
		if used > 0 {
			shift = r.groups[0].at
			r.read(grown[:used], shift)
		}
		for i := range r.groups {
			r.groups[i].at -= shift
		}
		r.buf, r.end = grown, uint64(used)
	}
	drop := 0
	for drop < len(r.groups) && r.end-r.groups[drop].at+uint64(n) > uint64(len(r.buf)) {
		drop++
	}
	r.groups = append(r.groups[:0], r.groups[drop:]...)
}

// tooShort says that a reader who kept up is to read from, which has fallen out: from now on there is room
// for twice as much, up to bytesMax. Where all keep up, what they have read is of no use, and a
// log that is written much and read at once takes no more than one that is hardly written.
func (r *ring) tooShort(from store.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.groups) > 0 && from >= r.groups[0].first { // it is there: it came when the reader had looked
		return
	}
	r.room = min(2*max(len(r.buf), ringBytesFirst), r.bytesMax)
}

// read copies from a position on; the bytes are known to be there.
func (r *ring) read(dst []byte, at uint64) {
	n := copy(dst, r.buf[at%uint64(len(r.buf)):])
	copy(dst[n:], r.buf)
}

// copyOut appends to dst the frames of whole writes, the one with from first,
// until dst has about limit bytes. ok is false if from is no longer, or not yet, in the ring.
func (r *ring) copyOut(dst []byte, from store.Seq, limit int) (out []byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.groups) == 0 || from < r.groups[0].first || from >= r.next {
		return dst, false
	}
	i := sort.Search(len(r.groups), func(i int) bool { return r.groups[i].first > from }) - 1
	at, end := r.groups[i].at, r.end
	for j := i + 1; j < len(r.groups); j++ {
		if r.groups[j].at-at >= uint64(limit) { //nolint:gosec // positive
			end = r.groups[j].at
			break
		}
	}
	n := int(end - at) //nolint:gosec // at most bytesMax
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	r.read(dst, at)
	return dst, true
}

// shown is the number after the newest record that readers may see.
func (r *ring) shown() store.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// wait answers a channel that is closed when there is more; nil if there is
// already something at or after from.
func (r *ring) wait(from store.Seq) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from < r.next {
		return nil
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}
