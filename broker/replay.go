package broker

import (
	"bytes"
	"log/slog"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/session"
)

// replay is the walk through the retained store that a new subscription is owed.
// It advances a bounded step per turn, and only while the session has room: the
// messages wait in the store, not in memory of their own. What the store does not have in
// memory is read a portion at a time, by somebody who may wait for the disk.
type replay struct {
	filter  string // as the client wrote it
	real    string // what is matched
	cursor  retain.Cursor
	portion *retain.Portion // what was read from the cursor on; nil: nothing
	upTo    uint64          // later versions come live
	number  uint64          // no other replay of the home has it
	subID   uint32
	qos     mqtt.QoS
	owed    bool // upTo is the record of its own Subscribe
}

// replayStep bounds what one session gets in one turn, and replayTurn all of
// them. replayPortion is how many messages are read at a time.
const (
	replayStep    = 64
	replayTurn    = 512
	replayPortion = 256
)

// replay begins a walk up to a version, in place of an unfinished one of the same
// filter.
func (h *Home) replay(r *resident, sub *session.Sub, again bool, upTo uint64) {
	if again {
		h.dropReplay(r, sub.Filter)
	}
	h.addReplay(r, replay{filter: sub.Filter, real: sub.Real, upTo: upTo, subID: sub.ID, qos: sub.QoS, owed: r.log != nil})
}

func (h *Home) addReplay(r *resident, p replay) {
	h.work.replays++
	p.number = h.work.replays
	m := r.more()
	m.replays = append(m.replays, p)
}

func (h *Home) dropReplay(r *resident, filter string) {
	m := r.some
	if m == nil {
		return
	}
	before := len(m.replays)
	m.replays = slices.DeleteFunc(m.replays, func(p replay) bool {
		if p.filter == filter {
			p.portion.Release()
		}
		return p.filter == filter
	})
	if len(m.replays) < before {
		h.owes(r)
	}
	r.less()
}

// unload gives back what was read and not sent: the client has gone.
func (r *resident) unload() {
	replays := r.look().replays
	for i := range replays {
		replays[i].portion.Release()
		replays[i].portion = nil
	}
}

// wakeReplay lists a session that is owed retained messages and may have room.
func (h *Home) wakeReplay(r *resident) {
	if len(r.look().replays) > 0 && !r.replayed && !r.reading {
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
		r.less()
	}
	if len(h.work.replaying) > 0 {
		h.wire.Again()
	}
}

// step sends r some of what it is owed and tells whether it could take more now.
func (h *Home) step(now time.Time, r *resident) (more bool) {
	inline := r.inline()
	m := r.more()
	for left := replayStep; left > 0 && len(m.replays) > 0 && r.s.Online() && !r.reading; {
		p := &m.replays[0]
		progress := h.b.retained.Step(now, p.real, &p.cursor, &p.portion, left, func(f *mqtt.Frame) bool {
			qos := min(p.qos, f.QoS)
			if !r.s.RoomForReplay(qos) || inline >= inlineMax && qos > 0 || h.overRetained(now, r) {
				return false
			}
			left--
			h.owes(r)
			if f.Version > p.upTo || !h.mayReceive(now, r, f) { // the right may have gone since SUBSCRIBE
				return true
			}
			h.chargeRetained(now, r, len(f.Topic())+len(f.Payload()))
			if r.log != nil && qos > 0 {
				inline += inlineCost(f)
			}
			h.send(r, r.s.Deliver(now, session.Delivery{Frame: f, QoS: qos, Retain: true, SubID: p.subID}, h.scratch.outs)) // [MQTT-3.3.1-8 of 3.1.1]
			return true
		})
		switch progress {
		case retain.Stopped: // an acknowledgement, a drained socket or time wakes it
			if h.overRetained(now, r) {
				h.rest(now, r)
			}
			if h.b.retained.Heavy() {
				r.unload()
			}
			return false
		case retain.Over:
			left-- // a filter that finds nothing takes its time as well
			m.replays[0] = replay{}
			m.replays = m.replays[1:]
			// which the log need not hear of: from there on a walk would find nothing
		case retain.Away:
			h.readReplay(now, r, p)
			return false // what is read wakes it
		default:
			return true
		}
	}
	return len(m.replays) > 0 && r.s.Online() && !r.reading // one that comes back is woken by its arrival
}

// owes notes that the log has not heard how far the replays of a session are.
func (h *Home) owes(r *resident) {
	if r.log != nil && !r.log.owing {
		r.log.owing = true
		h.unsaved(r)
	}
}

// inline is how much a session's record repeats of messages that the log has not. Whoever
// has as much as may be repeated gets the next when one of them is acknowledged: after a
// crash all of them must be there.
func (r *resident) inline() (bytes int) {
	if r.log != nil {
		r.s.Inline(func(f *mqtt.Frame) { bytes += inlineCost(f) })
	}
	return bytes
}

// inlineCost is never less than what a message takes there.
func inlineCost(f *mqtt.Frame) int { return int(worth(f)) + 64 }

// readReplay asks for what comes next of a replay.
func (h *Home) readReplay(now time.Time, r *resident, p *replay) {
	r.reading = true
	most := replayPortion
	if h.b.retained.Heavy() { // it may have to be read again
		most = replayPortion / 16
	}
	ref, number, filter, from := r.ref, p.number, p.real, bytes.Clone(p.cursor.Bytes())
	b, wire := h.b, h.wire
	b.ask(r, func() {
		portion, err := b.retained.Read(now, filter, retain.CursorAt(from), most)
		wire.Post(func(now time.Time) { h.replayRead(now, ref, number, portion, err) })
	})
}

// replayRead takes what was read.
func (h *Home) replayRead(now time.Time, ref Ref, number uint64, portion *retain.Portion, err error) {
	r := h.at(ref)
	if r == nil {
		portion.Release()
		return
	}
	r.reading = false
	switch {
	case err != nil:
		portion.Release()
		h.b.log.Event(now, slog.LevelError, "retained messages that a client is owed could not be read; the client is closed and may come back for them", r.by.Identity+"\x00"+r.by.ClientID,
			slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("listener", r.by.Listener), slog.String("why", err.Error()))
		if r.s.Online() {
			h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.ImplementationSpecificError}, CauseServerError)
		}
		return
	case r.s.Online() && len(r.look().replays) > 0 && r.look().replays[0].number == number:
		r.look().replays[0].portion = portion
	default: // the client has gone, or does not want it any more
		portion.Release()
	}
	if r.s.Online() {
		h.wakeReplay(r)
	}
}
