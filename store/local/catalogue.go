package local

import (
	"sort"
	"sync"

	"github.com/redoubtmq/redoubt/store"
)

// catalogue is what readers know of the segments: only what is durable.
type catalogue struct {
	mu      sync.RWMutex // guards everything below
	segs    []*segment   // by number; the last may still grow
	missing []*store.MissingError
	last    store.Seq // newest durable record; what it says at the start if there is none
}

// bounds is Log.Bounds.
func (c *catalogue) bounds() (first, last store.Seq) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.firstLocked(), c.last
}

func (c *catalogue) firstLocked() store.Seq {
	if len(c.segs) == 0 {
		return 1
	}
	return c.segs[0].follows + 1
}

// add begins a new segment and answers the one before it, if any.
func (c *catalogue) add(s *segment) (before *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.segs); n > 0 {
		before = c.segs[n-1]
	}
	c.segs = append(c.segs, s)
	return before
}

// remove takes an empty segment out.
func (c *catalogue) remove(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.segs {
		if c.segs[i] == s {
			c.segs = append(c.segs[:i:i], c.segs[i+1:]...)
			return
		}
	}
}

// grow makes a write that became durable visible: n bytes at the end of s, the
// records first to last.
func (c *catalogue) grow(s *segment, n int64, first, last store.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.note(first, s.size)
	s.size += n
	s.last, c.last = last, last
}

// trim forgets whole segments whose records are all below below, and answers
// their files. The newest stays: it remembers the numbers.
func (c *catalogue) trim(below store.Seq) (files []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n+1 < len(c.segs) && c.segs[n+1].follows < below {
		files = append(files, c.segs[n].name)
		n++
	}
	c.segs = append(c.segs[:0:0], c.segs[n:]...)
	first, m := c.firstLocked(), 0
	for m < len(c.missing) && c.missing[m].Range.Last < first {
		m++
	}
	c.missing = c.missing[m:]
	return files
}

// reach is where a reader goes on.
type reach struct {
	seg  segment   // a copy, without its index; without a name if no record is there
	off  int64     // where a frame begins that is not after the wanted record
	stop store.Seq // the reader stops before this number, which is missing; 0 if there is none
}

// find answers where record from is to be read, or why it never will be.
func (c *catalogue) find(from store.Seq) (r reach, err error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if from < c.firstLocked() {
		return r, store.ErrTrimmed
	}
	m := sort.Search(len(c.missing), func(i int) bool { return c.missing[i].Range.Last >= from })
	if m < len(c.missing) {
		e := c.missing[m]
		if e.Range.First <= from {
			return r, &store.MissingError{Range: store.Range{First: from, Last: e.Range.Last}, Where: e.Where}
		}
		r.stop = e.Range.First
	}
	i := max(0, sort.Search(len(c.segs), func(i int) bool { return c.segs[i].first > from })-1)
	for i < len(c.segs) && (c.segs[i].empty() || c.segs[i].last < from) { // between two segments: numbers never given out
		i++
	}
	if i == len(c.segs) { // what is left is missing, or nothing
		return r, nil
	}
	r.seg, r.off = *c.segs[i], c.segs[i].seek(from)
	r.seg.index = nil
	return r, nil
}
