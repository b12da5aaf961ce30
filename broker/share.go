package broker

import (
	"hash/maphash"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
	"github.com/redoubtmq/redoubt/topic"
)

// groupRef and groupOf are one name of a shared subscription, in the router's
// words and in the session's.
func groupRef(g session.Group) router.Ref {
	return router.Ref{Home: router.GroupHome, Slot: g.Slot, Gen: g.Gen}
}

func groupOf(r router.Ref) session.Group { return session.Group{Slot: r.Slot, Gen: r.Gen} }

// choose prepares the choice of a member for f.
func (h *Home) choose(a author, f *mqtt.Frame) router.Choice {
	c := router.Choice{Strategy: h.b.Settings().SharedStrategy, Name: f.Topic()}
	switch c.Strategy {
	case router.Random, router.Sticky:
		c.Random = h.random.Uint64()
	case router.HashClientID:
		if a.by != nil {
			c.Publisher = maphash.String(h.b.seed, a.by.ClientID)
		}
	case router.HashTopic:
		c.Topic = maphash.Bytes(h.b.seed, f.Topic())
	}
	return c
}

// together is messages of one publisher for one group, one right after another. While members accept, each goes to
// the next of them; those that have to wait do so together. Taken apart they come back apart: who publishes
// again when it is told of a delivery would send a packet for each member in place of one, and a turn that
// read 10 messages at a time reads 3.
type together struct {
	by    Ref
	group router.Ref
	n     int
}

// togetherMax is how many may wait together, so that many of one publisher do not wait with one member.
const togetherMax = 16

// goesOn tells whether a message of that session for that group belongs to the run, or begins another one.
func (t *together) goesOn(by Ref, group router.Ref) bool {
	if by != (Ref{}) && by == t.by && group == t.group && t.n < togetherMax {
		t.n++
		return true
	}
	*t = together{by, group, 1}
	return false
}

// share gives f to one member of a group. settled is false when the member's home
// is blocked.
func (h *Home) share(now time.Time, a author, f *mqtt.Frame, group router.Ref) (settled bool) {
	if a.logged {
		if l := h.b.lines.at(group); l != nil && l.kept.Load() > 0 {
			return h.shareKept(now, a, f, l, group)
		}
	}
	c := h.choose(a, f)
	c.Together = f.QoS > 0 && h.scratch.together.goesOn(a.ref, group) // QoS 0 does not wait for a window
	to, ok := h.b.groups.Pick(group, c)
	if !ok { // or the last member has left since the match
		h.barred(now, group, f)
		return true
	}
	w := h.wantOf(to, f, groupOf(group))
	if a.logged && w.durable && w.qos > 0 {
		if id := h.b.filters.member(membership{to.Ref, group}); id != 0 {
			h.scratch.members = append(h.scratch.members, id) // it has it from the log, which the publisher waits for
			return true
		}
	}
	if a.due == dueAgain {
		return true
	}
	return h.give(now, to, f, w)
}

// wantOf is what a group's member makes of f, at the QoS that it was granted
// [MQTT-4.8.2-3].
func (h *Home) wantOf(to router.Subscriber, f *mqtt.Frame, g session.Group) want {
	return want{
		subID: to.SubID, qos: min(mqtt.QoS(to.Opts&router.OptQoS), f.QoS), retain: f.Retain && to.Opts&router.RetainAsPublished != 0,
		check: to.Opts&router.Check != 0, group: g, durable: to.Opts&router.Durable != 0,
	}
}

// give delivers at once to a session that lives here, and by a lane to others.
func (h *Home) give(now time.Time, to router.Subscriber, f *mqtt.Frame, w want) (settled bool) {
	if to.Ref.Home == h.id {
		h.deliver(now, to.Ref, f, w)
		return true
	}
	return h.lanes.add(to.Ref, f, w)
}

// passesMax is how often a shared message that met a member who could not have it
// goes on to another.
const passesMax = 4

