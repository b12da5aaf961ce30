package view

import (
	"bytes"
	"slices"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// slabSessions are made at once: a start reads very many. All of them stay as long as one of
// them does, so whoever keeps a few copies what he needs.
const slabSessions = 64

// batchSessions is how many Batches answers at once. Two times as many are in memory, and they
// stay in the processor's cache.
const batchSessions = 512

// roomFor is a session and its first subscription, which most have none beside.
type roomFor struct {
	s   Session
	sub [1]Sub
}

// gathering puts sessions together from their rows, which come one after another.
type gathering struct {
	s     *Session // whose rows come; nil: none came
	rooms []roomFor
	at    int        // of rooms: the next that is taken
	again bool       // rooms are used again when the last is taken; otherwise there are new ones
	c     fact.Claim // used again, so that what is the same in all is there once
}

// row takes a row. done is the session before, if this is the first of another.
func (g *gathering) row(sid store.SID, part byte, rest, value []byte) (done *Session, err error) {
	if g.s == nil || g.s.SID != sid {
		done = g.s
		g.s = &g.room().s
		g.s.SID = sid
	}
	if part == partSub && g.s.Subs == nil {
		g.s.Subs = g.rooms[g.at-1].sub[:0]
	}
	return done, g.s.row(part, rest, value, &g.c)
}

// room answers the next one, which is empty.
func (g *gathering) room() *roomFor {
	switch {
	case g.at < len(g.rooms):
	case g.again:
		g.at = 0
	default:
		g.rooms, g.at = make([]roomFor, slabSessions), 0
	}
	r := &g.rooms[g.at]
	g.at++
	if g.again {
		*r = roomFor{}
	}
	return r
}

// early is the sessions that Open came by while it read what it keeps of each: to go through
// their rows takes as long as to understand them. They are as of then until somebody asks, and
// what has changed by then is read again. A nil one collects nothing.
type early struct {
	packed  packed // in the order of their names
	changed map[store.SID]struct{}
}

func (e *early) row(sid *store.SID, part byte, rest, value []byte) {
	if e != nil {
		e.packed.add(sid, part, rest, value)
	}
}

// touch notes that a session changes.
func (e *early) touch(sid *store.SID) {
	if e != nil {
		e.changed[*sid] = struct{}{}
	}
}

// changedPart is the part of all sessions up to which those that have changed are read one by
// one, and changedFew how many at least: each is looked for.
const (
	changedPart = 8
	changedFew  = 64
)

// takeEarly answers what Open came by, and which of it has changed; nil if there is nothing,
// or so little of use that all is better read again.
func (r *rows) takeEarly() (e *early, changed []store.SID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e = r.early
	r.early = nil
	if e == nil || len(e.changed) > max(e.packed.sessions/changedPart, changedFew) {
		return nil, nil
	}
	for sid := range e.changed {
		changed = append(changed, sid)
	}
	slices.SortFunc(changed, func(a, b store.SID) int { return bytes.Compare(a[:], b[:]) })
	return e, changed
}

// Sessions calls fn for every session, in the order of their names. The first call after an Open
// with Options.Sessions is for who begins: while records are applied its sessions are not all as
// of the same one.
func (v *View) Sessions(fn func(*Session) error) error { return v.gather(&gathering{}, fn) }

// Batches is Sessions for who needs none of them for long, some at a time: the sessions of one
// call, and their lists, are used again when the call after it has returned, and list is when its
// own has. Their strings and wills may be kept.
func (v *View) Batches(fn func(list []*Session) error) error {
	list := make([]*Session, 0, batchSessions)
	tell := func() error {
		err := fn(list)
		list = list[:0]
		return err
	}
	// The session whose rows come has a room beside those of two batches.
	err := v.gather(&gathering{rooms: make([]roomFor, 2*batchSessions+1), again: true}, func(s *Session) error {
		if list = append(list, s); len(list) < batchSessions {
			return nil
		}
		return tell()
	})
	if err == nil && len(list) > 0 {
		err = tell()
	}
	return err
}

// gather calls fn for every session that g puts together.
func (v *View) gather(g *gathering, fn func(*Session) error) error {
	leave, err := v.door.enter()
	if err != nil {
		return err
	}
	defer leave()
	tell := func(s *Session) error {
		if s == nil {
			return nil
		}
		v.groups.begin(s)
		return fn(s)
	}
	row := func(sid store.SID, part byte, rest, value []byte) error {
		done, err := g.row(sid, part, rest, value)
		if err == nil {
			err = tell(done)
		}
		return err
	}
	if e, changed := v.rows.takeEarly(); e != nil {
		again := changing{v: v, list: changed, fn: fn}
		whole := tell
		tell = func(s *Session) error {
			if s == nil {
				return nil
			}
			if err := again.before(&s.SID); err != nil {
				return err
			}
			return whole(s)
		}
		err = e.packed.each(func(sid store.SID, part byte, rest, value []byte) error {
			if _, is := e.changed[sid]; is {
				return nil
			}
			return row(sid, part, rest, value)
		})
		if err == nil {
			err = tell(g.s)
		}
		if err == nil {
			err = again.before(nil)
		}
		return err
	}
	lower, upper := tableBounds(tableSession)
	err = v.table(lower, upper, func(key, value []byte) error {
		sid, part, rest, err := splitSessionKey(key)
		if err != nil {
			return err
		}
		return row(sid, part, rest, value)
	})
	if err == nil {
		err = tell(g.s)
	}
	return err
}

// changing is the sessions that have changed since Open came by them, in order, to be told of
// in between.
type changing struct {
	v    *View
	list []store.SID
	fn   func(*Session) error
}

// before tells of those that come before a session; nil: of all that are left.
func (c *changing) before(sid *store.SID) error {
	for len(c.list) > 0 && (sid == nil || bytes.Compare(c.list[0][:], sid[:]) < 0) {
		s, err := c.v.Session(c.list[0]) // nil: it has ended
		c.list = c.list[1:]
		if err == nil && s != nil {
			err = c.fn(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
