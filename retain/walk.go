package retain

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Cursor is how far a walk has come. The zero value is the start. It belongs to
// one walk with one filter and holds no message, so that it may be kept or
// forgotten at will.
type Cursor struct {
	// key is a name that is not greater than any topic still to come. A name and no
	// position: the store may change between two portions.
	key     []byte
	started bool
	done    bool
}

// Walk calls fn for the retained messages that filter matches, in topic order,
// from cur on, and moves cur. It looks at no more than max messages, at least one,
// whether they match or not, and tells whether the walk is over; if it is not, the
// caller goes on with the same cursor when it likes.
//
// A message that is there from the first call to the last is visited exactly once;
// one that is put, replaced or removed meanwhile is visited as it is when the walk
// comes by. Expired messages are not visited [MQTT-3.3.2-5]. filter must be valid,
// without "$share/group/".
//
// If fn answers false the walk stops before that message, which comes again. fn
// runs under the lock of the store: it must be quick and must not call the store.
// f is valid while fn runs, and longer if fn holds it.
func (s *Store) Walk(now time.Time, filter string, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) (done bool) {
	if cur.done || filter == "" {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.walk(now, filter, cur, max, fn)
}

// Lacks tells whether it is sure, at one look, that nothing is retained that filter matches: a walk would end
// without a message. It allocates nothing for a filter of the usual length.
func (s *Store) Lacks(filter string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.complete || filter == "" {
		return false
	}
	var room [128]byte
	if !topic.HasWildcard(filter) {
		name := append(room[:0], filter...)
		_, f := s.topics.find(name, s.topics.tagOf(name))
		return f == nil
	}
	e, _, ok := s.topics.at(s.topics.seek(least(room[:0], filter)))
	switch {
	case !ok:
		return true
	case topic.Match(filter, e.f.Topic()):
		return false
	}
	var next [128]byte
	_, more := skip(next[:0], filter, e.f.Topic())
	return !more
}

// walk is Walk for who holds mu.
func (s *Store) walk(now time.Time, filter string, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) (done bool) {
	if !topic.HasWildcard(filter) {
		return s.walkOne(now, filter, cur, fn)
	}
	if !cur.started {
		cur.started = true
		cur.key = least(cur.key[:0], filter)
	}
	p := s.topics.seek(cur.key)
	for visited := 0; ; visited++ {
		e, here, ok := s.topics.at(p)
		switch {
		case !ok:
			return cur.finish()
		case visited > 0 && visited >= max:
			return false
		case topic.Match(filter, e.f.Topic()):
			if !expired(e.f, now) && !fn(e.f) {
				return false
			}
			cur.key = after(cur.key[:0], e.f.Topic())
			p = place{here.block, here.i + 1}
		default:
			if cur.key, ok = skip(cur.key[:0], filter, e.f.Topic()); !ok {
				return cur.finish()
			}
			p = s.topics.seekFrom(here, cur.key)
		}
	}
}

// walkOne is Walk for a filter without wildcards: one look.
func (s *Store) walkOne(now time.Time, filter string, cur *Cursor, fn func(f *mqtt.Frame) bool) (done bool) {
	cur.key = append(cur.key[:0], filter...)
	p, f := s.topics.find(cur.key, s.topics.tagOf(cur.key))
	if f != nil {
		s.touch(p)
	}
	if f != nil && !expired(f, now) && !fn(f) {
		return false
	}
	return cur.finish()
}

// Progress is how a step of a walk ended.
type Progress uint8

// The ways in which it can.
const (
	Over    Progress = iota // there is nothing more
	More                    // it has looked at as many as it was to
	Stopped                 // fn answered false
	Away                    // what comes next is to be read first
)

// Step is Walk for a store that may not have everything in memory. p is what was read
// for this walk, with Read from cur on, or nil; when it has been used it is given back,
// and nil then. Where nothing was read and memory does not have what comes next, the
// answer is Away.
func (s *Store) Step(now time.Time, filter string, cur *Cursor, p **Portion, max int, fn func(f *mqtt.Frame) bool) Progress {
	if cur.done || filter == "" {
		(*p).Release()
		*p = nil
		return Over
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q := *p; q != nil && !s.complete && s.gone <= q.asOf {
		prog := q.each(now, cur, max, fn)
		if prog == Over || prog == Away {
			q.Release()
			*p = nil
		}
		return prog
	}
	(*p).Release()
	*p = nil
	if !s.complete {
		name := []byte(filter)
		if topic.HasWildcard(filter) {
			return Away
		}
		_, buried := s.stones[filter]
		if _, f := s.topics.find(name, s.topics.tagOf(name)); f == nil && !buried {
			return Away
		}
	}
	stopped := false
	done := s.walk(now, filter, cur, max, func(f *mqtt.Frame) bool {
		stopped = !fn(f)
		return !stopped
	})
	switch {
	case done:
		return Over
	case stopped:
		return Stopped
	}
	return More
}

// finish ends the walk and gives its memory back.
func (c *Cursor) finish() bool {
	*c = Cursor{done: true}
	return true
}
