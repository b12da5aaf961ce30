package broker

import (
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// ended is a session that is no more and of which the log has not heard: it would come
// back when the process begins again.
type ended struct {
	sid   store.SID
	epoch uint64
	sure  uint64 // of the last claim that is in the log: epoch, if that one came to nothing; 0: none
	left  *parting

	unsaid bool // the log has refused it: it counts as a session
}

// parting is a session that has ended and of whose end the log has not heard yet: a crash
// would bring it back. What it leaves to its groups the log has until then as the session's,
// of which nobody else says that it is wanted.
type parting struct {
	key     session.Key
	ends    int                       // that are not decided: a session that came after it may have ended as well
	waiting func(refusal *mqtt.Error) // the arrival that waits for it; nil: none
	failed  bool                      // the log will never hear of it

	first store.Seq // nothing of what it leaves is older; 0: it leaves nothing
	wants *Wants
	lines []fact.FilterID // the groups
}

// leaves is what r leaves to its groups if it ends now.
func (h *Home) leaves(r *resident) *parting {
	d := r.log
	p := &parting{key: r.key()}
	after := h.applied // what is on its way to r comes later
	if d.lag.first != 0 {
		after = min(after, d.pos)
	}
	for i := range d.subs {
		s := &d.subs[i]
		if s.id == 0 || s.line == nil {
			continue
		}
		if p.wants == nil {
			p.wants = NewWants()
		}
		p.wants.note(s.id, after)
		p.lines = append(p.lines, s.line.id)
	}
	if p.wants == nil {
		return p
	}
	p.first = after + 1
	if first := r.least(); first != 0 {
		p.first = min(p.first, first)
	}
	for _, seq := range r.s.Under(uint64(unknown), nil) {
		p.wants.Under[store.Seq(seq)] = true
	}
	return p
}

// parts keeps what an ended session leaves, with what one of its name has left before.
func (h *Home) parts(sid store.SID, p *parting) *parting {
	old := h.parting[sid]
	switch {
	case old == nil:
		if h.parting == nil {
			h.parting = make(map[store.SID]*parting)
		}
		h.parting[sid], old = p, p
	case old.wants == nil:
		old.wants, old.first, old.lines = p.wants, p.first, p.lines
	case p.wants != nil:
		old.wants.Add(p.wants)
		old.first = min(old.first, p.first)
		old.lines = append(old.lines, p.lines...)
	}
	old.ends++
	return old
}

// awaitEnd has an arrival wait for the log to hear of the end of a session of its name. One
// that waits already would be taken over at once, and is let go: whoever comes and goes while
// the disk hangs must not be remembered each time.
func (h *Home) awaitEnd(key session.Key, a *Arrival) (later bool, refusal *mqtt.Error) {
	if len(h.parting) == 0 {
		return false, nil
	}
	p := h.parting[h.b.durable.Key.SID(key.Mountpoint, key.Identity, key.ClientID)]
	switch {
	case p == nil:
		return false, nil
	case p.failed:
		return false, notEnded(store.ErrFailed)
	}
	p.answer(&mqtt.Error{Reason: mqtt.ServerBusy, Detail: "a newer connection with this client id waits for the log to hear of the end of the session before"})
	p.waiting = a.Later
	return true, nil
}

// notEnded is what an arrival is told while the log does not take the end of the session
// before.
func notEnded(err error) *mqtt.Error {
	return &mqtt.Error{Reason: refusalOf(err), Detail: "the end of the session that was there before is not in the log: " + err.Error()}
}

// answer tells who waits for an end that it is so, or why it is not.
func (p *parting) answer(refusal *mqtt.Error) {
	later := p.waiting
	if p.waiting = nil; later != nil {
		later(refusal)
	}
}

// parted says that an end is decided: the groups have what was left, or another owner has.
func (h *Home) parted(e *ended) {
	p := e.left
	for _, id := range p.lines {
		if l := h.b.lines.named(id); l != nil && l.kept.Load() > 0 {
			l.owe(p.first) // until it is looked at
			l.given()
			h.b.poke(l)
		}
	}
	if p.ends--; p.ends == 0 {
		delete(h.parting, e.sid)
		p.answer(nil)
	}
}

// annul ends a session that the log never took, also if another connection has it by now.
// What the log may still have of one that came before is not its own: who comes next begins
// anew.
func (h *Home) annul(now time.Time, r *resident, why mqtt.ReasonCode) {
	r.log.never = true
	if r.s.Online() {
		h.disconnect(now, r, &mqtt.Disconnect{Reason: why}, CauseServerError)
	}
	if h.at(r.ref) == r {
		h.due(now, r, r.s.End(), false)
	}
}

// endAfter is how long after the log refused to hear of it an end is said again.
const endAfter = time.Second

// recordEnd says that the session is no more, which leaves that to its groups.
func (h *Home) recordEnd(now time.Time, r *resident, left *parting) {
	d := r.log
	if d.never {
		return
	}
	h.sayEnd(now, ended{sid: d.sid, epoch: d.epoch, sure: d.sure, left: h.parts(d.sid, left)})
}

// sayEnd says that a session is no more, and remembers it if the log does not take it. A
// log that has failed for good takes nothing, and who has claimed the session since fences
// what is said late.
func (h *Home) sayEnd(now time.Time, e ended) {
	h.part()
	ticket, index := h.record(now, store.Expire, e.sid, e.epoch)
	h.journal.waiters = append(h.journal.waiters, waiter{ticket: ticket, index: index, kind: waitDo, do: func(now time.Time, _ *resident, _ store.Seq, err error) {
		switch {
		case errors.Is(err, store.ErrFailed): // it keeps what is left
			h.unsaidEnd(&e, false)
			e.left.failed = true
			e.left.answer(notEnded(err))
			return
		case errors.Is(err, errRefused) && e.sure != 0 && e.sure != e.epoch: // the log did not take the claim
			e.epoch = e.sure
		case err == nil || errors.Is(err, errFenced):
			h.unsaidEnd(&e, false)
			h.parted(&e)
			return
		}
		h.unsaidEnd(&e, true)
		e.left.answer(notEnded(err))
		h.work.ended = append(h.work.ended, e)
		h.work.endAt = now.Add(endAfter)
		h.wire.Again()
	}})
}

// unsaidEnd counts an end that the log does not take. To the log the session is still there,
// and it is to limits.sessions_total: or whoever comes, is stored, and goes while the log
// takes the one and not the other would have the home remember ends without limit.
func (h *Home) unsaidEnd(e *ended, unsaid bool) {
	switch {
	case unsaid && !e.unsaid:
		h.b.unsaid.Add(1)
	case !unsaid && e.unsaid:
		h.b.unsaid.Add(-1)
	}
	e.unsaid = unsaid
}

// sayEnds says again what the log did not take, as many as a batch holds.
func (h *Home) sayEnds(now time.Time) {
	if len(h.work.ended) == 0 || now.Before(h.work.endAt) {
		return
	}
	h.work.endAt = now.Add(endAfter)
	n := min(len(h.work.ended), batchRecords)
	list := h.work.ended[:n]
	if h.work.ended = h.work.ended[n:]; len(h.work.ended) == 0 {
		h.work.ended = nil
	}
	for _, e := range list {
		h.sayEnd(now, e)
	}
}

// nextEnd is when sayEnds next has something to do; zero: never.
func (h *Home) nextEnd() time.Time {
	if len(h.work.ended) == 0 {
		return time.Time{}
	}
	return h.work.endAt
}
