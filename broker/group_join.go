package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// A session is a member of a group when the log knows it as one: what nobody can take waits from
// then on.

// enroll makes r's shared subscription known to whoever hands out what waits.
func (h *Home) enroll(r *resident, share string, sub *session.Sub, group router.Ref, replaced bool) {
	if !h.kept() {
		return
	}
	if replaced {
		return
	}
	l := h.b.lines.join(h.b.durable.Key.GroupID(share, sub.Real), share, sub.Real, group, h.b.homes)
	s := &r.more().sharing
	s.lines = append(s.lines, l)
}

// strike is the opposite.
func (h *Home) strike(r *resident, group session.Group) {
	for i, l := range r.lines() {
		if l.group() == group {
			s := &r.more().sharing
			s.lines = append(s.lines[:i], s.lines[i+1:]...)
			h.b.lines.leave(l)
			r.member().Forget()
			return
		}
	}
}

// lineOf is the line of a shared subscription of r.
func (r *resident) lineOf(g session.Group) *line {
	for _, l := range r.lines() {
		if l.group() == g {
			return l
		}
	}
	return nil
}

// recordJoin says that r is a member of a group, before the record of its subscription.
func (h *Home) recordJoin(now time.Time, r *resident, s *durableSub, since store.Seq) {
	if s.id == 0 || s.line == nil || s.joined {
		return
	}
	l := s.line
	body := fact.Join{Group: l.id, Member: s.id, Share: l.share, Real: l.real, Since: since}
	h.say(now, r.log, store.ShareJoin, body.Append)
	filter, id := s.filter, s.id
	h.after(r, func(_ time.Time, r *resident, _ store.Seq, err error) {
		if r == nil || err != nil {
			return
		}
		if i := r.log.find(filter); i >= 0 && r.log.subs[i].id == id {
			h.enlisted(r, &r.log.subs[i])
			h.tellGroups(r)
		}
	})
}

// enlisted says that the log knows the member: what nobody can take waits from here on.
func (h *Home) enlisted(r *resident, s *durableSub) {
	if !s.joined {
		s.joined = true
		s.line.kept.Add(1)
	}
	if in := h.b.filters.membership(membership{h.routerRef(r.ref), groupRef(s.group)}); in != nil {
		in.known.Store(true)
	}
}

// resign takes that back: with the last one nothing waits any more.
func (h *Home) resign(s *durableSub) {
	if !s.joined {
		return
	}
	s.joined = false
	if s.line.kept.Add(-1) > 0 {
		return
	}
	h.b.poke(s.line) // its home forgets what it knows of it

	if n := s.line.end(); n > 0 && !h.b.shared() { // or it is another node's to hand out
		h.count.Add(metrics.MessagesDroppedNoSession, int64(n))
	}
}

// restoreShares makes a restored session a member again, and gives back what it has not
// sent: nobody knows whether its client will come back.
func (h *Home) restoreShares(now time.Time, r *resident) {
	d := r.log
	some, old := false, false
	for i := range d.subs {
		s := &d.subs[i]
		l := s.line
		if s.id == 0 || l == nil {
			continue
		}
		some = true
		if _, member := h.b.durable.Index.Member(l.id, s.id); !member { // of a broker that had no groups in its log
			h.recordJoin(now, r, s, s.start)
			old = true
		}
		h.enlisted(r, s)
		l.look()
		if g, ok := h.b.durable.Index.Group(l.id); ok {
			for k := range g.Sources {
				l.hold(g.Sources[k].Start() + 1)
			}
		}
		l.again()
		h.b.poke(l)
	}
	if old {
		h.save(now, r)
	}
	if some && d.lag.first != 0 {
		h.givesBack(r)
	}
}

// hold keeps the log from a number on until the line is looked at.
func (l *line) hold(first store.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owed.first == 0 || first < l.owed.first {
		l.owed.first = first
	}
}

// rejoin makes a subscription a member's again whose replacement the log did not take.
func (h *Home) rejoin(r *resident, filter string) {
	if i := r.log.find(filter); i >= 0 {
		s := &r.log.subs[i]
		if s.id == 0 || s.line == nil {
			return
		}
		if _, member := h.b.durable.Index.Member(s.line.id, s.id); member {
			h.enlisted(r, s)
		}
	}
}

// shareOf and groupOfShare are the two names of a group in what a session has under way:
// the one in the log is this member's.
func (d *durable) shareOf(g session.Group) fact.FilterID {
	for i := range d.subs {
		if s := &d.subs[i]; g != (session.Group{}) && s.group == g {
			return s.id
		}
	}
	return 0
}

func (d *durable) groupOfShare(id fact.FilterID) session.Group {
	for i := range d.subs {
		if s := &d.subs[i]; id != 0 && s.id == id {
			return s.group
		}
	}
	return session.Group{}
}

// reenlist has what is taken for r taken for its present connection.
func (h *Home) reenlist(r *resident) {
	for i := range r.log.subs {
		s := &r.log.subs[i]
		if s.line == nil {
			continue
		}
		if in := h.b.filters.membership(membership{h.routerRef(r.ref), groupRef(s.group)}); in != nil {
			in.epoch.Store(r.log.epoch)
		}
	}
}
