package view

import (
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A shared subscription with members that outlive the process keeps what none of them
// could take, and whoever has room first takes it from there: docs/adr/0014. What it
// still has follows from the records alone, so that two members on two nodes never have
// one message both.

// Group is what the log knows of a shared subscription. It is the caller's.
type Group struct {
	ID          fact.FilterID
	Share, Real string
	Members     int
	Sources     []Source // in the order in which they came
}

// Source is a part of what a group has: what came for it, or what a member gave back.
// The messages are those with postings under ID for which Wants is true.
type Source struct {
	ID    fact.FilterID // of the group, or of the member it was given to
	Part  store.Seq     // the number of the record that gave it back; 0: it came for the group
	After store.Seq     // messages that are later
	Until store.Seq     // and not later than this
	At    int64         // Unix milliseconds, of the record

	Only  []store.Seq // messages not later than After that belong to it as well, in order
	Below store.Seq   // whatever is before it is done with
	Taken []store.Seq // what is done with and not before Below, in order
}

// never is later than everything.
const never = ^store.Seq(0)

// Wants tells whether a message that stands under the source's ID belongs to it and was
// not taken.
func (s *Source) Wants(seq store.Seq) bool {
	if seq < s.Below || seq > s.Until {
		return false
	}
	if seq <= s.After {
		if _, ok := slices.BinarySearch(s.Only, seq); !ok {
			return false
		}
	}
	_, taken := slices.BinarySearch(s.Taken, seq)
	return !taken
}

// Start is the number that all it wants is later than.
func (s *Source) Start() store.Seq {
	start := s.After
	if len(s.Only) > 0 {
		start = min(start, s.Only[0]-1)
	}
	if s.Below > 0 {
		start = max(start, s.Below-1)
	}
	return start
}

// Bounds of what a group may make everybody remember: what members gave back and nobody
// has taken since, and takes that overtook one that was refused.
const (
	sourcesMax = 1024
	takenMax   = 4096
)

// groups is all the groups there are, as a value: what it becomes follows from the
// records it is given.
type groups struct {
	mu   sync.Mutex // guards everything below
	byID map[fact.FilterID]*group
	of   map[store.SID]*shares // sessions that are in some group

	before map[store.SID]shares // what sessions said last that join in this batch: see joining.go
}

type group struct {
	share, real string
	members     map[fact.FilterID]member
	sources     []*Source
}

// member is a session in a group.
type member struct {
	sid   store.SID
	start store.Seq // what it was given by then and did not send is not its own
}

// shares is what matters here of a session.
type shares struct {
	in     []membership
	cursor store.Seq // as it was said last
	open   []sentBy  // at QoS 1 and not acknowledged
}

type membership struct{ group, member fact.FilterID }

type sentBy struct {
	seq    store.Seq
	member fact.FilterID
}

func newGroups() *groups {
	return &groups{byID: make(map[fact.FilterID]*group), of: make(map[store.SID]*shares)}
}

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
		if m, ok := gr.members[b.leave.Member]; !ok || m.sid != r.SID || b.leave.Stay && len(gr.sources) >= sourcesMax {
			return Refused
		}
	case store.ShareAck:
		return g.judgeTake(r, &b.take)
	}
	return Applied
}

// judgeTake: a member that has gone, or is somebody newer, takes nothing; nobody takes
// what is not there.
func (g *groups) judgeTake(r *store.Record, t *fact.Take) Outcome {
	gr := g.byID[t.Group]
	if gr == nil {
		return Refused
	}
	if t.Member != 0 {
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

func (gr *group) source(id fact.FilterID, part store.Seq) *Source {
	for _, s := range gr.sources {
		if s.ID == id && s.Part == part {
			return s
		}
	}
	return nil
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
		gr.sources = append(gr.sources, s)
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
	if len(gr.sources) >= sourcesMax {
		return dst
	}
	s.Until = never // who gave it something may not know yet
	for _, o := range held.open {
		if how == ends && o.member == of && o.seq <= s.After {
			s.Only = append(s.Only, o.seq)
		}
	}
	slices.Sort(s.Only)
	s.Only = slices.Compact(s.Only)
	gr.sources = append(gr.sources, s)
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
		gr.sources = slices.DeleteFunc(gr.sources, func(o *Source) bool { return o == s })
	}
	return append(dst, touched{group: t.Group, source: s})
}

// copy is the group for a caller.
func (gr *group) copy(id fact.FilterID) Group {
	out := Group{ID: id, Share: gr.share, Real: gr.real, Members: len(gr.members)}
	for _, s := range gr.sources {
		c := *s
		c.Only, c.Taken = slices.Clone(s.Only), slices.Clone(s.Taken)
		out.Sources = append(out.Sources, c)
	}
	return out
}

// Group is what the log has of a group; false if it has none. It is in memory, and as far
// as what the Sink was told.
func (v *View) Group(id fact.FilterID) (Group, bool) {
	v.groups.mu.Lock()
	defer v.groups.mu.Unlock()
	gr := v.groups.byID[id]
	if gr == nil {
		return Group{}, false
	}
	return gr.copy(id), true
}

// Member is the number that a member's own messages come after; false if there is no such
// member.
func (v *View) Member(group, of fact.FilterID) (start store.Seq, ok bool) {
	v.groups.mu.Lock()
	defer v.groups.mu.Unlock()
	if gr := v.groups.byID[group]; gr != nil {
		m, ok := gr.members[of]
		return m.start, ok
	}
	return 0, false
}

// begin lets a subscription begin behind what its session gave back.
func (g *groups) begin(s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := g.of[s.SID]
	if held == nil {
		return
	}
	for i := range s.Subs {
		for _, in := range held.in {
			if in.member == s.Subs[i].ID {
				s.Subs[i].Start = max(s.Subs[i].Start, g.byID[in.group].members[in.member].start)
			}
		}
	}
}
