package broker

import (
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What is handed out is a record: it belongs to somebody when that is decided.

// handed is a message on its way from a line to a member.
type handed struct {
	to     router.Subscriber
	member *router.Member // nil: it is the group itself
	want   want
	frame  *mqtt.Frame // owned; nil if it comes to the member by the log
	bytes  int64

	kept  bool
	sid   store.SID
	epoch uint64
	at    int64 // Unix milliseconds, when it was published
}

// sayTake says that a message is taken, or only that something is done with.
func (h *Home) sayTake(now time.Time, q *queue, hand *handed, t fact.Take) {
	j := &h.journal
	if len(j.body) > batchBytes {
		h.submit()
	}
	j.body = t.Append(j.body)
	var sid store.SID
	epoch, at := uint64(0), int64(0)
	if hand != nil {
		sid, epoch, at = hand.sid, hand.epoch, hand.at
	}
	ticket, index := h.record(now, store.ShareAck, sid, epoch)
	if at != 0 { // it is as old as it was
		j.recs[index].At = at
	}
	q.under++
	j.waiters = append(j.waiters, waiter{ticket: ticket, index: index, kind: waitDo, do: func(now time.Time, _ *resident, _ store.Seq, err error) { h.taken(now, q, hand, err) }})
}

// taken hears what became of it.
func (h *Home) taken(now time.Time, q *queue, hand *handed, err error) {
	q.under--
	switch {
	case hand == nil:
		q.failed = q.failed || err != nil
	case hand.member == nil:
		if q.l.coming.Add(-1); err != nil {
			q.failed, q.again = true, now.Add(saveAfter)
		}
	case err == nil && !hand.kept:
		if hand.want.qos == 0 {
			hand.member.Arrived()
			hand.want.promised = false
		}
		h.give(now, hand.to, hand.frame, hand.want)
	case err == nil: // the member has it from the log
	default:
		hand.member.Arrived()
		q.next, q.failed = nil, true
		q.l.again()
		if !errors.Is(err, errFenced) {
			q.again = now.Add(saveAfter)
		}
	}
	if hand != nil {
		if err == nil {
			q.l.less(hand.bytes)
		}
		if hand.frame != nil {
			hand.frame.Release()
		}
	}
	if q.under > 0 {
		return
	}
	if !q.failed {
		q.l.left(q)
	}
	if q.parts { // to say that nothing is left of it
		q.parts = false
		q.l.look()
	}
	h.serveLine(now, q)
}
