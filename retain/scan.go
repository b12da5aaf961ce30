package retain

import (
	"context"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Everything is the filter of Scan and Clear that matches every topic name, those
// that begin with '$' as well.
const Everything = ""

// Bytes is the cursor for somebody who keeps it elsewhere; CursorAt makes one of
// it. It is a little longer than a topic name at most, and empty at the start.
func (c *Cursor) Bytes() []byte {
	if !c.started {
		return nil
	}
	return c.key
}

// CursorAt is the cursor whose Bytes are b. Any b is a cursor: one that nobody
// wrote leads somewhere into the list.
func CursorAt(b []byte) Cursor { return Cursor{key: b, started: len(b) > 0} }

// Scan is Walk for an operator, who may also ask for Everything. Where not everything is
// in memory it reads the disk, and answers that it could not.
func (s *Store) Scan(now time.Time, filter string, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) (done bool, err error) {
	if cur.done {
		return true, nil
	}
	s.mu.RLock()
	if s.complete {
		defer s.mu.RUnlock()
		return s.scan(now, filter, cur, max, fn), nil
	}
	s.mu.RUnlock()
	p, err := s.Read(now, filter, *cur, max)
	if err != nil {
		return false, err
	}
	defer p.Release()
	for _, f := range p.items { // as of a moment; whoever looks at a list gets no more
		if !fn(f) {
			return false, nil
		}
		cur.key, cur.started = after(cur.key[:0], f.Topic()), true
	}
	if p.over {
		return cur.finish(), nil
	}
	*cur = p.end
	return false, nil
}

// scan is Scan in memory, for who holds mu.
func (s *Store) scan(now time.Time, filter string, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) (done bool) {
	if filter != Everything && topic.HasWildcard(filter) {
		return s.walk(now, filter, cur, max, fn)
	}
	if filter != Everything {
		return s.walkOne(now, filter, cur, fn)
	}
	cur.started = true
	p := s.topics.seek(cur.key)
	for visited := 0; ; visited++ {
		e, here, ok := s.topics.at(p)
		switch {
		case !ok:
			return cur.finish()
		case visited > 0 && visited >= max:
			return false
		case !expired(e.f, now) && !fn(e.f):
			return false
		}
		cur.key = after(cur.key[:0], e.f.Topic())
		p = place{here.block, here.i + 1}
	}
}

// Find collects what filter matches, from cur on, and moves it: Scan for who removes
// messages afterwards. The frames are the caller's.
func (s *Store) Find(now time.Time, filter string, cur *Cursor, max int) (found []*mqtt.Frame, done bool, err error) {
	done, err = s.Scan(now, filter, cur, max, func(f *mqtt.Frame) bool {
		found = append(found, f.Hold())
		return true
	})
	return found, done, err
}

// Clear removes the messages that filter matches, from cur on, and moves it. Like
// Walk it looks at no more than max messages and tells whether it is over. Nobody
// who subscribes is told: subscribers have what was live, and later ones find
// nothing. A message that took the place of one while this was under way stays.
// In a store with Rows it removes what no row has; of the others the log must be told.
func (s *Store) Clear(_ context.Context, now time.Time, filter string, cur *Cursor, max int) (removed int, done bool, err error) {
	found, done, err := s.Find(now, filter, cur, max)
	for _, f := range found {
		if s.Drop(f) {
			removed++
		}
		f.Release()
	}
	return removed, done, err
}

// Drop takes a message out of the store that no row has, if it is there.
func (s *Store) Drop(f *mqtt.Frame) bool {
	if s.opt.Rows != nil && !Momentary(f) || !s.drop(f) {
		return false
	}
	f.Release() // the store's
	return true
}

// drop takes f out of the store, if it is there; the store's reference is the
// caller's then. The version does not change: there is nothing live that a
// subscriber would have to tell from it.
func (s *Store) drop(f *mqtt.Frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, there := s.topics.find(f.Topic(), s.topics.tagOf(f.Topic()))
	if there != f {
		return false
	}
	s.removeAt(p, f)
	return true
}
