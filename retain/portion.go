package retain

import (
	"bytes"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Rows are the retained messages on disk, which follow what is Restored at a little
// distance.
type Rows interface {
	// Reached is the version up to which the rows are complete. It waits for nothing.
	Reached() uint64
	// Count is how many messages the rows have, and the bytes of topics, properties and
	// payloads, about. It waits for nothing.
	Count() (messages int, bytes int64)
	// Walk calls fn for the rows from a topic name on, in the order of compare, as of a
	// moment at which they had reached atLeast, for which it waits; and answers what they
	// had reached. fn answers from where to go on, nil for the next, or that it is done.
	Walk(atLeast uint64, from []byte, fn func(Row) (next []byte, done bool, err error)) (asOf uint64, err error)
}

// Row is one of them, valid while Walk is there.
type Row interface {
	Name() []byte
	// Frame is the message with its version, and one reference, the caller's.
	Frame() (*mqtt.Frame, error)
}

// Portion is what was read of the rows for a walk, with what memory had instead. It
// belongs to one goroutine at a time and is given back with Release. While it is kept it
// stands in nobody's way: what changes meanwhile is noticed when it is used.
type Portion struct {
	s     *Store
	items []*mqtt.Frame // in topic order
	asOf  uint64        // no change after it is in them
	end   Cursor        // of the walk behind them
	over  bool          // there is nothing behind them
	bytes int64         // of what was read
}

// bounds are how much one portion has at most: messages, at least one; their bytes, or
// one message; and rows that are looked at.
type bounds struct {
	messages int
	bytes    int64
	visits   int
}

// The bounds of a portion for a subscriber. portionBytes is of small messages, so that a
// thousand subscribers who are slow hold no more than 64 MiB, and of those that hold
// together more than the quarter of what memory may have, each holds none.
const (
	portionBytes = 64 << 10
	portionLooks = 4096
)

// Read reads a portion of a walk, of at most so many messages: Walk's next ones from cur
// on. It reads the disk and waits for it. What was read for one topic stays in memory.
func (s *Store) Read(now time.Time, filter string, cur Cursor, max int) (*Portion, error) {
	p, err := s.read(now, filter, &cur, bounds{messages: max, bytes: portionBytes, visits: portionLooks})
	if err == nil && filter != Everything && !topic.HasWildcard(filter) {
		s.keep(filter, p)
	}
	return p, err
}

// readTries is how often a portion is read again because something left memory
// meanwhile that it would have to know.
const readTries = 8

func (s *Store) read(now time.Time, filter string, cur *Cursor, b bounds) (*Portion, error) {
	for range readTries {
		p := &Portion{s: s}
		rows, from, err := p.load(now, filter, cur, b)
		ok := err == nil && p.merge(now, filter, from, rows, b)
		if !ok {
			for _, f := range rows {
				f.Release()
			}
		}
		if ok || err != nil {
			return p, err
		}
	}
	return &Portion{s: s, end: *cur}, nil // nothing of it yet
}

// load reads the rows.
func (p *Portion) load(now time.Time, filter string, cur *Cursor, b bounds) (rows []*mqtt.Frame, from []byte, err error) {
	s := p.s
	s.mu.RLock()
	atLeast := s.gone
	s.mu.RUnlock()
	exact := filter != Everything && !topic.HasWildcard(filter)
	if from = cur.key; exact || !cur.started {
		from = least(nil, filter)
	}
	p.over = true
	visited, bytes := 0, int64(0)
	var target []byte
	p.asOf, err = s.opt.Rows.Walk(atLeast, from, func(row Row) ([]byte, bool, error) {
		name := row.Name()
		if exact && string(name) != filter {
			return nil, true, nil
		}
		if !exact && visited > 0 && (visited >= b.visits || len(rows) >= b.messages || bytes >= b.bytes) {
			p.over, p.end = false, Cursor{key: append([]byte(nil), name...), started: true}
			return nil, true, nil
		}
		visited++
		if filter != Everything && !topic.Match(filter, name) {
			var more bool
			target, more = skip(target[:0], filter, name)
			return target, !more, nil
		}
		f, err := row.Frame()
		switch {
		case err != nil:
			return nil, true, err
		case expired(f, now):
			f.Release()
		default:
			rows, bytes = append(rows, f), bytes+int64(f.Size())
		}
		return nil, false, nil
	})
	return rows, from, err
}

// merge puts what memory has into the place of what was read: of the same topics, and of
// those that have no row yet. It answers false if memory has lost what it would have to
// know for that.
func (p *Portion) merge(now time.Time, filter string, from []byte, rows []*mqtt.Frame, b bounds) bool {
	s := p.s
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.gone > p.asOf {
		return false
	}
	at := s.topics.seek(from)
	e, here, ok := s.nextMatch(filter, at, p)
	for len(rows) > 0 || ok {
		c := 1
		if len(rows) > 0 {
			c = -1
			if ok {
				c = compare(rows[0].Topic(), e.f.Topic())
			}
		}
		switch {
		case c < 0:
			if _, buried := s.stones[string(rows[0].Topic())]; buried || s.complete { // complete: memory would have it
				rows[0].Release()
			} else {
				p.items, p.bytes = append(p.items, rows[0]), p.bytes+int64(rows[0].Size())
			}
			rows = rows[1:]
			continue
		case c == 0:
			rows[0].Release()
			rows = rows[1:]
		}
		if !expired(e.f, now) {
			p.items = append(p.items, e.f.Hold())
		}
		e, here, ok = s.nextMatch(filter, place{here.block, here.i + 1}, p)
	}
	p.cut(b)
	s.held.Add(p.bytes)
	return true
}

// nextMatch is the next message in memory from a place on that filter matches, before the
// end of the portion.
func (s *Store) nextMatch(filter string, at place, p *Portion) (e entry, here place, ok bool) {
	var target []byte
	for {
		if e, here, ok = s.topics.at(at); !ok || !p.over && compare(e.f.Topic(), p.end.key) >= 0 {
			return e, here, false
		}
		if filter == Everything || topic.Match(filter, e.f.Topic()) {
			return e, here, true
		}
		if !topic.HasWildcard(filter) {
			return e, here, false
		}
		var more bool
		if target, more = skip(target[:0], filter, e.f.Topic()); !more {
			return e, here, false
		}
		at = s.topics.seekFrom(here, target)
	}
}

// cut lets go of what memory had over the bounds.
func (p *Portion) cut(b bounds) {
	most := 2 * max(1, b.messages)
	if len(p.items) <= most {
		return
	}
	first := p.items[most]
	p.over, p.end = false, Cursor{key: bytes.Clone(first.Topic()), started: true}
	for _, f := range p.items[most:] {
		f.Release()
	}
	p.items = slices.Clip(p.items[:most])
}

// Release gives a portion back. A nil portion is none.
func (p *Portion) Release() {
	if p == nil {
		return
	}
	for _, f := range p.items {
		f.Release()
	}
	p.s.held.Add(-p.bytes)
	p.items, p.bytes = nil, 0
}

// Bytes is what the portion holds that memory would not hold without it.
func (p *Portion) Bytes() int64 { return p.bytes }

// Heavy tells whether portions hold so much of what memory may have that one which is
// not used at once should be given back and read again.
func (s *Store) Heavy() bool { return s.opt.MemoryMax >= 0 && s.held.Load() > s.opt.MemoryMax/4 }

// each calls fn for the messages of a portion that are still what is retained, and moves
// cur. Whatever took the place of one has come since the portion was read.
func (p *Portion) each(now time.Time, cur *Cursor, max int, fn func(f *mqtt.Frame) bool) Progress {
	s := p.s
	for visited := 0; len(p.items) > 0; visited++ {
		if visited > 0 && visited >= max {
			return More
		}
		f := p.items[0]
		name := f.Topic()
		_, there := s.topics.find(name, s.topics.tagOf(name))
		_, buried := s.stones[string(name)]
		current := !buried && (there == nil || there.Version == f.Version)
		if current && !expired(f, now) && !fn(f) {
			return Stopped
		}
		cur.key, cur.started = after(cur.key[:0], name), true
		p.items[0] = nil
		p.items = p.items[1:]
		f.Release()
	}
	if p.over {
		cur.finish()
		return Over
	}
	*cur = Cursor{key: bytes.Clone(p.end.key), started: true}
	return Away
}
