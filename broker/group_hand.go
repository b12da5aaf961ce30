package broker

import (
	"log/slog"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/topic"
)

// A portion that was read is handed out, a message at a time.

// grabbed hands out a portion that was read.
func (h *Home) grabbed(now time.Time, q *queue, g *grab, last uint64, owes int) {
	defer g.release()
	q.fetching = false
	l := q.l
	switch {
	case g.err != nil:
		h.b.log.Event(now, slog.LevelError, "messages that wait for a shared subscription could not be read", l.share+"/"+l.real,
			slog.String("share", l.share), slog.String("filter", l.real), slog.String("why", g.err.Error()))
		h.lineAgain(now, q)
		return
	case l.kept.Load() == 0:
		h.serveLine(now, q)
		return
	case g.ended: // its first member is on the way out, or is not there yet
		h.lineAgain(now, q)
		return
	}
	h.part()
	if g.looked {
		h.looked(now, q, g, owes)
	}
	for i := range g.fold { // it is not done with before that is decided
		q.stuck.hold(&g.fold[i])
	}
	given, below := h.handOutAll(now, q, g)
	if q.next = append(slices.Clone(g.list[given:]), g.next...); g.room == 0 {
		q.next = nil // when there is room others may have come, and these be over the limits
	}
	for _, m := range g.list[:given] { // of what nothing was taken
		if b := below[m.from]; !b.said {
			b.said = true
			if b.seq == 0 {
				b.seq = lastOf(g.list[:given], m.from) + 1
			}
			if b.seq > m.seq {
				h.sayTake(now, q, nil, fact.Take{Group: l.id, Source: m.from.id, Part: m.from.part, Below: b.seq})
			}
		}
	}
	for i := range g.fold {
		h.foldOne(now, q, &g.fold[i], g.frames[g.fold[i].seq])
	}
	q.upTo, q.failed = 0, false
	if len(g.fold) > 0 {
		q.parts, q.next = true, nil
	}
	if g.looked {
		q.owes = owes
		if g.waits.messages <= given {
			q.upTo, q.parts = g.upTo, g.parts
			l.done.Store(last)
		}
	}
	if at := now.Add(stuckAgain); q.stuck.messages > 0 && (q.grace.IsZero() || at.Before(q.grace)) {
		q.grace = at
		h.listLine(q)
	}
	h.serveLine(now, q) // unless it waits for what was said, or for room
}

// done is how far a source is done with.
type done struct {
	seq  store.Seq // all before it; 0: all that was looked at
	said bool
}

// handOutAll hands out a portion, as long as there is room, and answers how much of it is done
// with. What nobody may have who has room stays where it is, and is gone over.
func (h *Home) handOutAll(now time.Time, q *queue, g *grab) (given int, below map[source]*done) {
	l := q.l
	below = make(map[source]*done)
	for ; given < len(g.list); given++ {
		m := &g.list[given]
		f, b := g.frames[m.seq], below[m.from]
		if b == nil {
			b = &done{seq: q.stuck.from[m.from]}
			b.seq = min(b.seq, m.seq)
			below[m.from] = b
		}
		nobodys := func() {
			if b.seq != 0 { // else it is before all that is taken
				b.said = true
				h.sayTake(now, q, nil, fact.Take{Group: l.id, Source: m.from.id, Part: m.from.part, Seq: m.seq, Below: b.seq})
			}
		}
		if !h.handable(now, l, f) {
			nobodys()
			continue
		}
		first := b.seq
		if first == 0 {
			first = m.seq // all of it before this one is done with
		}
		switch h.handOut(now, q, m, f, first) {
		case handedOut:
			b.seq, b.said = first, true
		case noRoom:
			return given, below
		case forNobody:
			nobodys()
		case forAnother:
			b.seq = first
			q.stuck.note(m)
		}
	}
	return given, below
}

// stuck is what was gone over since the line was looked at whole.
type stuck struct {
	owed
	from map[source]store.Seq // the first of each source
}

// hold keeps the source from being done with beyond m.
func (s *stuck) hold(m *awaited) {
	if s.from == nil {
		s.from = make(map[source]store.Seq)
	}
	if at := s.from[m.from]; at == 0 || m.seq < at {
		s.from[m.from] = m.seq
	}
}

func (s *stuck) note(m *awaited) {
	s.hold(m)
	if s.first == 0 || m.seq < s.first {
		s.first = m.seq
	}
	s.messages++
	s.bytes += int64(m.bytes)
}

