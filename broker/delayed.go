package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/limit/load"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/topic"
)

// sender is who a delayed message is from, as the rules will judge it when it is
// due, and what the log has of it.
type sender struct {
	by  auth.Principal
	sid uint64
	ref Ref

	logged bool      // at QoS 1 and 2, where there is a log
	kept   store.SID // of a session that outlives the process
	seq    store.Seq // of its record; 0: that is on its way
	at     int64     // when it is due as the record says, Unix milliseconds
	given  bool      // to whoever has it live
	gone   bool      // its identity does not exist any more
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
// is that of a message nobody wants yet: there is no telling who will. Where there is a
// log it has the message first.
func (h *Home) postpone(now time.Time, a author, m publication) (rc mqtt.ReasonCode, w wait) {
	if m.delay > h.b.Settings().DelayMax {
		return mqtt.QuotaExceeded, w
	}
	logged := h.kept() && m.qos > 0
	if logged && h.b.full.Load() {
		h.count.Inc(metrics.StoreRefused)
		return mqtt.QuotaExceeded, w
	}
	if load.Level(h.b.overload.level.Load()) >= load.QoS0 { //nolint:gosec // a level; what waits here would be in memory for long
		h.count.Inc(metrics.DelayedRefused)
		return mqtt.QuotaExceeded, w
	}
	if m.frame == nil {
		m.frame = h.frame(now, a, &m)
		defer m.frame.Release()
	}
	by := &sender{by: *a.by, sid: a.sid, ref: a.ref, logged: logged, kept: a.kept, at: now.UnixMilli() + int64(m.delay)*1000}
	from := by.at
	if logged {
		from = delay.Never // it is not known to be in the log
	}
	id, err := h.work.delayed.Put(m.frame, from, a.by.Identity, by)
	if err != nil {
		h.count.Inc(metrics.DelayedRefused)
		return mqtt.QuotaExceeded, w
	}
	if logged {
		w.ticket = h.recordDelay(now, a, m.frame, id, by)
	}
	return mqtt.Success, w
}

// duePerTurn bounds how many delayed messages a turn publishes.
const duePerTurn = 256

// nextDelayed is when publishDelayed next has something to do; zero: never. While the
// log takes nothing it is told of the room.
func (h *Home) nextDelayed() time.Time {
	if h.journal.over() {
		return time.Time{}
	}
	return h.work.delayed.Next()
}

// publishDelayed publishes what is due. The rules of now judge it, for who its
// sender was.
func (h *Home) publishDelayed(now time.Time) {
	for range duePerTurn {
		if next := h.nextDelayed(); next.IsZero() || now.Before(next) {
			return
		}
		h.work.due = h.work.delayed.Due(now, 1, h.work.due[:0])
		m := h.work.due[0]
		h.work.due[0] = delay.Message[*sender]{}
		if !m.By.gone && (h.silenced(now, &m.By.by) || h.withdrawn(&m.By.by)) {
			m.By.gone = true
		}
		if m.By.logged {
			h.endDelay(now, &m)
		} else if !m.By.gone {
			h.publishDue(now, &m, notDelayed)
			h.count.Inc(metrics.DelayedPublished)
		}
		m.Frame.Release()
	}
	h.wire.Again()
}

// publishDue publishes one message; how counts for one that the log has. It answers what
// a publish of it would be answered.
func (h *Home) publishDue(now time.Time, m *delay.Message[*sender], how due) mqtt.ReasonCode {
	by, f := m.By, m.Frame
	a := author{by: &by.by, sid: by.sid, ref: by.ref, kept: by.kept, due: how}
	if r, present := h.lookup(keyOf(&by.by, by.by.ClientID)); present && a.ref == (Ref{}) { // it was restored
		a.sid, a.ref = r.s.SID, r.ref
	}
	rc, _ := h.route(now, a, publication{name: f.Topic(), frame: f, qos: f.QoS, retain: f.Retain})
	return rc
}

// forgetDelayed drops what an identity that exists no more had for later: nobody
// may speak for it. What the log has ends there, too.
func (h *Home) forgetDelayed(now time.Time, gone map[string]bool) {
	var page []delay.Message[*sender]
	for after := uint64(0); ; {
		page = h.work.delayed.List(after, 1000, page[:0])
		if len(page) == 0 {
			return
		}
		for _, m := range page {
			after = m.ID
			switch {
			case !gone[m.Owner]:
			case !m.By.logged:
				h.work.delayed.Delete(m.ID)
			default:
				m.By.gone = true
				if m.Due != delay.Never { // else the log is about to say what became of it
					h.work.delayed.Set(m.ID, now.UnixMilli())
				}
			}
		}
	}
}
