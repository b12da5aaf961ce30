package broker

import (
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic"
)

// retract takes a subscription back from wherever publishers find it.
func (h *Home) retract(r *resident, sub *session.Sub) {
	ref := h.routerRef(r.ref)
	if share, _, shared, _ := topic.ParseShare(sub.Filter); shared {
		if h.b.groups.Leave(share, sub.Real, ref) {
			h.b.heard(r.by.Identity, sub, -1)
		}
		h.strike(r, sub.Group)
		return
	}
	h.unindex(ref, r.by.Identity, sub)
}

// unindex takes back one that no group has.
func (h *Home) unindex(ref router.Ref, identity string, sub *session.Sub) {
	if h.b.index.Unsubscribe(sub.Real, ref) {
		h.b.heard(identity, sub, -1)
	}
	if sub.Exclusive {
		h.b.only.Release(sub.Real, ref)
	}
}

// retractAll is retract of all that r has.
func (h *Home) retractAll(r *resident) {
	for i := range r.s.Subscriptions() {
		sub := r.s.Subscription(i)
		h.retract(r, &sub)
	}
}

const (
	// leaveAtOnce is how many subscriptions go with their session in one turn. A hundred thousand, where limits.subscriptions
	// allows them, would be 30 ms in which nobody else is served (D-07).
	leaveAtOnce = 256
	// leavePerTurn of all the others go in a turn at least, and leaveShare of what there are: however fast sessions with
	// many end, what is left has a limit.
	leavePerTurn = 256
	leaveShare   = 256
)

// leftover is what a session that has ended was subscribed to. Its reference is nobody's: what publishers still find by it
// is dropped as what was on its way when the session ended.
type leftover struct {
	ref      router.Ref
	identity string
	had      session.Had
}

// leaveAll is retractAll of a session that has just ended and that no log knows. A group or an exclusive filter is left at once,
// since others may have it; the rest if it is little.
func (h *Home) leaveAll(r *resident) {
	if r.s.Subscriptions() <= leaveAtOnce {
		h.retractAll(r)
		return
	}
	had := r.s.Leave()
	for i := range had.Len() {
		if had.Shared(i) {
			sub := had.At(i)
			h.retract(r, &sub)
		}
	}
	h.work.left.many += had.Len()
	h.work.left.list = append(h.work.left.list, leftover{h.routerRef(r.ref), r.by.Identity, had})
	h.wire.Again()
}

// leaving is what sessions that have ended leave behind.
type leaving struct {
	list []leftover
	many int // subscriptions of all
}

// leaveSome takes some of it back.
func (h *Home) leaveSome() {
	l := &h.work.left
	for n := max(leavePerTurn, l.many/leaveShare); n > 0 && len(l.list) > 0; n-- {
		last := &l.list[len(l.list)-1]
		if last.had.Len() > 0 {
			sub := last.had.Take()
			l.many--
			if sub.Group == (session.Group{}) && !sub.Exclusive { // those have gone
				h.unindex(last.ref, last.identity, &sub)
			}
		}
		if last.had.Len() == 0 {
			*last = leftover{}
			l.list = l.list[:len(l.list)-1]
		}
	}
	if len(l.list) > 0 {
		h.wire.Again()
	}
}
