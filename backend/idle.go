package backend

import "sync"

// Idle are connections of a driver that nobody uses at the moment. There are never more
// than the Backend has workers, because each of those uses one at a time.
type Idle[C any] struct {
	End func(C) // closes one

	mu     sync.Mutex // guards everything below
	free   []C
	closed bool
}

// Take is the one that was used last, so that those which are not needed grow old.
func (i *Idle[C]) Take() (c C, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.free) == 0 {
		return c, false
	}
	last := len(i.free) - 1
	c = i.free[last]
	var none C
	i.free[last] = none
	i.free = i.free[:last]
	return c, true
}

// Put gives one back; after Close it is ended.
func (i *Idle[C]) Put(c C) {
	i.mu.Lock()
	if !i.closed {
		i.free = append(i.free, c)
		i.mu.Unlock()
		return
	}
	i.mu.Unlock()
	i.End(c)
}

// Clear ends all: when one turns out to be dead, so are mostly the others.
func (i *Idle[C]) Clear() {
	i.mu.Lock()
	free := i.free
	i.free = nil
	i.mu.Unlock()
	for _, c := range free {
		i.End(c)
	}
}

// Close is Clear, and ends those that are given back later.
func (i *Idle[C]) Close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.Clear()
}
