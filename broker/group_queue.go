package broker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
	"github.com/redoubtmq/redoubt/topic"
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

// grab is a portion of a line, asked for and then read.
type grab struct {
	id          fact.FilterID
	room        int // messages
	messagesMax int // of all that waits: what is older is dropped
	bytesMax    int64
	now         int64     // Unix milliseconds
	next        []awaited // of the portion before; nil: look for it

	looked  bool // everything: what is found is all there is
	ended   bool // the log knows no such group
	waits   owed // all of it
	upTo    store.Seq
	dropped int                  // over the limits
	floors  map[source]store.Seq // what is before is dropped, or taken
	empty   []source             // that nothing is left of
	young   bool                 // a lost member may still be given something
	parts   bool                 // some of it was given back
	list    []awaited
	fold    []awaited                 // of small parts, that the group takes itself
	frames  map[store.Seq]*mqtt.Frame // of list and fold; one that is not there is lost
	err     error
}

const (
	// grabMax is the most that is handed out in one go, in messages and bytes.
	grabMax      = 64
	grabBytesMax = 256 << 10
	// sourceGrace is how long what a lost member may still be given is looked for,
	// milliseconds: whoever gave it had not heard.
	sourceGrace = 10_000
	// stuckAgain is how soon what nobody may have who has room is looked at again: somebody
	// else may have come, or the rules may have changed.
	stuckAgain = time.Second
	// takenMost is how many takes beyond one that is stuck the log remembers of a source,
	// about: the view has no more than twice as many. Then what is stuck goes to the end.
	takenMost = 2048
)

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

// read fetches the portion; it may wait for the disk.
func (g *grab) read(ix Index) {
	all := g.next
	if all == nil {
		if all, g.err = g.look(ix); g.err != nil {
			return
		}
	}
	bytes := int64(0)
	for len(all) > 0 && len(g.list) < g.room && (len(g.list) == 0 || bytes+int64(all[0].bytes) <= grabBytesMax) {
		bytes += int64(all[0].bytes)
		g.list = append(g.list, all[0])
		all = all[1:]
	}
	g.next = all[:min(len(all), planMax)]
	if !g.looked {
		g.next = all
	} else if g.fold = append(g.fold, small(all)...); len(g.fold) > 0 {
		g.next = nil // it is looked at again when that is done
	}
	seqs := make([]store.Seq, 0, len(g.list)+len(g.fold))
	for _, list := range [...][]awaited{g.list, g.fold} {
		for i := range list {
			seqs = append(seqs, list[i].seq)
		}
	}
	slices.Sort(seqs)
	g.frames = make(map[store.Seq]*mqtt.Frame, len(seqs))
	_, g.err = ix.Read(context.Background(), slices.Compact(seqs), func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		g.frames[seq] = frameOf(rec, m)
		return nil
	})
}

// look finds all that waits, drops the oldest over the limits, and notes what parts have
// nothing left.
func (g *grab) look(ix Index) (all []awaited, err error) {
	g.looked, g.upTo = true, unknown
	group, ok := ix.Group(g.id)
	if g.ended = !ok; g.ended {
		return nil, nil
	}
	var list []view.Posting
	for i := range group.Sources {
		s := &group.Sources[i]
		from, n := source{s.ID, s.Part}, len(all)
		var upTo store.Seq
		list, upTo, err = ix.Pending(&view.Query{Filters: []view.Interest{{ID: s.ID, Start: s.Start()}}, After: s.Start()}, list[:0])
		if err != nil {
			return nil, err
		}
		g.upTo = min(g.upTo, upTo)
		for _, p := range list {
			if s.Wants(p.Seq) {
				all = append(all, awaited{p.Seq, p.Bytes, from})
				g.waits.bytes += int64(p.Bytes)
			}
		}
		waits := len(all) > n
		if len(s.Taken) > takenMost {
			all = g.unstick(from, s.Taken[len(s.Taken)-1], all, n)
		}
		old := s.Until != unknown || g.now-s.At >= sourceGrace
		g.young = g.young || !old
		g.parts = g.parts || waits && s.Part != 0
		if !waits && s.Part != 0 && upTo >= min(s.Until, max(s.Part, s.After)) && old {
			g.empty = append(g.empty, from)
		}
	}
	slices.SortStableFunc(all, func(a, b awaited) int {
		switch {
		case a.seq < b.seq:
			return -1
		case a.seq > b.seq:
			return 1
		}
		return 0
	})
	for len(all) > 1 && (len(all) > g.messagesMax || g.waits.bytes > g.bytesMax) {
		g.floor(all[0].from, all[0].seq+1)
		g.waits.bytes -= int64(all[0].bytes)
		all = all[1:]
		g.dropped++
	}
	if g.waits.messages = len(all); len(all) > 0 {
		g.waits.first = all[0].seq
	}
	return all, nil
}

// unstick has the group itself take what of a source, all from n on, is before the newest that
// was taken of it: it would have to be remembered how much that is. Where nothing is, that
// is said.
func (g *grab) unstick(from source, newest store.Seq, all []awaited, n int) []awaited {
	k, bytes := n, int64(0)
	for k < len(all) && all[k].seq < newest && k-n < grabMax && bytes < grabBytesMax {
		bytes += int64(all[k].bytes)
		k++
	}
	if k == n {
		g.floor(from, newest+1)
		return all
	}
	g.fold = append(g.fold, all[n:k]...)
	return append(all[:n], all[k:]...)
}

// floor notes that what of a source is before below is done with.
func (g *grab) floor(from source, below store.Seq) {
	if g.floors == nil {
		g.floors = make(map[source]store.Seq)
	}
	g.floors[from] = max(g.floors[from], below)
}

func (g *grab) release() {
	for _, f := range g.frames {
		f.Release()
	}
}

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
