package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/topic"
)

// Subscribe handles a SUBSCRIBE: one reason code for each filter, in its order
// [MQTT-3.9.3-1], and afterwards the retained messages of those that want them.
func (h *Home) Subscribe(now time.Time, ref Ref, p *mqtt.Subscribe) {
	r := h.at(ref)
	if r == nil {
		return
	}
	ack := mqtt.Suback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Filters))}
	for i := range p.Filters {
		rc := h.subscribe(now, r, &p.Filters[i], p.SubscriptionID)
		if rc == mqtt.NotAuthorized && r.s.Version() == mqtt.V5 && h.b.Settings().DenyDisconnect {
			h.fail(now, r, &mqtt.Error{Reason: rc})
			return
		}
		ack.Reasons[i] = rc
	}
	if h.answer(now, r, ack.Append(nil, r.s.Version(), 0)) {
		h.wakeReplay(r)
	}
}

// subscribe judges and adds one subscription. Success is the granted QoS.
func (h *Home) subscribe(now time.Time, r *resident, want *mqtt.Subscription, id uint32) mqtt.ReasonCode {
	set := h.b.Settings()
	old, had := r.s.Subscribed(want.Filter)
	if rc := h.checkSubscription(r, want, had, set); rc != mqtt.Success {
		return rc
	}
	d := h.b.authz.Policy().DecideSubscribe(&r.by, want.Filter, want.QoS)
	if !d.Allow {
		h.count.Inc(metrics.SubscribeDenied)
		h.b.log.Denied(now, &r.by, auth.Subscribe, []byte(want.Filter), d.Rule)
		return mqtt.NotAuthorized
	}
	sub := session.Sub{
		Filter: want.Filter, ID: id, QoS: min(want.QoS, set.MaxQoS),
		NoLocal: want.NoLocal, RetainAsPublished: want.RetainAsPublished, Check: d.Check,
		RetainedSeen: old.RetainedSeen,
	}
	h.b.index.Subscribe(want.Filter, h.subscriber(r, &sub))
	if want.RetainHandling == 0 || (want.RetainHandling == 1 && !had) { // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
		sub.RetainedSeen = h.b.retained.Version() // after the insert: see session.SeenRetained
		h.replay(r, &sub, had)
	}
	r.s.Subscribe(sub)
	return mqtt.ReasonCode(sub.QoS)
}

// checkSubscription judges a filter by its form and the limits.
func (h *Home) checkSubscription(r *resident, want *mqtt.Subscription, had bool, set *Settings) mqtt.ReasonCode {
	if _, _, shared, _ := topic.ParseShare(want.Filter); shared {
		return mqtt.SharedSubscriptionsNotSupported
	}
	if topic.ValidFilter(want.Filter) != nil || !set.topicFits([]byte(want.Filter)) {
		return mqtt.TopicFilterInvalid
	}
	wild := topic.HasWildcard(want.Filter)
	if wild && !set.WildcardAvailable {
		return mqtt.WildcardSubscriptionsNotSupported
	}
	if had {
		return mqtt.Success
	}
	if len(r.s.Subscriptions()) >= set.Subscriptions || (wild && r.s.Wildcards() >= set.WildcardSubscriptions) {
		return mqtt.QuotaExceeded // A037
	}
	return mqtt.Success
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
	return router.Subscriber{Ref: h.routerRef(r.ref), SubID: sub.ID, Opts: o}
}

// Unsubscribe handles an UNSUBSCRIBE. What is already on its way is completed
// [MQTT-3.10.4-3].
func (h *Home) Unsubscribe(now time.Time, ref Ref, p *mqtt.Unsubscribe) {
	r := h.at(ref)
	if r == nil {
		return
	}
	ack := mqtt.Unsuback{PacketID: p.PacketID, Reasons: make([]mqtt.ReasonCode, len(p.Filters))}
	for i, filter := range p.Filters {
		if !r.s.Unsubscribe(filter) {
			ack.Reasons[i] = mqtt.NoSubscriptionExisted
			continue
		}
		h.b.index.Unsubscribe(filter, h.routerRef(r.ref))
		r.dropReplay(filter)
	}
	h.answer(now, r, ack.Append(nil, r.s.Version(), 0))
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
