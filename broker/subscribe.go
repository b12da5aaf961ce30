package broker

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/topic"
)

// Subscribe answers a SUBSCRIBE [MQTT-3.8.4-1] with one reason code for each
// filter, each judged as if it had come alone [MQTT-3.8.4-5], in its order
// [MQTT-3.9.3-1], and afterwards the retained messages of those that want them.
func (h *Home) Subscribe(now time.Time, ref Ref, p *mqtt.Subscribe) {
	r := h.talking(ref)
	if r == nil || !h.chargeFilters(now, r, len(p.Filters)) {
		return
	}
	ack := mqtt.Suback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Filters))} // [MQTT-2.2.1-6] [MQTT-3.8.4-2]
	var before []session.Sub                                                                   // of a session that is kept; without a Filter: there was none
	if r.log != nil {
		before = make([]session.Sub, len(p.Filters))
	}
	granted, denial := false, audit.Ref(0)
	h.part()
	for i := range p.Filters {
		if before != nil {
			before[i], _ = r.s.Subscribed(p.Filters[i].Filter)
		}
		h.scratch.denial = 0
		rc, e := h.subscribe(now, r, &p.Filters[i], p.SubscriptionID)
		denial = cmp.Or(denial, h.scratch.denial)
		if e == nil && rc >= 0x80 && r.s.Version() == mqtt.V31 {
			// 3.1 has no word for it, and a granted QoS would be a lie.
			e = &mqtt.Error{Reason: rc, Detail: "a subscription was refused, which MQTT 3.1 cannot say"}
		}
		if e != nil && e.Reason == mqtt.NotAuthorized && e.Detail == "" {
			h.failDenied(now, r, e.Reason, denial)
			return
		}
		if e != nil {
			h.fail(now, r, e)
			return
		}
		if rc >= 0x80 && rc != mqtt.NotAuthorized { // a denial is counted and told where it is decided
			h.count.Inc(metrics.SubscribeRefused)
			h.b.log.Mistaken(now, slog.LevelInfo, "subscription refused", &r.by, rc.String(), func() []slog.Attr {
				return []slog.Attr{slog.String("address", r.by.Addr.String()), slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID),
					slog.String("listener", r.by.Listener), slog.String("filter", p.Filters[i].Filter), slog.String("reason", rc.String())}
			})
		}
		ack.Reasons[i] = rc
		granted = granted || rc < 0x80
	}
	explainDenied(r, &ack, denial)
	if r.log != nil && granted {
		h.subackWhenKept(r, p, &ack, before)
		return
	}
	h.suback(now, r, &ack)
}

// subackWhenKept answers when the subscriptions are on disk, or takes back those that
// cannot be: then everything is as it was before.
func (h *Home) subackWhenKept(r *resident, p *mqtt.Subscribe, ack *mqtt.Suback, before []session.Sub) {
	subject := r.subject
	h.after(r, func(now time.Time, r *resident, seq store.Seq, err error) {
		if r == nil {
			return
		}
		for i := 0; err != nil && i < len(before); i++ {
			if ack.Reasons[i] >= 0x80 {
				continue
			}
			ack.Reasons[i] = refusalOf(err)
			sub, there := r.s.Subscribed(p.Filters[i].Filter)
			switch old := before[i]; {
			case !there:
			case old.Filter == "":
				h.unsubscribe(now, r, &sub)
			default:
				h.insert(r, &old)
				r.s.Subscribe(old)
				h.rejoin(r, old.Filter)
			}
		}
		if r.subject != subject || !r.s.Online() {
			return
		}
		if err != nil && r.s.Version() == mqtt.V31 {
			h.fail(now, r, &mqtt.Error{Reason: refusalOf(err), Detail: "a subscription was refused, which MQTT 3.1 cannot say"})
			return
		}
		if err != nil || !h.b.shared() {
			h.suback(now, r, ack)
			return
		}
		// A publisher of another node must not miss a subscriber who was told that it is one.
		ref := r.ref
		h.b.durable.Everywhere(seq, func() {
			h.wire.Post(func(now time.Time) {
				if r := h.at(ref); r != nil && r.subject == subject && r.s.Online() {
					h.suback(now, r, ack)
				}
			})
		})
	})
}

