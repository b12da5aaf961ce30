package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// When the log has no room, what sessions still want of its oldest records is rescued by
// the view before they go. The homes say what that is; whoever asks them waits for the
// disk, and they do not. Limits come first: a session for which more waits than its queue
// may have forgoes the oldest, as it would when it reads.

// Wants is what sessions want of the records of the log below a number. It is the
// caller's.
type Wants struct {
	After   store.Seq                   // a session that lags wants broad messages later than this
	Filters map[fact.FilterID]store.Seq // and of each filter what is later than its number
	Under   map[store.Seq]bool          // under way to a client, or read ahead for it
	Unsure  bool                        // something is on its way back to a group: ask again later
}

// NewWants is what nobody wants.
func NewWants() *Wants {
	return &Wants{After: unknown, Filters: make(map[fact.FilterID]store.Seq), Under: make(map[store.Seq]bool)}
}

// note adds what one filter is wanted after.
func (w *Wants) note(id fact.FilterID, after store.Seq) {
	if old, there := w.Filters[id]; !there || after < old {
		w.Filters[id] = after
	}
}

// Add adds what others want.
func (w *Wants) Add(o *Wants) {
	w.After = min(w.After, o.After)
	for id, after := range o.Filters {
		w.note(id, after)
	}
	for seq := range o.Under {
		w.Under[seq] = true
	}
	w.Unsure = w.Unsure || o.Unsure
}

// Has tells whether somebody wants a message by that filter; 0: a broad one.
func (w *Wants) Has(id fact.FilterID, seq store.Seq) bool {
	after, wanted := w.Filters[id]
	if id == 0 {
		after, wanted = w.After, true
	}
	return wanted && seq > after || w.Under[seq]
}

