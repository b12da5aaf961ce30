package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What a member was given and has not sent goes back to its group when its connection
// ends, and what its client has not acknowledged at QoS 1 when its session does. Nothing
// is copied for it: one record says that the group has it again, and what that is follows
// from what the session has said of itself.

// enroll makes r's shared subscription known to whoever hands out what waits.
func (h *Home) enroll(r *resident, share string, sub *session.Sub, group router.Ref, replaced bool) {
	if !h.kept() {
		return
	}
	if replaced {
		return
	}
	l := h.b.lines.join(h.b.durable.Key.GroupID(share, sub.Real), share, sub.Real, group, h.b.homes)
	r.lines = append(r.lines, l)
}

// strike is the opposite.
func (h *Home) strike(r *resident, group session.Group) {
	for i, l := range r.lines {
		if l.group() == group {
			r.lines = append(r.lines[:i], r.lines[i+1:]...)
			h.b.lines.leave(l)
			r.member.Forget()
			return
		}
	}
}

// lineOf is the line of a shared subscription of r.
func (r *resident) lineOf(g session.Group) *line {
	for _, l := range r.lines {
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

// recordLeave says that r is no member any more, before its subscription ends, and gives
// back what it has of it.
func (h *Home) recordLeave(now time.Time, r *resident, s *durableSub) {
	l := s.line
	if s.id == 0 || l == nil {
		return
	}
	first := r.least()
	h.save(now, r) // what is later than its cursor goes back
	r.s.Unqueue(s.group)
	body := fact.Leave{Group: l.id, Member: s.id}
	h.say(now, r.log, store.ShareLeave, body.Append)
	h.oweLine(r, l, first)
}

// least is the smallest number that r wants of the log; 0: none.
func (r *resident) least() store.Seq {
	first := r.log.lag.first
	if n := store.Seq(r.s.Needs()); n != 0 && (first == 0 || n < first) {
		first = n
	}
	return first
}

// oweLine has a line looked at when the record that was said last is decided: something
// comes back with it.
func (h *Home) oweLine(r *resident, l *line, first store.Seq) {
	l.owe(first)
	h.after(r, func(_ time.Time, _ *resident, _ store.Seq, _ error) {
		l.given()
		h.b.poke(l)
	})
}

// giveSome gives back what came to members whose connections have gone.
func (h *Home) giveSome(now time.Time) {
	list := h.work.giving
	if len(list) == 0 {
		return
	}
	h.work.giving = nil
	for _, ref := range list {
		if r := h.at(ref); r != nil {
			r.log.giving = false
			if !r.s.Online() {
				h.giveBack(now, r)
			}
		}
	}
}

// givesBack lists a session that has something for its groups.
func (h *Home) givesBack(r *resident) {
	if d := r.log; !d.giving && len(r.lines) > 0 {
		d.giving = true
		h.work.giving = append(h.work.giving, r.ref)
		h.wire.Again()
	}
}

// giveBack gives back what r has not sent, of all its groups. It stays a member.
func (h *Home) giveBack(now time.Time, r *resident) {
	d := r.log
	if d.lag.first == 0 {
		return
	}
	first := r.least()
	said := false
	for i := range d.subs {
		s := &d.subs[i]
		if !s.joined || s.start == unknown {
			continue
		}
		if !said {
			h.part()
			if begun, ended, must := r.s.Unsaved(); begun+ended > 0 || must {
				h.save(now, r)
			}
			said = true
		}
		h.giveBackOf(now, r, s, first)
	}
}

func (h *Home) giveBackOf(now time.Time, r *resident, s *durableSub, first store.Seq) {
	l := s.line
	body := fact.Leave{Group: l.id, Member: s.id, Stay: true}
	filter, id, start, from := s.filter, s.id, s.start, h.applied
	s.start = unknown // what comes meanwhile is the group's
	r.log.known++
	r.log.pledged++
	h.say(now, r.log, store.ShareLeave, body.Append)
	h.oweLine(r, l, first)
	h.after(r, func(now time.Time, r *resident, seq store.Seq, err error) {
		if r == nil {
			return
		}
		d := r.log
		d.pledged--
		d.known++
		if err != nil && r.s.Online() { // what it may not have it would give back at once
			h.starve(r)
		} else {
			defer h.hunger(now, r)
		}
		i := d.find(filter)
		switch {
		case i < 0 || d.subs[i].id != id:
		case err != nil: // it is its own, with what came meanwhile
			d.subs[i].start = start
			d.pos, d.plan = min(d.pos, from), nil
			if d.lag.first == 0 || from+1 < d.lag.first {
				d.lag.first = from + 1
			}
			d.lag.last, d.lag.messages = max(d.lag.last, h.applied), max(1, d.lag.messages)
		default:
			d.subs[i].start = seq
			if d.sharesOnly() && d.lag.last <= seq {
				d.lag, d.pos, d.plan = lag{}, max(d.pos, seq), nil
			}
		}
	})
}

// sharesOnly tells whether the log serves r nothing but shares of subscriptions.
func (d *durable) sharesOnly() bool {
	for i := range d.subs {
		if s := &d.subs[i]; s.id != 0 && (s.group == (session.Group{}) || s.start == unknown) {
			return false
		}
	}
	return true
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

// promise is who hears what becomes of a message that a group's member was given, or that
// waits for one.
type promise struct {
	l      *line
	member *router.Member // that it was promised to; nil: it waits for whoever has room
}

// shareKept gives a message to a member that has room for it, or lets it wait for one.
func (h *Home) shareKept(now time.Time, a author, f *mqtt.Frame, l *line, group router.Ref) (settled bool) {
	if !l.waiting() {
		if to, m, ok := h.b.groups.Claim(group, h.choose(a, f)); ok {
			w := h.wantOf(to, f, groupOf(group))
			// A member that is in memory only may give back what it has to one that is not, before
			// the log has heard from whom it is: then the publisher would say it again after a crash.
			once := f.QoS == 2 && a.kept != (store.SID{})
			if (!w.durable || w.qos == 0) && !once {
				if a.due == dueAgain {
					m.Arrived() // somebody has it
					return true
				}
				w.promised = w.qos > 0
				if !w.promised {
					m.Arrived()
				}
				return h.give(now, to, f, w)
			}
			if in := h.b.filters.membership(membership{to.Ref, group}); in != nil && in.known.Load() && w.qos > 0 {
				h.scratch.members = append(h.scratch.members, in.id) // it has it from the log, which the publisher waits for
				h.scratch.promises = append(h.scratch.promises, promise{l, m})
				return true
			}
			m.Arrived() // it is about to leave, or not quite there, or has it by the line
		}
	}
	if h.barred(now, group, f) {
		return true
	}
	h.scratch.members = append(h.scratch.members, l.id)
	h.scratch.promises = append(h.scratch.promises, promise{l: l})
	l.coming.Add(1)
	return true
}

// expectPromises has those hear of it who wait for the record that was added last.
func (h *Home) expectPromises() {
	j := &h.journal
	for i, p := range h.scratch.promises {
		j.waiters = append(j.waiters, waiter{ticket: j.ticket, index: len(j.recs) - 1, kind: waitShare, promise: p})
		h.scratch.promises[i] = promise{}
	}
	h.scratch.promises = h.scratch.promises[:0]
}

// keptPromise hears that a message for a group is in the log, or never will be.
func (h *Home) keptPromise(p promise, err error) {
	if p.member == nil {
		p.l.coming.Add(-1)
	} else if err != nil {
		p.member.Arrived()
	}
	if err != nil && p.l.waiting() {
		h.b.poke(p.l)
	}
}

// queueUp lets a message wait that a member could not have.
func (h *Home) queueUp(now time.Time, f *mqtt.Frame, l *line) {
	h.scratch.one[0] = l.id
	h.recordMessage(now, author{}, f, store.Message, addressed{ids: h.scratch.one[:]}) // in one batch with what says that the other has it no longer
	l.coming.Add(1)
	h.scratch.promises = append(h.scratch.promises, promise{l: l})
	h.expectPromises()
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

// arrived takes back what was promised to r of a message, and tells whether it is one for
// a member of a group.
func (r *resident) arrived(m *logged) (shared bool) {
	for i := range r.log.subs {
		if s := &r.log.subs[i]; s.id != 0 && s.line != nil && slices.Contains(m.filters, s.id) {
			r.member.Arrived()
			shared = true
		}
	}
	return shared
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

// leavesBy answers the membership that ends because its subscription is replaced by one of
// QoS 0, which the log does not serve; nil: none does.
func (r *resident) leavesBy(sub *session.Sub) *durableSub {
	if r.log == nil || sub.QoS > 0 {
		return nil
	}
	if i := r.log.find(sub.Filter); i >= 0 && r.log.subs[i].id != 0 && r.log.subs[i].line != nil {
		s := r.log.subs[i]
		return &s
	}
	return nil
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

// ends says that a session is no more; what its groups get back of it they get by that.
func (h *Home) ends(now time.Time, r *resident) {
	var back []*line
	for i := range r.log.subs {
		if s := &r.log.subs[i]; s.joined {
			back = append(back, s.line)
		}
	}
	first, left := r.least(), h.leaves(r)
	for i := range r.log.subs { // what it had is for others
		h.resign(&r.log.subs[i])
	}
	h.reshare(now, r, true)
	r.s.Unbegun(func(f *mqtt.Frame, g session.Group) bool {
		return h.pass(now, f, want{group: g}, h.routerRef(r.ref))
	})
	if len(back) > 0 {
		h.save(now, r)
	}
	for len(r.log.subs) > 0 {
		h.dismissSub(r, r.log.subs[0].filter)
	}
	h.recordEnd(now, r, left)
	for _, l := range back {
		if l.kept.Load() > 0 {
			h.oweLine(r, l, first)
		}
	}
}