// suback answers a SUBSCRIBE, and begins with what is retained.
func (h *Home) suback(now time.Time, r *resident, ack *mqtt.Suback) {
	if h.answer(now, r, ack.Append(nil, r.s.Version(), 0)) {
		h.wakeReplay(r)
	}
}

// subscribe judges and adds one subscription. Success is the granted QoS
// [MQTT-3.8.4-7], at most what is offered [MQTT-3.2.2-10]; an error ends the
// connection. One that replaces another takes its place in one step, so that no
// message is lost between them [MQTT-3.8.4-4].
func (h *Home) subscribe(now time.Time, r *resident, ask *mqtt.Subscription, id uint32) (mqtt.ReasonCode, *mqtt.Error) {
	set := h.b.Settings()
	w, rc := h.filter(r, ask.Filter, set)
	if rc != mqtt.Success {
		return rc, nil
	}
	if w.share != "" && ask.NoLocal {
		return 0, &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.8.3-4", Detail: "No Local on a shared subscription"}
	}
	old, had := r.s.Subscribed(ask.Filter)
	if rc := h.checkSubscription(r, &w, had, set); rc != mqtt.Success {
		return rc, nil
	}
	d := h.b.authz.Policy().DecideSubscribe(&r.by, w.judged(), ask.QoS)
	h.compareSubscribe(now, &r.by, w.judged(), ask.QoS, d)
	if !d.Allow {
		h.count.Inc(metrics.SubscribeDenied)
		h.scratch.denial = h.b.log.Denied(now, &r.by, auth.Access{Action: auth.Subscribe, Topic: []byte(w.judged()), QoS: ask.QoS}, d.Rule)
		h.talk(r).Denied++
		if r.s.Version() == mqtt.V5 && set.DenyDisconnect {
			return 0, &mqtt.Error{Reason: mqtt.NotAuthorized}
		}
		return mqtt.NotAuthorized, nil
	}
	if w.exclusive && !h.b.only.Take(w.real, h.routerRef(r.ref)) {
		return mqtt.QuotaExceeded, nil
	}
	if had && old.Real != w.real { // the rules for names have changed in between
		h.unsubscribe(now, r, &old)
		old, had = session.Sub{}, false
	}
	sub := session.Sub{
		Filter: ask.Filter, Real: w.real, Exclusive: w.exclusive, ID: id, QoS: min(ask.QoS, r.offer.MaxQoS),
		NoLocal: ask.NoLocal, RetainAsPublished: ask.RetainAsPublished, Check: d.Check,
		RetainedSeen: old.RetainedSeen,
	}
	left := r.leavesBy(&sub)
	h.insert(r, &sub)
	if left != nil {
		h.recordLeave(now, r, left)
	}
	wants := w.share == "" && (ask.RetainHandling == 0 || ask.RetainHandling == 1 && !had) // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]; a shared subscription gets none [§4.8.2]
	if r.log != nil {
		r.s.Subscribe(sub)
		h.recordSub(now, r, &sub, wants, had)
	} else {
		if wants {
			h.owe(r, &sub, had, h.b.retained.Version()) // after the insert: see session.SeenRetained
		}
		r.s.Subscribe(sub)
	}
	h.tell(now, r, EventSubscribed, func(e *Event) { e.Topic, e.QoS = sub.Filter, new(int(sub.QoS)) })
	return mqtt.ReasonCode(sub.QoS), nil
}

// owe begins the replay of the retained messages that a subscription has just become
// owed, up to a version: what is newer comes live.
func (h *Home) owe(r *resident, sub *session.Sub, had bool, version uint64) {
	if !had { // what is on its way by the old one is not lost [MQTT-3.8.4-4]
		sub.RetainedSeen = version
	}
	if h.b.retained.Lacks(sub.Real) { // nearly always: a walk, in a later turn, would find as much
		if had {
			h.dropReplay(r, sub.Filter)
		}
		return
	}
	h.replay(r, sub, had, version)
}

// checkSubscription judges a filter by what is offered and by the limits.
func (h *Home) checkSubscription(r *resident, w *wish, had bool, set *Settings) mqtt.ReasonCode {
	wild := topic.HasWildcard(w.real)
	if wild && !r.offer.WildcardAvailable {
		return mqtt.WildcardSubscriptionsNotSupported // [MQTT-3.8.3-2 of 3.1.1]
	}
	if had {
		return mqtt.Success
	}
	if r.s.Subscriptions() >= set.Subscriptions || (wild && r.s.Wildcards() >= set.WildcardSubscriptions) {
		return mqtt.QuotaExceeded // A037
	}
	for n := 0; h.crowded(r, set); n++ {
		if n == leaveForRoom || h.work.left.many == 0 {
			return mqtt.QuotaExceeded // A042, A066
		}
		h.leaveOne() // it may be what its own session before has left
	}
	return mqtt.Success
}

