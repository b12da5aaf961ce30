package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// WalkOnline shows fn who is connected, from the place on, and moves it. It spends no more
// than effort and tells whether the walk is over, as Walk does.
func (h *Home) WalkOnline(at *Place, effort int, fn func(ref Ref, by *auth.Principal)) (done bool) {
	for int(at.Slot) < len(h.slots) {
		if effort <= 0 {
			return false
		}
		effort--
		r := h.slots[at.Slot]
		*at = Place{Slot: at.Slot + 1}
		if r == nil || !r.s.Online() {
			continue
		}
		effort -= rowEffort
		fn(r.ref, &r.by)
	}
	return true
}

// GiveClaims has the client of a session judged by next from now on, what it is subscribed
// to included, if its claims are still old: else it has proved itself anew meanwhile, and
// what was found out about it then holds. next differs in its rules only.
func (h *Home) GiveClaims(now time.Time, ref Ref, old, next *auth.Claims) (given bool) {
	r := h.at(ref)
	if r == nil || r.by.Claims != old {
		return false
	}
	h.subject++
	r.by.Claims, r.subject = next, h.subject
	r.mistrust(now)
	h.judgeLive(now, r)
	return true
}
