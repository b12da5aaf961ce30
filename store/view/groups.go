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

const (
	// staysMax is with how many sources a group takes nothing back from a member that stays
	// one: that keeps what it has, and nothing is lost. From one that goes it takes what it
	// has in any case, since nobody else has that; whoever hands out joins small sources.
	staysMax = 1024
	// takenMax bounds what everybody must remember of takes that overtook one that was
	// refused.
	takenMax = 4096
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
	sources     []*Source // by order
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
