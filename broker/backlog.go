package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// A session that could not take what came reads it from the log when it can: a
// portion at a time, on a goroutine that may wait for the disk, so that neither its
// loop nor anybody else's session waits for it.

// portion is what a session asks the log for, and then what it got.
type portion struct {
	query  view.Query
	plan   *plan       // what the portion before it found and left, instead of the query
	seqs   []store.Seq // these and no others, instead of both
	known  uint32      // durable.known of when it was asked
	waits  lag         // what the session was behind with then
	limits queueLimits // of it: what is older is dropped

	messages     []logged
	dropped      int // over the limits
	droppedBytes int64
	lost         int // the log no longer has them
	pos          store.Seq
	upTo         store.Seq
	left         lag
	err          error
}

// plan is what one look at the index found beyond its portion, so that a session that is
// far behind does not have all of it looked for again for each of its portions.
type plan struct {
	list  []view.Posting // at most planMax; what comes next
	tail  store.Seq      // the first that is wanted behind the list; 0: none
	last  store.Seq      // the last that is known of
	upTo  store.Seq
	after store.Seq // it holds while the session's pos is this
	known uint32    // and its durable.known this
}

// planMax is how many postings, of 16 bytes, a session keeps for its next portions.
const planMax = 1024

// feed asks for a portion if the session lags and can take one.
func (h *Home) feed(now time.Time, r *resident) {
	d := r.log
	if d.fetching || !r.s.Online() || d.pledged > 0 { // what it had is its own or its group's: that is not known yet
		return
	}
	p := &portion{limits: h.queueMax()}
	switch {
	case d.missing:
		for _, seq := range r.s.Missing(nil) {
			p.seqs = append(p.seqs, store.Seq(seq))
		}
		if len(p.seqs) == 0 {
			d.missing = false
			h.feed(now, r)
			return
		}
	case d.lag.first == 0 || !r.s.Hungry():
		return
	case !h.b.Settings().Session.Account.Room(d.lag.bytes / int64(max(1, d.lag.messages))):
		h.starve(r)
		return
	default:
		p.known, p.waits = d.known, d.lag
		if l := d.plan; l != nil && l.after == d.pos && l.known == d.known {
			p.plan, p.query.After = l, d.pos
			break
		}
		p.query = d.backlog()
	}
	d.fetching = true
	ref, b, wire := r.ref, h.b, h.wire
	b.ask(r, func() {
		p.read(b.durable.Index)
		wire.Post(func(now time.Time) { h.fed(now, ref, p) })
	})
}

// read fetches the portion; it may wait for the disk.
func (p *portion) read(ix Index) {
	switch {
	case p.seqs != nil:
	case p.plan != nil:
		l := *p.plan
		p.upTo = l.upTo
		p.take(l.list, l.tail, l.last)
	default:
		if p.err = p.look(ix); p.err != nil {
			return
		}
	}
	p.lost, p.err = ix.Read(context.Background(), p.seqs, func(seq store.Seq, rec *store.Record, m *fact.Message) error {
		p.messages = append(p.messages, logged{seq: seq, from: rec.SID, frame: frameOf(rec, m), filters: append([]fact.FilterID(nil), m.Filters...), broad: m.Broad})
		return nil
	})
}

// take takes what one portion holds off the list, and plans the next ones.
func (p *portion) take(list []view.Posting, tail, last store.Seq) {
	p.plan = nil
	size := 0
	for len(list) > 0 && len(p.seqs) < session.AheadMessages && (size == 0 || size+int(list[0].Bytes) <= session.AheadBytes) {
		size += int(list[0].Bytes)
		p.seqs = append(p.seqs, list[0].Seq)
		list = list[1:]
	}
	next := tail
	if len(list) > 0 {
		next = list[0].Seq
	}
	if p.pos = p.upTo; next != 0 {
		p.pos = next - 1
		p.left = lag{first: next, last: last}
	}
	if len(list) > 0 {
		p.plan = &plan{list: list, tail: tail, last: last, upTo: p.upTo, after: p.pos, known: p.known}
	}
}

