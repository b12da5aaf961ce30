package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// sender is who a delayed message is from, as the rules will judge it when it is
// due.
type sender struct {
	by  auth.Principal
	sid uint64
	ref Ref
}

// delayed splits $delayed/seconds/topic. Where it is not offered the name is like
// any other, in a namespace that nobody may publish to.
func (s *Settings) delayed(name []byte) (seconds uint32, inner []byte, refused *mqtt.Error) {
	if s.DelayMax == 0 || len(name) == 0 || name[0] != '$' {
		return 0, name, nil
	}
	seconds, rest, ok, err := topic.ParseDelayed(name)
	switch {
	case err != nil:
		return 0, nil, &mqtt.Error{Reason: mqtt.TopicNameInvalid, Detail: err.Error()}
	case !ok:
		return 0, name, nil
	}
	return seconds, rest, nil
}

// postpone keeps a message that its sender may publish until it is due. The answer
// is that of a message nobody wants yet: there is no telling who will.
func (h *Home) postpone(now time.Time, a author, m publication) mqtt.ReasonCode {
	if m.delay > h.b.Settings().DelayMax {
		return mqtt.QuotaExceeded
	}
	if m.frame == nil {
		m.frame = h.frame(now, a, m)
		defer m.frame.Release()
	}
	due := now.UnixMilli() + int64(m.delay)*1000
	if _, err := h.work.delayed.Put(m.frame, due, a.by.Identity, sender{*a.by, a.sid, a.ref}); err != nil {
		h.count.Inc(metrics.DelayedRefused)
		return mqtt.QuotaExceeded
	}
	return mqtt.Success
}

// duePerTurn bounds how many delayed messages a turn publishes.
const duePerTurn = 256

// publishDelayed publishes what is due. The rules of now judge it, for who its
// sender was.
func (h *Home) publishDelayed(now time.Time) {
	if next := h.work.delayed.Next(); next.IsZero() || now.Before(next) {
		return
	}
	h.work.due = h.work.delayed.Due(now, duePerTurn, h.work.due[:0])
	for i := range h.work.due {
		m := &h.work.due[i]
		f := m.Frame
		h.route(now, author{by: &m.By.by, sid: m.By.sid, ref: m.By.ref}, publication{name: f.Topic(), frame: f, qos: f.QoS, retain: f.Retain})
		h.count.Inc(metrics.DelayedPublished)
		f.Release()
		*m = delay.Message[sender]{}
	}
	if len(h.work.due) == duePerTurn {
		h.wire.Again()
	}
}

// forgetDelayed drops what an identity that exists no more had for later: nobody
// may speak for it.
func (h *Home) forgetDelayed(gone map[string]bool) {
	var page []delay.Message[sender]
	for after := uint64(0); ; {
		page = h.work.delayed.List(after, 1000, page[:0])
		if len(page) == 0 {
			return
		}
		for _, m := range page {
			after = m.ID
			if gone[m.Owner] {
				h.work.delayed.Delete(m.ID)
			}
		}
	}
}
