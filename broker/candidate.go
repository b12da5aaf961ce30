package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Candidate is a policy that is only tried: it decides nothing, and what it would have decided
// otherwise is counted and kept. It is safe for concurrent use; a nil policy in Rules turns
// it off.
type Candidate struct {
	Rules       *auth.Authorizer
	Differences *audit.Differences
}

// What a candidate is asked about; the words are those of the rules and of acl test.
const (
	askedPublish   = "publish"
	askedSubscribe = "subscribe"
	askedReceive   = "receive"
)

// compare tells who observes what the rules in force have just judged, and not remembered, and
// has the candidate judge it. Whatever it does has no effect on the client: a bug in it is counted.
func (h *Home) compare(now time.Time, by *auth.Principal, event string, a auth.Access, is auth.Decision) {
	if is.Rule.Temporary() { // of a probe
		return
	}
	c := h.b.candidate
	defer func() {
		if bug := recover(); bug != nil {
			h.count.Inc(metrics.ReportOnlyFailures)
			if c != nil {
				c.Differences.Fail()
			}
			h.b.log.Event(now, slog.LevelError, "a bug was caught in rules that are only tried, or in what observes clients; it has no effect", "", slog.Any("bug", bug))
		}
	}()
	if o := h.b.observer; o != nil && event != askedReceive && o.Active() {
		o.Saw(now, by, a.Action, string(a.Topic), is.Allow)
	}
	if c == nil {
		return
	}
	p := c.Rules.Policy()
	if p == nil {
		return
	}
	var would auth.Decision
	switch event {
	case askedPublish:
		would = p.Decide(by, a)
	case askedReceive:
		would = p.DecideDelivery(by, a.Topic)
	default:
		would = p.DecideSubscribe(by, string(a.Topic), a.QoS)
	}
	if is.Unsure || would.Unsure || is.Allow == would.Allow && (!is.Allow || is.Check || !would.Check) {
		return
	}
	if is.Allow {
		h.count.Inc(metrics.WouldDeny)
	} else {
		h.count.Inc(metrics.WouldAllow)
	}
	c.Differences.Add(now, by, event, string(a.Topic), is, would)
}

// compareSubscribe is compare for a subscription, which nobody remembers.
func (h *Home) compareSubscribe(now time.Time, by *auth.Principal, filter string, q mqtt.QoS, is auth.Decision) {
	if h.b.candidate != nil && h.b.candidate.Rules.Policy() != nil || h.b.observer != nil && h.b.observer.Active() {
		h.compare(now, by, askedSubscribe, auth.Access{Action: auth.Subscribe, Topic: []byte(filter), QoS: q}, is)
	}
}
