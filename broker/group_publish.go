package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
)

// What is published to a group with members that outlive the process goes to one that has
// room, or waits in the log.

// promise is who hears what becomes of a message that a group's member was given, or that
// waits for one.
type promise struct {
	l      *line
	member *router.Member // that it was promised to; nil: it waits for whoever has room
}

// shareKept gives a message to a member that has room for it, or lets it wait for one.
func (h *Home) shareKept(now time.Time, a author, f *mqtt.Frame, l *line, group router.Ref) (settled bool) {
	// A member that is in memory only may give back what it has to one that is not, before the
	// log has heard from whom it is: then the publisher would say it again after a crash.
	once := f.QoS == 2 && a.kept != (store.SID{}) && l.mixed()
	if !once && !l.waiting() {
		if to, m, ok := h.b.groups.Claim(group, h.choose(a, f)); ok {
			w := h.wantOf(to, f, groupOf(group))
			if !w.durable || w.qos == 0 {
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
			if in := h.b.filters.membership(membership{to.Ref, group}); in != nil && in.known.Load() {
				h.scratch.members = append(h.scratch.members, in.id) // it has it from the log, which the publisher waits for
				h.scratch.promises = append(h.scratch.promises, promise{l, m})
				return true
			}
			m.Arrived() // it is about to leave, or not quite there
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

// arrived takes back what was promised to r of a message, and tells whether it is one for
// a member of a group.
func (r *resident) arrived(m *logged) (shared bool) {
	for i := range r.log.subs {
		if s := &r.log.subs[i]; s.id != 0 && s.line != nil && slices.Contains(m.filters, s.id) {
			r.member().Arrived()
			shared = true
		}
	}
	return shared
}
