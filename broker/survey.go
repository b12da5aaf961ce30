package broker

import "github.com/redoubtmq/redoubt/session"

// Survey shows fn what the sessions keep in memory, with the listener that each of their
// clients came in at last, from the place on, and moves it. It is charged and ends as
// Walk does.
func (h *Home) Survey(at *Place, effort int, fn func(listener string, held session.Held)) (done bool) {
	for int(at.Slot) < len(h.slots) {
		if effort <= 0 {
			return false
		}
		effort--
		r := h.slots[at.Slot]
		*at = Place{Slot: at.Slot + 1}
		if r == nil {
			continue
		}
		effort -= rowEffort + r.s.Subscriptions()/8 + r.s.Inflight()/8
		fn(r.by.Listener, r.s.Held())
	}
	return true
}
