package broker

import "time"

const (
	// duePerTick bounds what one turn does for sessions whose time has come, in units of some five
	// microseconds: those that began together end together, and each may have a will for many and a
	// thousand filters.
	duePerTick = 64
	// dueAtOnce is how many it takes from the wheel.
	dueAtOnce = 32
)

// lookAtDue publishes wills and ends sessions whose time has come, as many as a turn has room for.
func (h *Home) lookAtDue(now time.Time) {
	var rest []uint32 // should one of them set off a bug, the others keep their timers
	defer func() { h.timers.PutBack(rest) }()
	for left := duePerTick; ; {
		h.scratch.fired = h.timers.Advance(now, h.scratch.fired[:0], dueAtOnce)
		n := len(h.scratch.fired)
		for rest = h.scratch.fired; len(rest) > 0; {
			if left <= 0 {
				h.wire.Again()
				return
			}
			r := h.slots[rest[0]]
			if rest = rest[1:]; r != nil {
				left -= h.lookAtOneDue(now, r)
			}
		}
		if n < dueAtOnce {
			return
		}
	}
}

// lookAtOneDue answers what it took.
func (h *Home) lookAtOneDue(now time.Time, r *resident) int {
	const perSession, perWill, filters, deliveries = 2, 4, 8, 4 // the last two: as many as are one unit
	d := r.s.Tick(now)
	units, spent := perSession, h.spent
	if d.Will != nil {
		units += perWill
	}
	if d.End {
		units += r.s.Subscriptions() / filters
	}
	h.due(now, r, d, true)
	return units + max(0, h.spent-spent)/deliveries
}
