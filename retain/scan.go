package retain

import (
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

// Scan is Walk for an operator, who may also ask for Everything.
func (s *Store) Scan(now time.Time, filter string, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) (done bool) {
	if filter != Everything && topic.HasWildcard(filter) {
		return s.Walk(now, filter, cur, max, fn)
	}
	if cur.done {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
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

// Clear removes the messages that filter matches, from cur on, and moves it. Like
// Walk it looks at no more than max messages and tells whether it is over. Nobody
// who subscribes is told: subscribers have what was live, and later ones find
// nothing. A message that took the place of one while this was under way stays.
func (s *Store) Clear(now time.Time, filter string, cur *Cursor, max int) (removed int, done bool) {
	found := make([]*mqtt.Frame, 0, min(max, 64))
	done = s.Scan(now, filter, cur, max, func(f *mqtt.Frame) bool {
		found = append(found, f.Hold())
		return true
	})
	for _, f := range found {
		if s.drop(f) {
			removed++
			f.Release() // the store's
		}
		f.Release()
	}
	return removed, done
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
