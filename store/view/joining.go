package view

import (
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/redoubtmq/redoubt/store"
)

// A session that joins its first group may have messages under way already: from a group it
// left, or of a log from before there were groups. What it said of them last decides what
// goes back when it leaves. Groups remember that of members only, so it is looked up where a
// batch has a join; otherwise the same log would give other groups after a restart, which
// reads it for every member.

// expect has what the sessions said last that join in a batch; said tells of one. The caller
// is the goroutine that applies.
func (g *groups) expect(batch int, at func(i int) *store.Record, said func(*store.SID) (shares, error)) error {
	g.before = nil
	for i := range batch {
		r := at(i)
		if r.Kind != store.ShareJoin {
			continue
		}
		s, err := said(&r.SID)
		if err != nil {
			return err
		}
		if g.before == nil {
			g.before = make(map[store.SID]shares)
		}
		g.before[r.SID] = s
	}
	return nil
}

// note keeps that up to date within the batch. The record was applied.
func (g *groups) note(r *store.Record, b *bodies) {
	s, wanted := g.before[r.SID]
	if !wanted {
		return
	}
	switch r.Kind {
	case store.Inflight, store.Ack:
		s.open = nil // it may be a member's
		s.hear(&b.outbox)
		g.before[r.SID] = s
	case store.Expire:
		g.before[r.SID] = shares{}
	case store.Claim:
		if b.claim.Clean {
			g.before[r.SID] = shares{}
		}
	}
}

// begins is a session that is in no group yet.
func (g *groups) begins(sid store.SID) *shares {
	s := g.before[sid]
	return &shares{cursor: s.cursor, open: slices.Clone(s.open)}
}

// said is what a session's rows have of its messages under way. The caller holds mu. Few
// sessions have any when they join; for one that does, what was collected is handed over.
func (r *rows) said(sid *store.SID) (s shares, err error) {
	if g, _ := r.guards.of(sid); !g.outbox {
		return s, nil
	}
	if err := r.commitLocked(); err != nil {
		return s, err
	}
	row, closer, err := r.ix.db.Get(r.sessionKey(sid, partOutbox))
	if errors.Is(err, pebble.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err = r.bodies.outbox.Decode(row); err == nil {
		s.hear(&r.bodies.outbox)
	}
	return s, errors.Join(err, closer.Close())
}

// expect is groups.expect for what decides, which is a batch ahead of the rows.
func (v *View) expect(ctx context.Context, recs []store.Record) error {
	return v.groups.expect(len(recs), func(i int) *store.Record { return &recs[i] }, func(sid *store.SID) (shares, error) {
		if err := v.ix.ready(ctx); err != nil {
			return shares{}, err
		}
		v.rows.mu.Lock()
		defer v.rows.mu.Unlock()
		return v.rows.said(sid)
	})
}