// pass gives a shared message to another member than the one who could not have
// it, and tells whether there was one. Where it may wait for a member, it does.
func (h *Home) pass(now time.Time, f *mqtt.Frame, w want, not router.Ref) bool {
	if w.passes++; w.passes > passesMax {
		return false
	}
	group := groupRef(w.group)
	if l := h.b.lines.at(group); l != nil && l.kept.Load() > 0 && f.QoS > 0 {
		if h.noneMay(group, f) {
			return false
		}
		h.queueUp(now, f, l)
		return true
	}
	c := h.choose(author{}, f)
	h.scratch.not[0] = not
	c.Not = h.scratch.not[:]
	to, ok := h.b.groups.Pick(group, c)
	if !ok {
		return false
	}
	next := h.wantOf(to, f, w.group)
	next.passes = w.passes
	if next.durable && next.qos > 0 {
		if id := h.b.filters.member(membership{to.Ref, group}); id != 0 {
			h.scratch.one[0] = id
			h.recordMessage(now, author{}, f, store.Message, addressed{ids: h.scratch.one[:]}) // in one batch with what says that the other has it no longer
			return true
		}
	}
	h.give(now, to, f, next)
	return true
}

// undeliverable passes a message on that its session could not have, or counts it
// as lost to why.
func (h *Home) undeliverable(now time.Time, to router.Ref, f *mqtt.Frame, w want, why metrics.ID) {
	if w.group == (session.Group{}) || !h.pass(now, f, w, to) {
		h.count.Inc(why)
	}
}

// reshare offers what r got by shared subscriptions to their other members: all of
// it when its connection has gone, and otherwise what belongs to those it has left.
func (h *Home) reshare(now time.Time, r *resident, gone bool) {
	if r.member() == nil {
		return
	}
	r.s.Unshare(gone, func(f *mqtt.Frame, g session.Group) bool {
		if !gone && r.in(g) {
			return false
		}
		return h.pass(now, f, want{group: g}, h.routerRef(r.ref))
	})
}

// in tells whether the session is a member of the group.
func (r *resident) in(g session.Group) bool {
	for i := range r.s.Subscriptions() {
		if r.s.Subscription(i).Group == g {
			return true
		}
	}
	return false
}

// tellGroups keeps the groups informed of what a member can take.
func (h *Home) tellGroups(r *resident) {
	if r.member() == nil {
		return
	}
	state := router.Full
	switch {
	case !r.s.Online():
		state = router.Offline
	case r.s.Accepting():
		state = router.Accepting
	}
	if r.member().Said() != state {
		r.member().SetState(state)
	}
	if !h.kept() {
		return
	}
	r.member().SetRoom(r.s.Room())
	if state != router.Accepting || r.member().Spare() == 0 {
		return
	}
	for _, l := range r.lines() {
		if l.waiting() {
			h.b.poke(l)
		}
	}
}

// insert makes a subscription known to publishers, in place of what the session
// has under that filter.
func (h *Home) insert(r *resident, sub *session.Sub) { h.insertAs(r, sub, nil) }

// insertAs is insert for a subscription that the log has; nil: it is about to hear of it.
func (h *Home) insertAs(r *resident, sub *session.Sub, was *view.Sub) {
	s := h.subscriber(r, sub)
	share, _, shared, _ := topic.ParseShare(sub.Filter)
	if r.log != nil && !shared {
		h.enlist(r, sub, was) // before anybody leaves the session out because the log serves it
	}
	if !shared {
		if !h.index(sub.Real, s) {
			h.b.heard(r.by.Identity, sub, 1)
		}
		return
	}
	if r.member() == nil {
		r.more().sharing.member = new(router.Member)
		h.tellGroups(r)
	}
	if sub.Check {
		h.stand(r) // before anybody chooses it who would have to ask
	}
	group, replaced := h.b.groups.Join(share, sub.Real, s, r.member())
	if !replaced {
		h.b.heard(r.by.Identity, sub, 1)
	}
	sub.Group = groupOf(group)
	h.enroll(r, share, sub, group, replaced)
	if r.log != nil {
		h.enlist(r, sub, was)
	}
	h.tellGroups(r)
}

// judged is a subscription as the rules see it.
func judged(sub *session.Sub) string {
	share, _, shared, _ := topic.ParseShare(sub.Filter)
	if !shared {
		return sub.Real
	}
	w := wish{share: share, real: sub.Real}
	return w.judged()
}
