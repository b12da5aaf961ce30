package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// judge looks again at what a session may receive: a subscription the rules no
// longer allow ends, and deliveries are checked one by one where a deny
// overlaps (A051). What a session that was read from the disk has is not ended for want
// of what its client proves when it comes back: nothing is sent to it before, and then it
// is judged.
func (h *Home) judge(now time.Time, r *resident) (decisions int) {
	policy := h.b.authz.Policy()
	if r.member() != nil && r.member().Judged() {
		h.stand(r)
	}
	var gone []session.Sub
	for i := range r.s.Subscriptions() {
		sub := r.s.Subscription(i)
		d := policy.DecideSubscribe(&r.by, judged(&sub), sub.QoS)
		h.compareSubscribe(now, &r.by, judged(&sub), sub.QoS, d)
		switch {
		case !d.Perhaps():
			gone = append(gone, sub)
			h.count.Inc(metrics.SubscribeDenied)
			h.scratch.denial = h.b.log.Denied(now, &r.by, auth.Access{Action: auth.Subscribe, Topic: []byte(judged(&sub)), QoS: sub.QoS}, d.Rule)
		case d.Check != sub.Check && !d.Unsure: // until it has come back each delivery is checked
			sub.Check = d.Check
			r.s.Subscribe(sub)
			h.insert(r, &sub)
		}
	}
	for i := range gone {
		h.unsubscribe(now, r, &gone[i])
	}
	decisions = r.s.Subscriptions() + len(gone)
	h.handOver(now, r)
	denied := r.s.Purge(func(name []byte) bool {
		decisions++
		return h.cache.DecideDelivery(policy, r.subject, &r.by, name).Perhaps()
	})
	h.count.Add(metrics.DeliveryDenied, int64(denied))
	return decisions
}

// judgeLive is judge of a session whose client may be there. The protocol has no packet that
// says that a subscription has ended: where a denial ends the connection of a version 5
// client, this one does as well, and it finds out when it subscribes again.
func (h *Home) judgeLive(now time.Time, r *resident) (decisions int) {
	before := r.s.Subscriptions()
	decisions = h.judge(now, r)
	if r.s.Subscriptions() < before && r.s.Online() && r.s.Version() == mqtt.V5 && h.b.Settings().DenyDisconnect {
		h.failDenied(now, r, mqtt.NotAuthorized, h.scratch.denial)
	}
	return decisions
}

// doubtSlack is by how much the clocks of two loops' turns may differ.
const doubtSlack = time.Second

// mistrust has everything judged that is on its way to r: another home has chosen it
// by the rules, or for the identity, of before (A051).
func (r *resident) mistrust(now time.Time) { r.doubt = now.Add(doubtSlack).UnixMilli() }

// PolicyChanged judges every session again: the first part at once, so that with
// few sessions all is done when it returns, and then a part each turn. Nothing goes to a session by
// the rules of before: until its turn has come each delivery to it is judged (stale), and
// what it has in its queue before any of that is sent (freshen).
func (h *Home) PolicyChanged(now time.Time) {
	if h.loading != nil { // Restored judges all of them
		return
	}
	h.work.judge, h.work.judging, h.work.patient, h.work.judgeAt = true, 0, false, time.Time{}
	h.work.since = max(h.work.since, now.Add(doubtSlack).UnixMilli()) + 1 // later than of a session that was judged in this turn by the rules of before
	h.judgeSome(now)
}

// stale tells whether the rules have changed and r was not judged since.
func (h *Home) stale(r *resident) bool {
	return h.work.judge && r.ref.Slot >= h.work.judging && r.doubt < h.work.since
}

// freshen judges a session that is about to be sent what waits for it, if its turn has not come. It answers
// whether the session is still there.
func (h *Home) freshen(now time.Time, r *resident) (there bool) {
	if !h.stale(r) {
		return true
	}
	ref := r.ref
	r.mistrust(now)
	r.doubt = max(r.doubt, h.work.since)
	h.judgeLive(now, r)
	return h.at(ref) == r
}

// restoredJudged is PolicyChanged of sessions that have come back: the rules may have changed
// while nobody looked. After the first part it asks for no turn before Opened, because whoever
// waits for the start waits for that, too, and then it lets those who come back first go before. Until a session's turn has come nothing is weaker:
// each delivery to it is judged (restoreSub), and its client's return judges all it has.
func (h *Home) restoredJudged(now time.Time) {
	h.work.judge, h.work.judging, h.work.patient = true, 0, true
	h.judgeSome(now)
}

// judgeAfter is how long whoever comes back first has the processor before the others are judged.
const judgeAfter = time.Second

// Opened tells a home, on its loop, that clients are let in: what could wait for that goes on a
// little later.
func (h *Home) Opened(now time.Time) {
	if h.work.patient {
		h.work.judgeAt = now.Add(judgeAfter)
	}
}

// nextJudge is when judging goes on that waits for its time; zero: there is none.
func (h *Home) nextJudge() time.Time { return h.work.judgeAt }

// decisionsPerTurn bounds how long a policy change holds up a turn, by work and
// not by sessions: one with a full queue costs a thousand decisions. At a few
// hundred nanoseconds each a turn is a few hundred microseconds longer.
const decisionsPerTurn = 1000

func (h *Home) judgeSome(now time.Time) {
	switch at := h.work.judgeAt; {
	case at.IsZero():
	case now.Before(at):
		return
	default:
		h.work.judgeAt, h.work.patient = time.Time{}, false
	}
	if !h.work.judge {
		return
	}
	for left := decisionsPerTurn; left > 0 && int(h.work.judging) < len(h.slots); h.work.judging++ {
		left--
		if r := h.slots[h.work.judging]; r != nil {
			r.mistrust(now)
			left -= h.judgeLive(now, r)
		}
	}
	if h.work.judge = int(h.work.judging) < len(h.slots); h.work.judge && !h.work.patient {
		h.wire.Again()
	}
}
