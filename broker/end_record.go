package broker

import (
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/store"
)

// ended is a session that is no more and of which the log has not heard: it would come
// back when the process begins again.
type ended struct {
	sid   store.SID
	epoch uint64
}

// endAfter is how long after the log refused to hear of it an end is said again.
const endAfter = time.Second

// recordEnd says that the session is no more.
func (h *Home) recordEnd(now time.Time, r *resident) {
	h.sayEnd(now, ended{r.log.sid, r.log.epoch})
}

// sayEnd says that a session is no more, and remembers it if the log does not take it. A
// log that has failed for good takes nothing, and who has claimed the session since fences
// what is said late.
func (h *Home) sayEnd(now time.Time, e ended) {
	h.part()
	ticket, index := h.record(now, store.Expire, e.sid, e.epoch)
	h.journal.waiters = append(h.journal.waiters, waiter{ticket: ticket, index: index, kind: waitDo, do: func(now time.Time, _ *resident, _ store.Seq, err error) {
		if err == nil || errors.Is(err, errFenced) || errors.Is(err, store.ErrFailed) {
			return
		}
		h.work.ended = append(h.work.ended, e)
		h.work.endAt = now.Add(endAfter)
		h.wire.Again()
	}})
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
