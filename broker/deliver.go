package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
)

// broadMin is from how many subscriptions on a message is for many.
const broadMin = 64

// fan gives f to every session in h.matches: at once to those that live here, by
// the lanes to the others. settled is false when one of the lanes is blocked.
func (h *Home) fan(now time.Time, a author, f *mqtt.Frame) (settled bool) {
	subs := h.matches.Subs
	h.spent += len(subs)
	h.scratch.members, h.scratch.promises = h.scratch.members[:0], h.scratch.promises[:0]
	if h.matches.Filters > 1 { // only then can a session be there twice
		slices.SortFunc(subs, func(a, b router.Subscriber) int {
			if a.Ref.Less(b.Ref) {
				return -1
			}
			return 1
		})
	}
	settled = true
	broad := len(subs) >= broadMin
	if broad {
		was := h.wire.Broad(true)
		defer h.wire.Broad(was)
	}
	for len(subs) > 0 {
		n := 1
		for n < len(subs) && subs[n].Ref == subs[0].Ref {
			n++
		}
		to := subs[0].Ref
		if to.Home == router.GroupHome {
			if a.whom != others {
				settled = h.share(now, a, f, to) && settled
			}
			subs = subs[n:]
			continue
		}
		if a.whom == shares || a.due == dueAgain { // the others' turn is another
			subs = subs[n:]
			continue
		}
		self := to.Home == h.id && to.Slot == a.ref.Slot && to.Gen == a.ref.Gen
		if w, any := merge(subs[:n], f, self); any && !(a.logged && w.durable && w.qos > 0) { // those come from the log
			w.broad = broad
			if to.Home == h.id {
				h.deliver(now, to, f, w)
			} else {
				settled = h.lanes.add(to, f, w) && settled
			}
		}
		subs = subs[n:]
	}
	return settled
}

// merge makes one delivery of all subscriptions of a session that match: at the
// highest granted QoS [MQTT-3.3.4-2], with every Subscription Identifier
// [MQTT-3.3.4-4], not by those that want no message of their own session
// [MQTT-3.8.3-3].
func merge(subs []router.Subscriber, f *mqtt.Frame, self bool) (w want, any bool) {
	for i := range subs {
		o := subs[i].Opts
		if self && o&router.NoLocal != 0 {
			continue
		}
		w.qos = max(w.qos, mqtt.QoS(o&3))
		w.retain = w.retain || o&router.RetainAsPublished != 0
		w.check = w.check || o&router.Check != 0
		w.durable = w.durable || o&router.Durable != 0
		switch id := subs[i].SubID; {
		case id == 0:
		case w.subID == 0:
			w.subID = id
		default:
			if w.subIDs == nil {
				w.subIDs = append(w.subIDs, w.subID)
			}
			w.subIDs = append(w.subIDs, id)
		}
		any = true
	}
	w.qos = min(w.qos, f.QoS)       // [MQTT-3.8.4-8]
	w.retain = w.retain && f.Retain // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
	return w, any
}

// deliver gives f to one session of this home.
func (h *Home) deliver(now time.Time, to router.Ref, f *mqtt.Frame, w want) {
	r := h.at(Ref{to.Slot, to.Gen})
	if r == nil { // it ended while the message was on its way
		h.undeliverable(now, to, f, w, metrics.MessagesDroppedNoSession)
		return
	}
	if w.promised && r.member() != nil {
		r.member().Arrived()
		defer h.tellGroups(r)
	}
	if (w.check || f.CreatedAt <= r.doubt || h.stale(r)) && !h.mayReceive(now, r, f) {
		if w.group != (session.Group{}) {
			h.pass(now, f, w, to)
		}
		return
	}
	if w.group != (session.Group{}) && w.passes == 0 && !r.s.Online() && h.pass(now, f, w, to) {
		return // its connection went while the message was on its way [§4.8.2]
	}
	if w.group == (session.Group{}) && r.s.SeenRetained(f.Topic(), f.Version) {
		return
	}
	h.send(r, r.s.Deliver(now, session.Delivery{Frame: f, QoS: w.qos, Retain: w.retain, SubID: w.subID, SubIDs: w.subIDs, Group: w.group}, h.scratch.outs))
	if d := r.s.Dropped(); d.QueueFull > 0 {
		h.queueFull(now, r)
	} else if d.Overload > 0 {
		h.countDrops(r)
	}
}

// mayReceive judges one delivery to a subscription that a deny rule overlaps.
func (h *Home) mayReceive(now time.Time, r *resident, f *mqtt.Frame) bool {
	d := h.cache.DecideDelivery(h.b.authz.Policy(), r.subject, &r.by, f.Topic())
	if h.cache.Missed() {
		h.compare(now, &r.by, askedReceive, auth.Access{Action: auth.Subscribe, Topic: f.Topic()}, d)
	}
	if !d.Perhaps() {
		h.count.Inc(metrics.DeliveryDenied)
		h.b.log.Undelivered(now, &r.by, f.Topic(), d.Rule)
	}
	return d.Perhaps()
}
