package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/view"
)

// journal is a home's way to the log. What the home has to say in a turn is one
// batch, submitted at the turn's end; whoever must not be answered before it is
// applied is a waiter. Batches are numbered by tickets, and are decided in their
// order: applied, or refused as a whole.
type journal struct {
	batch
	full []batch // before it, which the log has not taken yet

	ticket  uint64           // of the batch being collected; the first is 1
	settled uint64           // all up to this one are decided
	failed  map[uint64]error // why a batch was not taken; until it is decided
	waiters []waiter         // in the order of their tickets, from head on
	head    int
	rings   []Ref // whose pending ring the batch being decided lets go on
	blocked bool  // the log takes no more for now: publishers wait
	under   int   // batches that are on their way
}

// batch is records that are in the log together or not at all.
type batch struct {
	recs []store.Record
	ends []int // of their bodies in body
	body []byte

	rematched rematched
}

// waiter is who waits for a record.
type waiter struct {
	ticket  uint64
	index   int // of the record in its batch
	ref     Ref
	said    session.Said // waitStored
	kind    waitKind
	whom    whom    // waitRetain: who gets it then
	do      decided // waitDo
	promise promise // waitShare
}

// decided is called when a record is decided: seq is its number, or err says why it
// has none. r is nil if the session has ended meanwhile.
type decided func(now time.Time, r *resident, seq store.Seq, err error)

type waitKind uint8

const (
	waitRing   waitKind = iota // the pending ring of the session
	waitRetain                 // the same, or nothing; subscribers get the retained message first
	waitStored                 // what the session may send now
	waitDo
	waitShare // a group, or a member of one
)

// journalMax is how many bytes a home collects while the log takes nothing, before
// its publishers wait.
const journalMax = 1 << 20

// batchBytes is where a batch is handed over before the turn has ended, in bytes: whoever
// reads one record of it reads it whole.
const batchBytes = 32 << 10

// errFenced says that a record came too late: the session belongs to another owner.
var errFenced = errors.New("the session has another owner")

// errRefused says that a record says what cannot be, such as to take what is not there.
var errRefused = fmt.Errorf("what it says cannot be so: %w", errFenced)

// kept tells whether sessions outlive this process.
func (h *Home) kept() bool { return h.b.durable != nil }

// record adds a record to this turn's batch, whose body the caller has appended to
// h.journal.body, and answers its place. It is on its way when the turn ends.
func (h *Home) record(now time.Time, kind store.Kind, sid store.SID, epoch uint64) (ticket uint64, index int) {
	j := &h.journal
	j.recs = append(j.recs, store.Record{Kind: kind, SID: sid, Epoch: epoch, At: now.UnixMilli()})
	j.ends = append(j.ends, len(j.body))
	return j.ticket, len(j.recs) - 1
}

// say is record for a session's own state.
func (h *Home) say(now time.Time, d *durable, kind store.Kind, body func(dst []byte) []byte) (ticket uint64, index int) {
	if body != nil {
		h.journal.body = body(h.journal.body)
	}
	return h.record(now, kind, d.sid, d.epoch)
}

// after calls do when the record that was added last is decided.
func (h *Home) after(r *resident, do decided) {
	j := &h.journal
	j.waiters = append(j.waiters, waiter{ticket: j.ticket, index: len(j.recs) - 1, ref: r.ref, kind: waitDo, do: do})
	if j.over() {
		h.stall(r) // whoever says more must not be able to make the home remember more and more
	}
}

// submit hands the batch to the log. What the log does not take now stays, and
// publishers wait until it has gone.
func (h *Home) submit() {
	j := &h.journal
	for len(j.full) > 0 && h.offer(&j.full[0], j.ticket-uint64(len(j.full))) {
		j.full[0] = batch{}
		j.full = j.full[1:]
	}
	if len(j.full) > 0 || len(j.recs) == 0 || !h.offer(&j.batch, j.ticket) {
		return
	}
	clear(j.recs)
	j.recs, j.ends, j.body = j.recs[:0], j.ends[:0], j.body[:0]
	j.rematched.at = j.rematched.at[:0]
	if cap(j.body) > 4*journalMax {
		j.body = nil // one large message must not be held for ever
	}
	j.ticket++
}

// offer offers a batch to the log.
func (h *Home) offer(b *batch, ticket uint64) (taken bool) {
	from := 0
	for i := range b.recs {
		b.recs[i].Body = b.body[from:b.ends[i]:b.ends[i]]
		from = b.ends[i]
	}
	j := &h.journal
	defer h.hold(b)()
	taken = h.b.durable.Log.Submit(0, b.recs, func(first store.Seq, err error) { h.committed(ticket, first, err) })
	if j.blocked = !taken; taken {
		j.under++
	}
	return taken
}

// batchRecords is where a batch ends before the turn does, in records: the log takes no
// more than store.BatchRecordsMax, and all connections may end in one turn.
const batchRecords = 8192

// part ends a batch that has become long. It is called before something is said, never
// between records that must be in one batch.
func (h *Home) part() {
	j := &h.journal
	if len(j.recs) >= batchRecords || len(j.body) >= journalMax {
		h.breakOff()
	}
}

// breakOff ends a batch, if there is one.
func (h *Home) breakOff() {
	j := &h.journal
	if len(j.recs) == 0 {
		return
	}
	before := j.ticket
	if h.submit(); j.ticket == before { // the log takes nothing now
		j.full, j.batch = append(j.full, j.batch), batch{}
		j.ticket++
	}
}

// over tells whether publishers must wait for the log to take something.
func (j *journal) over() bool { return j.blocked && len(j.full)+len(j.body) > 0 }