func lastOf(list []awaited, from source) (last store.Seq) {
	for i := range list {
		if list[i].from == from {
			last = list[i].seq
		}
	}
	return last
}

// looked takes what is known of a line now, and says what of it is over.
func (h *Home) looked(now time.Time, q *queue, g *grab, owes int) {
	l := q.l
	for from, below := range g.floors {
		h.sayTake(now, q, nil, fact.Take{Group: l.id, Source: from.id, Part: from.part, Below: below})
	}
	for _, from := range g.empty {
		h.sayTake(now, q, nil, fact.Take{Group: l.id, Source: from.id, Part: from.part, Done: true})
	}
	q.stuck = stuck{}
	if q.grace = (time.Time{}); g.young {
		q.grace = now.Add(sourceGrace * time.Millisecond)
		h.listLine(q)
	}
	l.mu.Lock()
	before := l.owed
	l.owed = g.waits
	if later := store.Seq(l.last.Load()); later > g.upTo { // it came since
		l.owed.messages++
		if l.owed.first == 0 {
			l.owed.first = g.upTo + 1
		}
	}
	if (l.giving > 0 || l.owes != owes) && before.first != 0 { // it is not there yet
		if l.owed.first == 0 || before.first < l.owed.first {
			l.owed.first = before.first
		}
	}
	l.mu.Unlock()
	if dropped := g.dropped; dropped > 0 {
		h.count.Add(metrics.MessagesDroppedQueueFull, int64(dropped))
		h.b.log.Event(now, slog.LevelWarn, "queue of a shared subscription full, messages dropped", l.share+"/"+l.real,
			slog.String("share", l.share), slog.String("filter", l.real), slog.Int("messages", dropped))
	}
}

// handable tells whether a message of a line is still for somebody, and counts one that
// is not.
func (h *Home) handable(now time.Time, l *line, f *mqtt.Frame) bool {
	waitMax := h.b.Settings().Session.WaitMax
	switch {
	case f == nil:
		h.count.Inc(metrics.MessagesDroppedStore)
		return false
	case !topic.Match(l.real, f.Topic()): // an identifier is a hash
		return false
	case f.ExpiresAt != 0 && f.ExpiresAt <= now.UnixMilli(), waitMax > 0 && now.UnixMilli()-f.CreatedAt > waitMax.Milliseconds():
		h.count.Inc(metrics.MessagesDroppedExpired)
		return false
	}
	return true
}

// fate is what becomes of a message that waits.
type fate uint8

const (
	handedOut  fate = iota
	noRoom          // nobody takes anything
	forNobody       // the rules give it to no member
	forAnother      // who may have it cannot take it now, and others could have what follows
)

// handOut takes one message for a member that has room.
func (h *Home) handOut(now time.Time, q *queue, m *awaited, f *mqtt.Frame, below store.Seq) fate {
	l := q.l
	ref := l.router()
	by := h.choose(author{}, f)
	to, member, ok := h.b.groups.Claim(ref, by)
	if !ok {
		best, _ := h.b.groups.Best(ref, by, router.Accepting)
		switch {
		case h.barred(now, ref, f):
			return forNobody
		case best == router.Accepting || h.b.groups.Spare(ref, 1) == 0: // somebody else was faster
			return noRoom
		}
		return forAnother
	}
	t := fact.Take{Group: l.id, Source: m.from.id, Part: m.from.part, Seq: m.seq, Below: below}
	w := h.wantOf(to, f, groupOf(ref))
	w.promised = true
	hand := &handed{to: to, member: member, want: w, bytes: worth(f)}
	if w.durable && w.qos > 0 {
		in := h.b.filters.membership(membership{to.Ref, ref})
		if in == nil || !in.known.Load() { // it is about to leave, or not quite there
			member.Arrived()
			return noRoom
		}
		h.scratch.one[0] = in.id
		body := fact.Message{Topic: f.Topic(), Props: f.Props(), Payload: f.Payload(), QoS: uint8(f.QoS), Retain: f.Retain, ExpiresAt: f.ExpiresAt, Filters: h.scratch.one[:]}
		t.Member, t.Body = in.id, body.Append(nil)
		hand.sid, hand.epoch, hand.kept, hand.at = in.sid, in.epoch.Load(), true, f.CreatedAt
	} else {
		hand.frame = f.Hold()
	}
	h.sayTake(now, q, hand, t)
	return handedOut
}
