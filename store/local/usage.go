package local

import "github.com/redoubtmq/redoubt/store"

// Usage is how much the log takes on the disk.
type Usage struct {
	Segments    int
	Bytes       int64
	First, Last store.Seq // as Bounds says
}

// Usage answers what the log takes now.
func (l *Log) Usage() Usage {
	c := &l.cat
	c.mu.RLock()
	defer c.mu.RUnlock()
	u := Usage{Segments: len(c.segs), First: c.firstLocked(), Last: c.last}
	for _, s := range c.segs {
		u.Bytes += s.size
	}
	return u
}

// Within answers below which number whole segments would have to go for the log to take
// no more than so many bytes; the newest stays. It is Bounds' first if nothing has to.
func (l *Log) Within(bytes int64) store.Seq {
	c := &l.cat
	c.mu.RLock()
	defer c.mu.RUnlock()
	used := int64(0)
	for _, s := range c.segs {
		used += s.size
	}
	below := c.firstLocked()
	for i := 0; i+1 < len(c.segs) && used > bytes; i++ {
		used -= c.segs[i].size
		below = c.segs[i+1].follows + 1
	}
	return below
}

// Oldest answers below which number records would have to be let go of for the oldest
// segment to go, and its bytes; false if there is only the newest, which stays.
func (l *Log) Oldest() (below store.Seq, bytes int64, ok bool) {
	c := &l.cat
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.segs) < 2 {
		return 0, 0, false
	}
	return c.segs[1].follows + 1, c.segs[0].size, true
}

// Free is how many bytes of the disk this process could still write.
func (l *Log) Free() (uint64, error) { return l.dir.Free() }

// Reserve is how many of them the log leaves to others.
func (l *Log) Reserve() int64 { return l.o.ReserveBytes }