// committed is told by the log, on its goroutine, what became of a batch.
func (h *Home) committed(ticket uint64, first store.Seq, err error) {
	if err == nil {
		h.b.origins.push(origin{first: first, home: int(h.id), ticket: ticket})
		return
	}
	h.wire.Post(func(now time.Time) {
		j := &h.journal
		if j.failed == nil {
			j.failed = make(map[uint64]error)
		}
		j.failed[ticket] = err
		h.b.log.Event(now, slog.LevelError, "the log refused records; clients were refused for it", "log",
			slog.String("why", err.Error()))
		h.decideFailed(now)
	})
}

// Room tells the home that the log takes records again.
func (h *Home) Room(time.Time) {
	if h.journal.blocked {
		h.submit()
		h.wire.Again()
	}
}

// news is what the applier has for one home: messages for its sessions, and what
// became of a batch of its own.
type news struct {
	upTo     store.Seq
	messages []logged
	bytes    int64

	ticket   uint64 // 0: none of its own
	first    store.Seq
	outcomes []view.Outcome // nil: all were applied
	retained []*mqtt.Frame  // of the batch, in its order; nil for one that was not applied
}

// hear takes the news.
func (h *Home) hear(now time.Time, n *news) {
	if n.ticket != 0 {
		h.decide(now, n) // first: a subscription is in one batch with what is published after it
	}
	for i := range n.messages {
		m := &n.messages[i]
		h.offerLogged(now, m)
		m.frame.Release()
	}
	h.b.gates[h.id].leave(n.bytes)
	h.applied = n.upTo
}

// decide answers who waited for a batch that was applied.
func (h *Home) decide(now time.Time, n *news) {
	j := &h.journal
	j.under--
	retained := n.retained
	for w, more := j.next(n.ticket); more; w, more = j.next(n.ticket) {
		var f *mqtt.Frame
		if w.kind == waitRetain && len(retained) > 0 {
			f, retained = retained[0], retained[1:]
		}
		err := error(nil)
		if n.outcomes != nil && n.outcomes[w.index] != view.Applied {
			err = errFenced
			if n.outcomes[w.index] == view.Refused {
				err = errRefused
			}
		}
		h.resolve(now, &w, n.first+store.Seq(w.index), f, err)
	}
	for _, f := range n.retained {
		if f != nil { // its record was not applied
			f.Release()
		}
	}
	h.settleRings(now, n.ticket)
	h.decideFailed(now)
}

// decideFailed answers who waited for batches that the log refused, as far as all
// before them are decided.
func (h *Home) decideFailed(now time.Time) {
	j := &h.journal
	for {
		ticket := j.settled + 1
		err, failed := j.failed[ticket]
		if !failed {
			return
		}
		delete(j.failed, ticket)
		j.under--
		for w, more := j.next(ticket); more; w, more = j.next(ticket) {
			h.resolve(now, &w, 0, nil, err)
		}
		h.settleRings(now, ticket)
	}
}

// settleRings lets the publishers go on that a decided batch had records of: when all of
// it is resolved, and not before, because one publisher may have several.
func (h *Home) settleRings(now time.Time, ticket uint64) {
	j := &h.journal
	j.settled = ticket
	for i := 0; i < len(j.rings); i++ {
		if r := h.at(j.rings[i]); r != nil && (i == 0 || j.rings[i] != j.rings[i-1]) {
			h.settleRing(now, r)
		}
	}
	j.rings = j.rings[:0]
}

// next takes the oldest waiter of the batches up to ticket.
func (j *journal) next(ticket uint64) (w waiter, ok bool) {
	if j.head == len(j.waiters) || j.waiters[j.head].ticket > ticket {
		return w, false
	}
	w, j.waiters[j.head] = j.waiters[j.head], waiter{}
	j.head++
	switch {
	case j.head == len(j.waiters):
		j.waiters, j.head = j.waiters[:0], 0
	case j.head >= 1024 && j.head >= len(j.waiters)/2: // a queue that is never empty must not grow for ever
		n := copy(j.waiters, j.waiters[j.head:])
		clear(j.waiters[n:])
		j.waiters, j.head = j.waiters[:n], 0
	}
	return w, true
}

// resolve answers one waiter.
func (h *Home) resolve(now time.Time, w *waiter, seq store.Seq, retained *mqtt.Frame, err error) {
	r := h.at(w.ref)
	switch w.kind {
	case waitDo:
		w.do(now, r, seq, err)
	case waitShare:
		h.keptPromise(w.promise, err)
	case waitStored:
		switch {
		case r == nil:
		case err != nil:
			r.s.Unstored()
			r.log.owing = true
			if !errors.Is(err, errFenced) { // until it is claimed again all it says is refused
				r.log.passes().again = now.Add(saveAfter)
				h.unsaved(r)
			}
		case !h.freshen(now, r):
		default:
			h.send(r, r.s.Stored(now, w.said, h.scratch.outs))
			h.wakeReplay(r) // the last acknowledgement may have left it without room until now
		}
	case waitRing, waitRetain:
		more := uint64(0)
		if retained != nil {
			more = h.fanRetained(now, r, retained, w.whom)
		}
		if r == nil {
			return
		}
		if more != 0 && r.s.Prolong(w.ticket, more) {
			h.await(r, wait{ticket: more})
		}
		if err != nil {
			r.s.Fail(w.ticket, refusalOf(err))
		}
		h.journal.rings = append(h.journal.rings, w.ref)
	}
}

// refusalOf is what a client is told of a record that the log did not take.
func refusalOf(err error) mqtt.ReasonCode {
	switch {
	case errors.Is(err, errFenced):
		return mqtt.SessionTakenOver
	case errors.Is(err, store.ErrFull):
		return mqtt.QuotaExceeded
	}
	return mqtt.ImplementationSpecificError
}
