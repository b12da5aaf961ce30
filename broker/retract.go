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
	// leaveAtOnce is how many subscriptions of sessions that end go in one turn, in all. A hundred thousand, where
	// limits.subscriptions allows them, would be 30 ms in which nobody else is served (D-07).
	leaveAtOnce = 256
	// leavePerTurn of all the others go in a turn at least, some 30 microseconds, and leaveShare of what there are: however
	// fast sessions with many end, what is left has a limit.
	leavePerTurn = 32
	leaveShare   = 1024
	// leaveForRoom is how many go for one that would have no room beside them.
	leaveForRoom = 1024
)

// leaving is what sessions that have ended leave behind, the oldest first.
type leaving struct {
	list []leftover
	head int // of list; those before it have gone
	many int // subscriptions of all
	now  int // subscriptions that went with their sessions in this turn
}

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
	l := &h.work.left
	if n := r.s.Subscriptions(); l.now+n <= leaveAtOnce {
		l.now += n
		h.retractAll(r)
		return
	}
	had := r.s.Leave()
	l.many += had.Len()
	l.list = append(l.list, leftover{h.routerRef(r.ref), r.by.Identity, had})
	h.wire.Again()
	for i := range had.Len() {
		if had.Shared(i) {
			sub := had.At(i)
			h.retract(r, &sub)
		}
	}
}

// leaveSome takes some of it back.
func (h *Home) leaveSome() {
	l := &h.work.left
	l.now = 0
	for n := max(leavePerTurn, l.many/leaveShare); n > 0 && l.many > 0; n-- {
		h.leaveOne()
	}
	switch {
	case l.head == len(l.list):
		l.list, l.head = nil, 0
	case l.head > len(l.list)/2:
		l.list, l.head = append([]leftover(nil), l.list[l.head:]...), 0
	}
	if l.many > 0 {
		h.wire.Again()
	}
}

// leaveOne takes the oldest of it back, of which there must be some.
func (h *Home) leaveOne() {
	l := &h.work.left
	first := &l.list[l.head]
	sub, ref, identity := first.had.Take(), first.ref, first.identity
	if l.many--; first.had.Len() == 0 {
		*first = leftover{}
		l.head++
	}
	if sub.Group == (session.Group{}) && !sub.Exclusive { // those have gone
		h.unindex(ref, identity, &sub)
	}
}
