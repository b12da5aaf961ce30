package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What a member was given and has not sent goes back to its group when its connection
// ends, and what its client has not acknowledged at QoS 1 when its session does. Nothing
// is copied for it: one record says that the group has it again, and what that is follows
// from what the session has said of itself.

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
	if d := r.log; !d.giving && len(r.lines()) > 0 {
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
			d.pos = min(d.pos, from)
			d.replan()
			l := &d.passes().lag
			if l.first == 0 || from+1 < l.first {
				l.first = from + 1
			}
			l.last, l.messages = max(l.last, h.applied), max(1, l.messages)
		default:
			d.subs[i].start = seq
			if d.sharesOnly() && d.lag.last <= seq {
				d.pos = max(d.pos, seq)
				d.replan()
				d.caughtUp()
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
	h.dismissAll(r)
	h.recordEnd(now, r, left)
	for _, l := range back {
		if l.kept.Load() > 0 {
			h.oweLine(r, l, first)
		}
	}
}