// crowded tells whether there is no room for another subscription of r's.
func (h *Home) crowded(r *resident, set *Settings) bool {
	if most := set.SubscriptionsTotal; most > 0 && h.b.subscribed.Load() >= int64(most) {
		return true
	}
	return h.b.overheard(r.by.Identity, set)
}

// subscriber is what the index keeps of a subscription.
func (h *Home) subscriber(r *resident, sub *session.Sub) router.Subscriber {
	o := router.Opts(sub.QoS)
	if sub.NoLocal {
		o |= router.NoLocal
	}
	if sub.RetainAsPublished {
		o |= router.RetainAsPublished
	}
	if sub.Check {
		o |= router.Check
	}
	if r.log != nil && sub.QoS > 0 {
		o |= router.Durable
	}
	return router.Subscriber{Ref: h.routerRef(r.ref), SubID: sub.ID, Opts: o}
}

// Unsubscribe answers an UNSUBSCRIBE [MQTT-3.10.4-4], each filter as if it had come
// alone [MQTT-3.10.4-6]. What is already on its way is completed
// [MQTT-3.10.4-3].
func (h *Home) Unsubscribe(now time.Time, ref Ref, p *mqtt.Unsubscribe) {
	r := h.talking(ref)
	if r == nil || !h.chargeFilters(now, r, len(p.Filters)) {
		return
	}
	ack := mqtt.Unsuback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Filters))} // [MQTT-2.2.1-6] [MQTT-3.10.4-5]
	left := false
	h.part()
	for i, filter := range p.Filters {
		sub, existed := r.s.Subscribed(filter) // [MQTT-3.10.4-1]
		if !existed {
			ack.Reasons[i] = mqtt.NoSubscriptionExisted
			continue
		}
		h.unsubscribe(now, r, &sub)
		left = true
	}
	if r.log == nil || !left {
		h.answer(now, r, ack.Append(nil, r.s.Version(), 0))
		return
	}
	subject := r.subject
	h.after(r, func(now time.Time, r *resident, _ store.Seq, err error) {
		if r == nil || r.subject != subject || !r.s.Online() {
			return
		}
		if err != nil && r.s.Version() != mqtt.V5 { // which has no word for it
			h.fail(now, r, &mqtt.Error{Reason: refusalOf(err), Detail: "the end of a subscription could not be stored, which this version of MQTT cannot say"})
			return
		}
		for i := range ack.Reasons {
			if err != nil && ack.Reasons[i] < 0x80 {
				ack.Reasons[i] = mqtt.UnspecifiedError // it would be back after a crash
			}
		}
		h.answer(now, r, ack.Append(nil, r.s.Version(), 0))
	})
}

// unsubscribe ends one subscription of r: it brings nothing new [MQTT-3.10.4-2].
func (h *Home) unsubscribe(now time.Time, r *resident, sub *session.Sub) {
	r.s.Unsubscribe(sub.Filter)
	h.dropReplay(r, sub.Filter)
	h.retract(r, sub)
	if r.log != nil {
		if i := r.log.find(sub.Filter); i >= 0 {
			h.recordLeave(now, r, &r.log.subs[i])
		}
		h.dismissSub(r, sub.Filter)
		h.unrecordSub(now, r, sub.Filter)
	}
	if sub.Group != (session.Group{}) {
		h.reshare(now, r, false)
	}
	h.tell(now, r, EventUnsubscribed, func(e *Event) { e.Topic = sub.Filter })
}

// answer sends a packet that cannot be made smaller. A client that cannot take it
// could not know what became of its request [MQTT-3.1.2-24].
func (h *Home) answer(now time.Time, r *resident, b []byte) (sent bool) {
	if !r.s.Fits(len(b)) {
		h.fail(now, r, &mqtt.Error{Reason: mqtt.PacketTooLarge, Rule: "MQTT-3.1.2-24", Detail: "the answer is over the client's Maximum Packet Size"})
		return false
	}
	h.wire.Send(r.conn, session.Packet(b))
	return true
}
