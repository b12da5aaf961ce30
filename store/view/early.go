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

// roomFor is a session and its first subscription, which most have none beside.
type roomFor struct {
	s   Session
	sub [1]Sub
}

// gathering puts sessions together from their rows, which come one after another.
type gathering struct {
	s    *Session   // whose rows come; nil: none came
	slab []roomFor  // the first is of s
	c    fact.Claim // used again, so that what is the same in all is there once
}

// row takes a row. done is the session before, if this is the first of another.
func (g *gathering) row(sid store.SID, part byte, rest, value []byte) (done *Session, err error) {
	if g.s == nil || g.s.SID != sid {
		done = g.s
		if len(g.slab) <= 1 {
			g.slab = make([]roomFor, slabSessions)
		} else {
			g.slab = g.slab[1:]
		}
		g.s = &g.slab[0].s
		g.s.SID = sid
	}
	if part == partSub && g.s.Subs == nil {
		g.s.Subs = g.slab[0].sub[:0]
	}
	return done, g.s.row(part, rest, value, &g.c)
}

// early is the sessions that Open came by while it read what it keeps of each: to go through
// their rows takes as long as to understand them. They are as of then until somebody asks, and
// what has changed by then is read again. A nil one collects nothing.
type early struct {
	list    []*Session // in the order of their names
	changed map[store.SID]struct{}
	failed  bool // a row says nothing that is known: whoever asks is told so

	gathering gathering
}

func (e *early) row(sid store.SID, part byte, rest, value []byte) {
	if e == nil || e.failed {
		return
	}
	done, err := e.gathering.row(sid, part, rest, value)
	if done != nil {
		e.list = append(e.list, done)
	}
	e.failed = err != nil
}

// end is told after the last row.
func (e *early) end() {
	if e == nil {
		return
	}
	if e.gathering.s != nil {
		e.list = append(e.list, e.gathering.s)
	}
	e.gathering = gathering{}
	if e.failed {
		e.list = nil
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

// takeEarly answers what Open came by, and which of it has changed; ok is false if there is nothing,
// or so little of use that all is better read again.
func (r *rows) takeEarly() (list []*Session, changed []store.SID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.early
	r.early = nil
	if e == nil || e.failed || len(e.changed) > max(len(e.list)/changedPart, changedFew) {
		return nil, nil, false
	}
	for sid := range e.changed {
		changed = append(changed, sid)
	}
	slices.SortFunc(changed, func(a, b store.SID) int { return bytes.Compare(a[:], b[:]) })
	return e.list, changed, true
}

// Sessions calls fn for every session, in the order of their names. The first call after an Open
// with Options.Sessions is for who begins: while records are applied its sessions are not all as
// of the same one.
func (v *View) Sessions(fn func(*Session) error) error {
	leave, err := v.door.enter()
	if err != nil {
		return err
	}
	defer leave()
	if list, changed, ok := v.rows.takeEarly(); ok {
		return v.sessionsSince(list, changed, fn)
	}
	lower, upper := tableBounds(tableSession)
	var g gathering
	tell := func(s *Session) error {
		if s == nil {
			return nil
		}
		v.groups.begin(s)
		return fn(s)
	}
	err = v.table(lower, upper, func(key, value []byte) error {
		sid, part, rest, err := splitSessionKey(key)
		if err != nil {
			return err
		}
		done, err := g.row(sid, part, rest, value)
		if err == nil {
			err = tell(done)
		}
		return err
	})
	if err == nil {
		err = tell(g.s)
	}
	return err
}

// sessionsSince is Sessions with what was read before and what has changed since, both in order.
func (v *View) sessionsSince(list []*Session, changed []store.SID, fn func(*Session) error) error {
	for len(list) > 0 || len(changed) > 0 {
		if len(changed) == 0 || len(list) > 0 && bytes.Compare(list[0].SID[:], changed[0][:]) < 0 {
			v.groups.begin(list[0])
			if err := fn(list[0]); err != nil {
				return err
			}
			list = list[1:]
			continue
		}
		if len(list) > 0 && list[0].SID == changed[0] {
			list = list[1:]
		}
		s, err := v.Session(changed[0]) // nil: it has ended
		changed = changed[1:]
		if err == nil && s != nil {
			err = fn(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
