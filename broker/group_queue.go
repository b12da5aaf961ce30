package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// The home of a line hands out what waits in it: a portion no larger than what the
// members have room for, read while the loops go on, of which each message is taken for
// one of them by a record. The next portion comes when all records of the one before are
// decided, so that what the log has of the line is what is left of it.

// queue is a line at the home that hands it out.
type queue struct {
	l        *line
	fetching bool
	under    int       // takes that are not decided
	next     []awaited // beyond the last portion, in order: what the next one begins with
	again    time.Time // after the log refused takes: not before; zero: at once
	upTo     store.Seq // all that was found up to here is handed out; 0: not all
	owes     int       // line.owes of when it was looked for
	failed   bool      // a take was refused since
	parts    bool      // what was given back may be all handed out
	stuck    stuck     // what nobody may have who has room now
	grace    time.Time // when what lost members had, or is stuck, is looked at once more; zero: never
	listed   bool      // in work.lines
}

// awaited is a message of a line.
type awaited struct {
	seq   store.Seq
	bytes uint32
	from  source
}

// source names a part of what the log has of a group.
type source struct {
	id   fact.FilterID
	part store.Seq
}

// poked looks at a line.
func (h *Home) poked(l *line) func(now time.Time) {
	return func(now time.Time) {
		l.poked.Store(false)
		if q := h.queues[l.id]; l.kept.Load() == 0 && (q == nil || q.l != l) {
			return // it has ended, and what is there now is of another line of that name
		}
		h.serveLine(now, h.queueOf(l))
	}
}

func (h *Home) queueOf(l *line) *queue {
	q := h.queues[l.id]
	if q == nil || q.l != l {
		q = &queue{l: l}
		h.queues[l.id] = q
	}
	return q
}

// hearLine takes a message of the log that waits for a group.
func (h *Home) hearLine(now time.Time, l *line, m *logged) {
	if l.kept.Load() == 0 {
		return
	}
	most := h.queueMax()
	l.hear(m.seq, worth(m.frame), 2*most.messages+grabMax, 2*most.bytes)
	h.serveLine(now, h.queueOf(l))
}

// serveLine asks for a portion, if anybody has room for one.
func (h *Home) serveLine(now time.Time, q *queue) {
	l := q.l
	if q.fetching || q.under > 0 {
		return
	}
	if l.kept.Load() == 0 {
		if h.queues[l.id] == q {
			delete(h.queues, l.id)
		}
		return
	}
	if now.Before(q.again) {
		h.listLine(q)
		return
	}
	l.mu.Lock()
	dirty, owes := l.dirty, l.owes
	l.dirty = false
	l.mu.Unlock()
	room := h.b.groups.Spare(l.router(), grabMax)
	last := l.last.Load()
	if !dirty && (room == 0 || last <= l.done.Load() && len(q.next) == 0) {
		return
	}
	set := h.b.Settings().Session
	g := &grab{id: l.id, room: room, messagesMax: max(1, set.MqueueMessages), bytesMax: max(1, set.MqueueBytes), now: now.UnixMilli()}
	if !dirty {
		g.next = q.next
	}
	q.fetching, q.next = true, nil
	b, wire := h.b, h.wire
	b.durable.Do(func() {
		g.read(b.durable.Index)
		wire.Post(func(now time.Time) { h.grabbed(now, q, g, last, owes) })
	})
}

// look has the line looked at whole.
func (l *line) look() {
	l.mu.Lock()
	l.dirty = true
	l.mu.Unlock()
}

// less says that one message less waits.
func (l *line) less(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed.messages, l.owed.bytes = max(0, l.owed.messages-1), max(0, l.owed.bytes-bytes)
}

// left says from where on messages wait, when a portion is decided. Where that is not
// known it stays as it was: the log keeps more than it must until the next look.
func (l *line) left(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.giving > 0 || l.owes != q.owes || l.dirty:
	case len(q.next) > 0:
		first := q.next[0].seq
		if q.stuck.first != 0 {
			first = min(first, q.stuck.first)
		}
		l.owed.first = max(l.owed.first, first)
	case q.upTo != 0 && store.Seq(l.last.Load()) <= q.upTo:
		l.owed = q.stuck.owed
	}
}

// lineAgain has a line looked at some time later.
func (h *Home) lineAgain(now time.Time, q *queue) {
	q.l.look()
	q.next = nil
	q.l.again()
	q.again = now.Add(saveAfter)
	h.listLine(q)
}

func (h *Home) listLine(q *queue) {
	if !q.listed {
		q.listed = true
		h.work.lines = append(h.work.lines, q)
	}
}

// linesAgain looks again at lines whose time has come.
func (h *Home) linesAgain(now time.Time) {
	list := h.work.lines
	if len(list) == 0 {
		return
	}
	h.work.lines = nil
	for _, q := range list {
		q.listed = false
		if !now.Before(q.again) {
			q.again = time.Time{}
		}
		if !q.grace.IsZero() && !now.Before(q.grace) {
			q.grace = time.Time{}
			q.l.look()
		}
		h.serveLine(now, q)
		if h.queues[q.l.id] == q && (!q.grace.IsZero() || now.Before(q.again)) {
			h.listLine(q)
		}
	}
}

// nextLines is when linesAgain next has something to do; zero: never.
func (h *Home) nextLines() (next time.Time) {
	for _, q := range h.work.lines {
		for _, at := range [...]time.Time{q.again, q.grace} {
			if !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}
