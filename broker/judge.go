package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
)

// judge looks again at what a session may receive: a subscription the rules no
// longer allow ends, and deliveries are checked one by one where a deny
// overlaps (A051).
func (h *Home) judge(now time.Time, r *resident) {
	policy := h.b.authz.Policy()
	var gone []string
	for _, sub := range r.s.Subscriptions() {
		d := policy.DecideSubscribe(&r.by, sub.Filter, sub.QoS)
		switch {
		case !d.Allow:
			gone = append(gone, sub.Filter)
			h.count.Inc(metrics.SubscribeDenied)
			h.b.log.Denied(now, &r.by, auth.Subscribe, []byte(sub.Filter), d.Rule)
		case d.Check != sub.Check:
			sub.Check = d.Check
			r.s.Subscribe(sub)
			h.b.index.Subscribe(sub.Filter, h.subscriber(r, &sub))
		}
	}
	for _, filter := range gone {
		r.s.Unsubscribe(filter)
		h.b.index.Unsubscribe(filter, h.routerRef(r.ref))
	}
	denied := r.s.Purge(func(name []byte) bool { return policy.DecideDelivery(&r.by, name).Allow })
	h.count.Add(metrics.DeliveryDenied, int64(denied))
}

// PolicyChanged starts to judge every session again, a part each turn.
func (h *Home) PolicyChanged() {
	h.work.judge, h.work.judging = true, 0
	h.wire.Again()
}

// judgedPerTurn bounds how long a policy change holds up a turn; a million
// sessions take a thousand turns, which a busy loop makes in well under two
// seconds.
const judgedPerTurn = 1024

func (h *Home) judgeSome(now time.Time) {
	if !h.work.judge {
		return
	}
	end := min(int(h.work.judging)+judgedPerTurn, len(h.slots))
	for ; int(h.work.judging) < end; h.work.judging++ {
		if r := h.slots[h.work.judging]; r != nil {
			h.judge(now, r)
		}
	}
	if h.work.judge = end < len(h.slots); h.work.judge {
		h.wire.Again()
	}
}
