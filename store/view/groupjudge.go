package view

import (
	"slices"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What becomes of a group follows from the records about it and its members.

// touched is what a record changed, for whoever writes it down.
type touched struct {
	group  fact.FilterID
	head   bool          // the group came or went
	member fact.FilterID // that came, went or begins elsewhere; 0: none
	source *Source       // that came, went or is another; nil: none
}

// judge tells what becomes of a record about a group. The caller holds mu.
func (g *groups) judge(r *store.Record, b *bodies) Outcome {
	switch r.Kind {
	case store.ShareJoin:
		gr := g.byID[b.join.Group]
		if gr == nil {
			return Applied
		}
		if m, ok := gr.members[b.join.Member]; ok && m.sid != r.SID {
			return Refused
		}
	case store.ShareLeave:
		gr := g.byID[b.leave.Group]
		if gr == nil {
			return Refused
		}
		if m, ok := gr.members[b.leave.Member]; !ok || m.sid != r.SID || b.leave.Stay && len(gr.sources) >= staysMax {
			return Refused
		}
	case store.ShareAck:
		return g.judgeTake(r, &b.take)
	}
	return Applied
}

// judgeTake: a member that has gone, or is somebody newer, takes nothing; nobody takes
// what is not there. The group itself may take what was given back to it.
func (g *groups) judgeTake(r *store.Record, t *fact.Take) Outcome {
	gr := g.byID[t.Group]
	if gr == nil {
		return Refused
	}
	if t.Member != 0 && t.Member != t.Group {
		if m, ok := gr.members[t.Member]; !ok || m.sid != r.SID {
			return Fenced
		}
	}
	s := gr.source(t.Source, t.Part)
	if s == nil || t.Seq != 0 && (!s.Wants(t.Seq) || len(s.Taken) >= takenMax) || t.Done && t.Part == 0 {
		return Refused
	}
	return Applied
}

// apply makes a record count that was judged Applied, and appends to dst what it
// changed. b is what judge was given. The caller holds mu.
func (g *groups) apply(seq store.Seq, r *store.Record, b *bodies, dst []touched) []touched {
	g.note(r, b)
	switch r.Kind {
	case store.ShareJoin:
		return g.join(seq, r, &b.join, dst)
	case store.ShareLeave:
		how := goes
		if b.leave.Stay {
			how = stays
		}
		return g.leave(seq, r, b.leave.Group, b.leave.Member, how, dst)
	case store.ShareAck:
		return g.take(&b.take, dst)
	case store.Expire:
		return g.end(seq, r, dst)
	case store.Claim:
		if b.claim.Clean {
			return g.end(seq, r, dst)
		}
	case store.Inflight, store.Ack:
		if s := g.of[r.SID]; s != nil {
			s.hear(&b.outbox)
		}
	}
	return dst
}

// hear notes what a session has under way.
func (s *shares) hear(o *fact.Outbox) {
	s.cursor, s.open = o.Cursor, s.open[:0]
	for i := range o.Entries {
		if e := &o.Entries[i]; e.Share != 0 && e.QoS == 1 && e.Seq != 0 {
			s.open = append(s.open, sentBy{e.Seq, e.Share})
		}
	}
}

func (g *groups) join(seq store.Seq, r *store.Record, j *fact.Join, dst []touched) []touched {
	gr := g.byID[j.Group]
	if gr == nil {
		own := &Source{ID: j.Group, After: seq, Until: never, At: r.At}
		gr = &group{share: j.Share, real: j.Real, members: make(map[fact.FilterID]member), sources: []*Source{own}}
		g.byID[j.Group] = gr
		dst = append(dst, touched{group: j.Group, head: true, source: own})
	}
	if _, there := gr.members[j.Member]; there {
		return dst
	}
	for _, s := range gr.sources { // what it is given from here on is its own
		if s.ID == j.Member && s.Until == never {
			s.Until = seq
			dst = append(dst, touched{group: j.Group, source: s})
		}
	}
	m := member{sid: r.SID, start: seq}
	if j.Since != 0 {
		m.start = j.Since
	}
	gr.members[j.Member] = m
	s := g.of[r.SID]
	if s == nil {
		s = g.begins(r.SID)
		g.of[r.SID] = s
	}
	s.in = append(s.in, membership{j.Group, j.Member})
	return append(dst, touched{group: j.Group, member: j.Member})
}

// leaving is how a member leaves.
type leaving uint8

const (
	stays leaving = iota // and is given what comes
	goes                 // and its session goes on
	ends                 // with its session
)

// leave gives back what a member has not sent and, if its session ends, what its client
// has not acknowledged. With the last member the group ends.
func (g *groups) leave(seq store.Seq, r *store.Record, id, of fact.FilterID, how leaving, dst []touched) []touched {
	gr := g.byID[id]
	m, held := gr.members[of], g.of[r.SID]
	s := &Source{ID: of, Part: seq, After: max(m.start, held.cursor), Until: seq, At: r.At}
	dst = append(dst, touched{group: id, member: of})
	if how == stays {
		m.start = seq
		gr.members[of] = m
		gr.add(s)
		return append(dst, touched{group: id, source: s})
	}
	delete(gr.members, of)
	held.in = slices.DeleteFunc(held.in, func(in membership) bool { return in == membership{id, of} })
	if len(held.in) == 0 {
		delete(g.of, r.SID)
	}
	if len(gr.members) == 0 {
		delete(g.byID, id)
		return append(dst, touched{group: id, head: true})
	}
	s.Until = never // who gave it something may not know yet
	for _, o := range held.open {
		if how == ends && o.member == of && o.seq <= s.After {
			s.Only = append(s.Only, o.seq)
		}
	}
	slices.Sort(s.Only)
	s.Only = slices.Compact(s.Only)
	gr.add(s)
	return append(dst, touched{group: id, source: s})
}

// end lets a session leave all its groups.
func (g *groups) end(seq store.Seq, r *store.Record, dst []touched) []touched {
	s := g.of[r.SID]
	if s == nil {
		return dst
	}
	for _, in := range slices.Clone(s.in) {
		dst = g.leave(seq, r, in.group, in.member, ends, dst)
	}
	return dst
}

func (g *groups) take(t *fact.Take, dst []touched) []touched {
	gr := g.byID[t.Group]
	s := gr.source(t.Source, t.Part)
	if t.Seq != 0 {
		i, _ := slices.BinarySearch(s.Taken, t.Seq)
		s.Taken = slices.Insert(s.Taken, i, t.Seq)
	}
	if t.Below > s.Below {
		s.Below = t.Below
		i, _ := slices.BinarySearch(s.Taken, s.Below)
		s.Taken = append(s.Taken[:0], s.Taken[i:]...)
		i, _ = slices.BinarySearch(s.Only, s.Below)
		s.Only = append(s.Only[:0], s.Only[i:]...)
	}
	if t.Done {
		at, _ := gr.find(t.Source, t.Part)
		gr.sources = slices.Delete(gr.sources, at, at+1)
	}
	return append(dst, touched{group: t.Group, source: s})
}
