package broker

import "time"

// relimiting is a pass over the sessions by limits that have changed.
type relimiting struct {
	going bool
	slot  uint32 // next
}

// relimitsPerTurn bounds how long it holds up a turn, in sessions.
const relimitsPerTurn = 1000

// SettingsChanged puts limits.inflight, mqueue_* and awaiting_rel in force for the sessions
// that are there, and counts those that are connected where that is limited now: a part at once, so that with few sessions all is done when it returns,
// and the rest in turns. The broker must have the new settings.
func (h *Home) SettingsChanged(now time.Time) {
	h.work.pacing.relimiting = relimiting{going: true}
	if h.loading == nil { // else the first turn does
		h.relimitSome(now)
	}
}

func (h *Home) relimitSome(now time.Time) {
	w := &h.work.pacing.relimiting
	if !w.going {
		return
	}
	set := h.b.Settings()
	lim, crowding := set.Session, set.crowding()
	for left := relimitsPerTurn; left > 0 && int(w.slot) < len(h.slots); w.slot++ {
		left--
		r := h.slots[w.slot]
		if r == nil || !h.freshen(now, r) { // a larger window sends what waits
			continue
		}
		h.recount(r, crowding)
		before := h.spent
		h.send(r, r.s.Relimit(now, lim, h.scratch.outs))
		if h.at(r.ref) == r {
			h.wakeReplay(r)
			h.hunger(now, r)
		}
		left -= h.spent - before
	}
	if w.going = int(w.slot) < len(h.slots); w.going {
		h.wire.Again()
	}
}