// fed takes a portion that was read.
func (h *Home) fed(now time.Time, ref Ref, p *portion) {
	defer func() {
		for i := range p.messages {
			p.messages[i].frame.Release()
		}
	}()
	r := h.at(ref)
	if r == nil {
		return
	}
	d := r.log
	d.fetching = false
	d.replan()
	switch {
	case p.err != nil:
		h.b.log.Event(now, slog.LevelError, "messages that wait for a client could not be read; the client is closed and may come back for them", r.by.Identity+"\x00"+r.by.ClientID,
			slog.String("user", r.by.Username), slog.String("client_id", r.by.ClientID), slog.String("listener", r.by.Listener), slog.String("why", p.err.Error()))
		if r.s.Online() {
			h.disconnect(now, r, &mqtt.Disconnect{Reason: mqtt.ImplementationSpecificError}, CauseServerError)
		}
		return
	case d.missing:
		h.supply(now, r, p)
	case p.query.After != d.pos: // the client went and came back while it was read
	case p.known != d.known: // it knows nothing of a subscription that came meanwhile
	case !h.serve(now, r, p):
		if n, _ := r.s.Queued(); n+r.s.Inflight() == 0 {
			h.starve(r)
		}
		return // an acknowledgement or a drained socket lets it go on
	}
	if h.at(ref) == r {
		h.feed(now, r)
	}
}

// supply gives a session back what it had under way before the process began.
func (h *Home) supply(now time.Time, r *resident, p *portion) {
	for i := range p.messages {
		m := &p.messages[i]
		if h.mayReceive(now, r, m.frame) { // the right may have gone (A045, A054)
			w, _ := h.wants(r, m)
			r.s.Supply(uint64(m.seq), m.frame, w.subID, w.subIDs)
		}
	}
	r.s.GiveUp()
	h.countLost(r, 0, p.lost)
	r.log.missing = false
	if !h.freshen(now, r) {
		return
	}
	h.send(r, r.s.Pump(now, h.scratch.outs))
	h.unsaved(r)
}

// starve lets a session ask again some time later that has nothing under way whose
// acknowledgement would let it: there was no memory for what it wants.
func (h *Home) starve(r *resident) {
	r.log.starved = true
	h.unsaved(r)
}

// serve delivers a portion of what a session was behind with. It answers false if the
// session did not take all of it.
func (h *Home) serve(now time.Time, r *resident, p *portion) (all bool) {
	d := r.log
	h.countLost(r, p.dropped, p.lost) // it is not looked for again, whatever becomes of the rest
	if p.dropped > 0 {
		h.queueFull(now, r)
	}
	d.passes().lag.less(p.dropped+p.lost, p.droppedBytes)
	waitMax := h.b.Settings().Session.WaitMax
	for i := range p.messages {
		m := &p.messages[i]
		if !r.s.Ahead(m.frame) { // something else came between, or the client has gone
			d.behindFrom(m.seq)
			return false
		}
		if s := h.deniedShare(r, m, true); s != nil {
			d.behindFrom(m.seq)
			h.handBack(now, r, s, m.seq)
			return false
		}
		w, any := h.wants(r, m)
		if any {
			d.passes().lag.less(1, worth(m.frame))
		}
		switch {
		case !any:
		case waitMax > 0 && now.UnixMilli()-m.frame.CreatedAt > waitMax.Milliseconds():
			r.s.Lose(session.Drops{Expired: 1})
			r.s.Skip(uint64(m.seq))
		default:
			w.check = true // the rules of now, for who it is now
			h.deliverLogged(now, r, m, w)
		}
	}
	r.s.Skip(uint64(p.pos))
	d.pos = p.pos
	if p.plan != d.plan {
		d.passes().plan = p.plan
	}
	switch {
	case p.left.first != 0:
		l := &d.passes().lag
		l.first, l.last = p.left.first, max(p.left.last, l.last)
	case d.lag.last > p.upTo: // more came since it was read
		d.passes().lag.first = p.upTo + 1
	default:
		d.caughtUp()
	}
	return true
}