// Find answers the numbers of all messages from from on and below before that somebody
// wants, in order. It may wait for the disk.
func (w *Wants) Find(ix Index, from, before store.Seq) (seqs []store.Seq, err error) {
	for seq := range w.Under {
		if seq >= from && seq < before {
			seqs = append(seqs, seq)
		}
	}
	if w.After != unknown || len(w.Filters) > 0 {
		q := view.Query{After: w.After, Before: before, Broad: w.After != unknown}
		for id, after := range w.Filters {
			q.Filters = append(q.Filters, view.Interest{ID: id, Start: after})
			q.After = min(q.After, after)
		}
		q.After = max(q.After, max(1, from)-1)
		list, _, err := ix.Pending(&q, nil)
		if err != nil {
			return nil, err
		}
		for i := range list {
			seqs = append(seqs, list[i].Seq)
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs), nil
}

// Wants is what sessions of this home want of the records below below.
func (h *Home) Wants(below store.Seq) *Wants {
	w := NewWants()
	var under []uint64
	for _, p := range h.parting {
		if p.wants != nil {
			w.Add(p.wants)
		}
	}
	for _, r := range h.slots {
		if r == nil || r.log == nil {
			continue
		}
		w.Unsure = w.Unsure || r.log.pledged > 0 // if the log refuses it, that is the session's again
		under = r.s.Under(uint64(below), under[:0])
		for _, seq := range under {
			w.Under[store.Seq(seq)] = true
		}
		d := r.log
		if d.lag.first == 0 || d.lag.first >= below {
			continue
		}
		w.lags(d)
	}
	return w
}

// lineWants is what the groups want whose lines this home hands out.
func (h *Home) lineWants() *Wants {
	w := NewWants()
	for _, l := range h.b.lines.all() {
		if l.home != int(h.id) || l.kept.Load() == 0 {
			continue
		}
		l.mu.Lock()
		w.Unsure = w.Unsure || l.giving > 0
		l.mu.Unlock()
		g, _ := h.b.durable.Index.Group(l.id)
		for i := range g.Sources {
			w.note(g.Sources[i].ID, g.Sources[i].Start())
		}
	}
	return w
}

// enforceLines has lines looked at that are over the limits of a queue: whoever looks drops
// the oldest.
func (h *Home) enforceLines(now time.Time) {
	most := h.queueMax()
	for _, l := range h.b.lines.all() {
		if l.home != int(h.id) {
			continue
		}
		l.mu.Lock()
		over := l.owed.messages > most.messages || l.owed.bytes > most.bytes
		l.dirty = l.dirty || over
		l.mu.Unlock()
		if over {
			h.serveLine(now, h.queueOf(l))
		}
	}
}

// Surplus is a session for which more waits than it may have.
type Surplus struct {
	Key session.Key

	ref    Ref
	query  view.Query
	known  uint32
	waits  lag
	limits queueLimits

	from    store.Seq // what is older goes
	dropped int
	bytes   int64
}

// Surplus are the sessions of this home that lag from below below on and are over their
// limits, or over those of an identity whose sessions have too much together.
func (h *Home) Surplus(below store.Seq, hoards Hoards) (list []*Surplus) {
	all := h.queueMax()
	for _, r := range h.slots {
		if r == nil || r.log == nil || r.log.lag.first == 0 || r.log.lag.first >= below {
			continue
		}
		most := all
		if bytes, less := hoards[hoarderOf(r)]; less {
			most.bytes = min(most.bytes, bytes)
		}
		if d := r.log; d.lag.messages > most.messages || d.lag.bytes > most.bytes {
			list = append(list, &Surplus{Key: r.key(), ref: r.ref, query: d.backlog(), known: d.known, waits: d.lag, limits: most})
		}
	}
	return list
}

// Measure finds out where what the session may have begins. It may wait for the disk.
func (s *Surplus) Measure(ix Index) (err error) {
	s.dropped, s.bytes, s.from, err = s.limits.surplus(ix, s.query, &s.waits)
	return err
}

// Forgo drops what was measured, of sessions that have not changed meanwhile, and says so
// to the log: a crash must not bring half of it back. It answers how many messages that
// were.
func (h *Home) Forgo(now time.Time, list []*Surplus) (dropped int) {
	for _, s := range list {
		r := h.at(s.ref)
		if s.dropped == 0 || r == nil || r.key() != s.Key || r.log == nil || r.log.pos != s.query.After || r.log.known != s.known || r.log.lag.first == 0 {
			continue
		}
		d := r.log
		d.pos = s.from - 1
		d.replan()
		l := &d.passes().lag
		l.first, l.last = s.from, max(l.last, s.from)
		l.less(s.dropped, s.bytes)
		h.countLost(r, s.dropped, 0)
		h.queueFull(now, r)
		r.s.Skip(uint64(d.pos))
		h.part()
		h.save(now, r)
		dropped += s.dropped
	}
	return dropped
}

// queueMax is how much may wait for a session.
func (h *Home) queueMax() queueLimits {
	set := h.b.Settings()
	return queueLimits{max(1, set.Session.MqueueMessages), max(1, set.Session.MqueueBytes)}
}

// backlog asks for all that waits in the log for a session.
func (d *durable) backlog() view.Query {
	q := view.Query{After: d.pos, Broad: true}
	for i := range d.subs {
		if s := &d.subs[i]; s.id != 0 && s.start != unknown {
			q.Filters = append(q.Filters, view.Interest{ID: s.id, Start: s.start})
		}
	}
	return q
}

// Each runs fn on the loop of every home and returns when all have run: conn.Server's.
type Each func(fn func(now time.Time, h *Home))

// Enforce makes sessions that lag from below below on forgo what is over their limits, and
// answers how many messages that were. It waits for the disk and for the homes. Groups do
// so soon after. hoards are who gets less than the limits say; nil: nobody.
func Enforce(each Each, ix Index, below store.Seq, hoards Hoards) (dropped int, err error) {
	var mu sync.Mutex // guards what the homes add to
	lists := make(map[int][]*Surplus)
	each(func(now time.Time, h *Home) {
		list := h.Surplus(below, hoards)
		h.enforceLines(now)
		mu.Lock()
		defer mu.Unlock()
		lists[h.ID()] = list
	})
	over := 0
	for _, list := range lists {
		for _, s := range list {
			if err := s.Measure(ix); err != nil {
				return 0, err
			}
			over++
		}
	}
	if over == 0 {
		return 0, nil
	}
	each(func(now time.Time, h *Home) {
		n := h.Forgo(now, lists[h.ID()])
		h.wire.Again() // what was said must go
		mu.Lock()
		defer mu.Unlock()
		dropped += n
	})
	return dropped, nil
}

// AllWants is what all sessions want of the records below below, and all groups. It waits
// for the homes.
func AllWants(each Each, below store.Seq) *Wants {
	var mu sync.Mutex // guards all
	all := NewWants()
	add := func(w *Wants) {
		mu.Lock()
		defer mu.Unlock()
		all.Add(w)
	}
	each(func(_ time.Time, h *Home) { add(h.Wants(below)) })
	each(func(_ time.Time, h *Home) { add(h.lineWants()) }) // after: what a session gives back is in one of them
	return all
}

// Keeps tells of a message that somebody wants whether it can still be delivered: it has not
// expired, and has not waited longer than it may. What is under way is kept in any case.
func (w *Wants) Keeps(now time.Time, waitMax time.Duration, seq store.Seq, rec *store.Record, m *fact.Message) bool {
	switch {
	case w.Under[seq]:
		return true
	case m.ExpiresAt != 0 && m.ExpiresAt <= now.UnixMilli():
		return false
	}
	return waitMax <= 0 || now.UnixMilli()-rec.At <= waitMax.Milliseconds()
}
