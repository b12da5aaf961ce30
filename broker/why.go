package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Question is what a client wants to do, as it would ask for it.
type Question struct {
	Action auth.Action
	Topic  string // a topic name; to subscribe a topic filter
	QoS    mqtt.QoS
	Retain bool
}

// Answer is what the broker would say to it at this moment. Nothing was done.
type Answer struct {
	By     auth.Principal
	Judged string // what the rules are asked about: without $delayed/, rewritten, mounted
	// Refused is not Success where it is not the rules that refuse; Limit says what does.
	Refused mqtt.ReasonCode
	Limit   string
	// Decision is that of the rules; its Rule is nil if they were not asked.
	Decision auth.Decision
}

// Allowed tells whether the client could do it.
func (a *Answer) Allowed() bool { return a.Refused == mqtt.Success && a.Decision.Allow }

// Why judges q as if the client of a session had sent it, in the order in which a packet
// is judged; there is false if the session has ended.
func (h *Home) Why(_ time.Time, ref Ref, q *Question) (a Answer, there bool) {
	r := h.at(ref)
	if r == nil {
		return a, false
	}
	a.By = r.by
	if q.Action == auth.Publish {
		h.whyPublish(r, q, &a)
	} else {
		h.whySubscribe(r, q, &a)
	}
	return a, true
}

func (a *Answer) refuse(e *mqtt.Error) {
	a.Refused, a.Limit = e.Reason, e.Detail
	if e.Rule != "" {
		a.Limit += " [" + e.Rule + "]"
	}
}

func (h *Home) whyPublish(r *resident, q *Question, a *Answer) {
	if e := r.offer.checkPublish(&mqtt.Publish{QoS: q.QoS, Retain: q.Retain}); e != nil {
		a.refuse(e)
		return
	}
	_, name, e := h.topicName(&r.by, []byte(q.Topic))
	if e != nil {
		a.refuse(e)
		return
	}
	a.Judged = string(name)
	a.Decision = h.b.authz.Policy().Decide(&r.by, auth.Access{Action: auth.Publish, Topic: name, QoS: q.QoS, Retain: q.Retain})
}

func (h *Home) whySubscribe(r *resident, q *Question, a *Answer) {
	set := h.b.Settings()
	w, rc := h.filter(r, q.Topic, set)
	if rc != mqtt.Success {
		a.Refused, a.Limit = rc, "the filter is not valid here, is over limits.topic_levels or limits.topic_bytes, or asks for what the listener does not offer"
		return
	}
	a.Judged = w.judged()
	_, had := r.s.Subscribed(q.Topic)
	if rc := h.checkSubscription(r, &w, had, set); rc != mqtt.Success {
		a.Refused, a.Limit = rc, limitOfSubscription(rc)
		return
	}
	a.Decision = h.b.authz.Policy().DecideSubscribe(&r.by, w.judged(), q.QoS)
}

// limitOfSubscription is what checkSubscription refuses for, in words.
func limitOfSubscription(rc mqtt.ReasonCode) string {
	if rc == mqtt.WildcardSubscriptionsNotSupported {
		return "wildcard subscriptions are not offered here (mqtt.wildcard_subscriptions)"
	}
	return "there is no room for one more subscription: limits.subscriptions, limits.wildcard_subscriptions, limits.subscriptions_total, or the share of it that one identity may have"
}
