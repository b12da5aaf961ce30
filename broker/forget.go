package broker

import "time"

// forgetEvery is how often a home forgets what it remembers of connects, though nobody
// connects any more: a fleet that has come and stays must not cost what its coming did.
const forgetEvery = 2 * time.Second

// forgetMost is how many of each are forgotten at a time: a hundred thousand are some ten
// milliseconds, and others wait.
const forgetMost = 1000

// forgetSome forgets what says nothing any more.
func (h *Home) forgetSome(now time.Time) {
	if h.nextForget().IsZero() || now.Before(h.work.forgetAt) {
		return
	}
	h.work.forgetAt = now.Add(forgetEvery)
	rest := h.work.pacing.ledger.sweep(now)
	rest = h.work.wars.sweep(now) || rest
	if h.work.flaps.sweep(now.Sub(h.work.flaps.epoch)-h.b.Settings().Flapping.Window) || rest {
		h.work.forgetAt = now // in the next turn
	}
}

// nextForget is when forgetSome has something to do; zero: never.
func (h *Home) nextForget() time.Time {
	if len(h.work.pacing.ledger.order)+len(h.work.wars.order)+len(h.work.flaps.order) == 0 {
		return time.Time{}
	}
	if h.work.forgetAt.IsZero() {
		return time.Unix(0, 0)
	}
	return h.work.forgetAt
}
