package broker

import (
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/session"
)

// replay is the walk through the retained store that a new subscription is owed.
// It advances a bounded step per turn, and only while the session has room: the
// messages wait in the store, not in memory of their own.
type replay struct {
	filter string // as the client wrote it
	real   string // what is matched
	cursor retain.Cursor
	upTo   uint64 // later versions come live
	subID  uint32
	qos    mqtt.QoS
}

// replayStep bounds what one session gets in one turn, and replayTurn all of
// them.
const (
	replayStep = 64
	replayTurn = 512
)

// replay begins a walk up to a version, in place of an unfinished one of the same
// filter.
func (h *Home) replay(r *resident, sub *session.Sub, again bool, upTo uint64) {
	if again {
		r.dropReplay(sub.Filter)
	}
	r.replays = append(r.replays, replay{filter: sub.Filter, real: sub.Real, upTo: upTo, subID: sub.ID, qos: sub.QoS})
}

func (r *resident) dropReplay(filter string) {
	r.replays = slices.DeleteFunc(r.replays, func(p replay) bool { return p.filter == filter })
}

// wakeReplay lists a session that is owed retained messages and may have room.
func (h *Home) wakeReplay(r *resident) {
	if len(r.replays) > 0 && !r.replayed {
		r.replayed = true
		h.work.replaying = append(h.work.replaying, r.ref)
		h.wire.Again()
	}
}

// replaySome goes round the listed sessions.
func (h *Home) replaySome(now time.Time) {
	list := h.work.replaying
	h.work.replaying = nil
	for i, ref := range list {
		if i >= replayTurn/replayStep {
			h.work.replaying = append(h.work.replaying, list[i:]...)
			break
		}
		r := h.at(ref)
		if r == nil {
			continue
		}
		r.replayed = false
		if h.step(now, r) {
			h.wakeReplay(r)
		}
	}
	if len(h.work.replaying) > 0 {
		h.wire.Again()
	}
}

// step sends r some of what it is owed and tells whether it could take more now.
func (h *Home) step(now time.Time, r *resident) (more bool) {
	for left := replayStep; left > 0 && len(r.replays) > 0 && r.s.Online(); {
		p := &r.replays[0]
		full := false
		done := h.b.retained.Walk(now, p.real, &p.cursor, left, func(f *mqtt.Frame) bool {
			qos := min(p.qos, f.QoS)
			if !r.s.RoomForReplay(qos) {
				full = true
				return false
			}
			left--
			if f.Version > p.upTo || !h.mayReceive(now, r, f) { // the right may have gone since SUBSCRIBE
				return true
			}
			h.send(r, r.s.Deliver(now, session.Delivery{Frame: f, QoS: qos, Retain: true, SubID: p.subID}, h.scratch.outs)) // [MQTT-3.3.1-8 of 3.1.1]
			return true
		})
		switch {
		case full:
			return false // an acknowledgement or a drained socket wakes it
		case done:
			r.replays = slices.Delete(r.replays, 0, 1)
			if len(r.replays) == 0 {
				r.replays = nil
			}
		default:
			return true
		}
	}
	return len(r.replays) > 0 && r.s.Online() // one that comes back is woken by its arrival
}
