package broker

import (
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What a home says to the log, in the order in which a session lives.

// claim says that a new connection has the session, with its will.
func (h *Home) claim(now time.Time, r *resident, c *mqtt.Connect, clean bool, expiry uint32) {
	if h.part(); r.s.Busy() {
		h.breakOff() // what becomes of publishes of the epoch before says nothing of those of this one
	}
	d := r.log
	from := d.epoch
	d.epoch = h.b.epochAfter(from, now)
	k := r.key()
	body := fact.Claim{
		Owner: fact.Owner{
			Mountpoint: k.Mountpoint, Identity: k.Identity, ClientID: k.ClientID,
			Username: r.by.Username, Listener: r.by.Listener, Method: r.by.Method, Proof: r.by.Proof, Addr: r.by.Addr,
		},
		Node: h.b.durable.Node, Version: uint8(c.Version), Clean: clean, ExpirySeconds: expiry,
	}
	if h.b.shared() || !clean && d.sure == 0 { // it may have moved to another node meanwhile, or be one that the log never took
		body.Sure, body.From = true, from
	}
	h.say(now, d, store.Claim, body.Append)
	if w := c.Will; w != nil {
		will := willFact(w, &r.by)
		h.say(now, d, store.Will, will.Append)
	}
	h.reenlist(r)
	subject, epoch := r.subject, d.epoch
	h.after(r, func(now time.Time, r *resident, seq store.Seq, err error) {
		if r == nil {
			return
		}
		if err == nil {
			r.log.sure = epoch
			return
		}
		if errors.Is(err, errFenced) && h.b.shared() {
			h.lose(now, r)
			h.reclaim(k, r.log.sid, seq)
			return
		}
		if r.log.sure == 0 && !h.b.shared() {
			h.annul(now, r, refusalOf(err))
			return
		}
		if r.log.epoch == epoch && r.log.sure != 0 { // what is said with one that the log has not is refused
			r.log.epoch = r.log.sure
			h.reenlist(r)
		}
		if r.subject == subject && r.s.Online() {
			h.disconnect(now, r, &mqtt.Disconnect{Reason: refusalOf(err)}, CauseServerError)
		}
	})
}

// release says that the connection has ended and how the session goes on.
func (h *Home) release(now time.Time, r *resident) {
	if r.log == nil {
		return
	}
	h.recede(r)
	h.part()
	h.save(now, r)
	body := fact.Release{ExpirySeconds: r.s.ExpirySeconds(), KeepWill: r.s.HasWill()}
	h.say(now, r.log, store.Release, body.Append)
	r.log.rest(now)
}

// recordSub says that r subscribes. When that is so it gets what comes later, and
// what is retained by then if it wants that.
func (h *Home) recordSub(now time.Time, r *resident, sub *session.Sub, wants, had bool) {
	body := fact.Subscription{
		Filter: sub.Filter, Real: sub.Real, SubID: sub.ID, QoS: uint8(sub.QoS),
		NoLocal: sub.NoLocal, RetainAsPublished: sub.RetainAsPublished, Exclusive: sub.Exclusive, Owed: wants,
	}
	if i := r.log.find(sub.Filter); i >= 0 {
		h.recordJoin(now, r, &r.log.subs[i], 0)
		body.ID = r.log.subs[i].id
	}
	if body.ID == 0 { // QoS 0, which no message will name
		body.ID = h.b.durable.Key.FilterID(sub.Real)
	}
	h.say(now, r.log, store.Subscribe, body.Append)
	filter := sub.Filter
	h.after(r, func(_ time.Time, r *resident, seq store.Seq, err error) {
		if r == nil || err != nil {
			return
		}
		if i := r.log.find(filter); i >= 0 {
			r.log.subs[i].start = min(r.log.subs[i].start, seq)
			r.log.known++
		}
		if !wants {
			return
		}
		r.log.heard = seq
		if sub, there := r.s.Subscribed(filter); there {
			h.owe(r, &sub, had, uint64(seq)) // the same after a crash
			r.s.Subscribe(sub)
			h.wakeReplay(r)
		}
	})
}

// unrecordSub says that r has left a subscription.
func (h *Home) unrecordSub(now time.Time, r *resident, filter string) {
	body := fact.Unsubscription{Filter: filter}
	h.say(now, r.log, store.Unsubscribe, body.Append)
}

// recordID says that a QoS 2 identifier was received, or released.
func (h *Home) recordID(now time.Time, r *resident, kind store.Kind, id uint16) (ticket uint64) {
	if kind == store.QoS2Rel {
		h.part()
	}
	body := fact.PacketID{ID: id}
	ticket, _ = h.say(now, r.log, kind, body.Append)
	return ticket
}

// recordMessage puts a message into the log for the filters that want it.
func (h *Home) recordMessage(now time.Time, a author, f *mqtt.Frame, kind store.Kind, to addressed) (ticket uint64) {
	body := &h.scratch.message
	*body = fact.Message{
		Topic: f.Topic(), Props: f.Props(), Payload: f.Payload(), QoS: uint8(f.QoS), Retain: f.Retain, ExpiresAt: f.ExpiresAt,
		Filters: to.ids, Broad: to.broad, By: h.name(&a),
	}
	h.journal.body = body.Append(h.journal.body)
	*body = fact.Message{}
	ticket, _ = h.record(now, kind, a.kept, a.epoch)
	return ticket
}

// Acknowledgements of a client are said to the log lazily: after a quarter of so many,
// or of the window, or so much later. What was not said comes again after a crash, with
// DUP where it was; session.pinched bounds it by the window.
const (
	saveAcks  = 100
	saveAfter = 200 * time.Millisecond
	saveTick  = 100 * time.Millisecond
)

// unsaved lists a session whose state the log has not heard of.
func (h *Home) unsaved(r *resident) {
	d := r.log
	if d == nil || d.touched {
		return
	}
	d.touched = true
	d.passes().since = time.Time{}
	h.work.unsaved = append(h.work.unsaved, r.ref)
	h.wire.Again()
}

// noteSent lists a session that has sent something: where that must be on disk first,
// or has an end that the log should hear of.
func (h *Home) noteSent(r *resident) {
	if begun, ended, must := r.s.Unsaved(); must || ended > 0 || begun > 0 {
		h.unsaved(r)
	}
}

// hunger lets a session that has room read more of what it is behind with.
func (h *Home) hunger(now time.Time, r *resident) {
	if r.log != nil && (r.log.lag.first != 0 || r.log.missing) && h.at(r.ref) == r {
		h.feed(now, r)
	}
}

// saveSome says what is due.
func (h *Home) saveSome(now time.Time) {
	list := h.work.unsaved
	if len(list) == 0 {
		return
	}
	still, fed := list[:0], []Ref(nil)
	for _, ref := range list {
		r := h.at(ref)
		if r == nil {
			continue
		}
		u := r.log.passes()
		if u.since.IsZero() {
			u.since = now
		}
		begun, ended, must := r.s.Unsaved()
		if now.Before(u.again) || !must && ended < min(saveAcks, h.b.Settings().Session.InflightMax)/4 && now.Sub(u.since) < saveAfter {
			still = append(still, ref)
			continue
		}
		r.log.touched = false
		if r.log.starved {
			r.log.starved = false
			fed = append(fed, ref)
		}
		if must || begun+ended > 0 || r.log.owing {
			h.part()
			h.save(now, r)
		}
		if !r.s.Online() {
			r.log.rest(now)
		}
	}
	h.work.unsaved = still
	h.work.saveAt = now.Add(saveTick)
	for _, ref := range fed {
		h.hunger(now, h.at(ref))
	}
}

// nextSave is when saveSome next has something to do; zero: never.
func (h *Home) nextSave() time.Time {
	if len(h.work.unsaved) == 0 {
		return time.Time{}
	}
	return h.work.saveAt
}

// save says all of what the session has under way to its client.
func (h *Home) save(now time.Time, r *resident) {
	_, _, must := r.s.Unsaved()
	box := &h.scratch.outbox
	box.Entries = box.Entries[:0]
	inline := h.scratch.inline[:0]
	last, said := r.s.Outbox(func(e session.OutEntry) {
		s := fact.Sent{Seq: store.Seq(e.Seq), ID: e.ID, State: e.State, QoS: uint8(e.QoS), Retain: e.Retain, Share: r.log.shareOf(e.Group)}
		if f := e.Frame; f != nil && len(inline) < inlineMax {
			from := len(inline)
			m := fact.Message{Topic: f.Topic(), Props: f.Props(), Payload: f.Payload(), QoS: uint8(f.QoS), Retain: f.Retain, ExpiresAt: f.ExpiresAt}
			inline = m.Append(inline)
			s.Inline = inline[from:len(inline):len(inline)]
		}
		box.Entries = append(box.Entries, s)
	})
	h.scratch.inline = inline[:0]
	if cap(inline) > journalMax {
		h.scratch.inline = nil
	}
	box.LastID, box.Cursor = last, store.Seq(r.s.Cursor())
	h.boxReplays(r, box)
	if d := r.log; d.lag.first == 0 && r.s.Needs() == 0 {
		box.Cursor = max(box.Cursor, h.applied) // nothing is wanted of what came so far
		r.s.Skip(uint64(box.Cursor))
	}
	kind := store.Ack
	if must {
		kind = store.Inflight
	}
	ticket, index := h.say(now, r.log, kind, box.Append)
	h.journal.waiters = append(h.journal.waiters, waiter{ticket: ticket, index: index, ref: r.ref, said: said, kind: waitStored})
}

// inlineMax bounds what a session's record repeats of messages that the log has not,
// in bytes or one message: retained messages on their way to a new subscriber. More of
// them are not under way.
const inlineMax = 256 << 10

// boxReplays says which retained messages the session is still owed. A replay that has not
// begun is what its Subscribe record says; as they begin in the order of those, none that
// has begun is of a later one. So what is said does not grow with subscriptions.
func (h *Home) boxReplays(r *resident, box *fact.Outbox) {
	d := r.log
	d.owing = false
	box.Heard, box.Replays = d.heard, box.Replays[:0]
	replays := r.look().replays
	for i := range replays {
		p := &replays[i]
		if p.owed && i > 0 {
			box.Heard = min(box.Heard, store.Seq(p.upTo)-1)
			continue
		}
		box.Replays = append(box.Replays, fact.Replay{Filter: p.filter, Real: p.real, UpTo: store.Seq(p.upTo), Cursor: p.cursor.Bytes()})
	}
	if len(box.Replays) > 0 {
		box.Heard = max(1, box.Heard)
	}
}

// mark says to the log that the node is alive, while anybody is connected whose
// session outlives it: after a crash their connections have ended then. One home does
// it for all.
func (h *Home) mark(now time.Time) {
	if !h.kept() || h.id != 0 || now.Before(h.work.markAt) {
		return
	}
	h.work.markAt = now.Add(MarkEvery)
	if h.b.keptOnline.Load() == 0 {
		return
	}
	body := fact.Mark{Node: h.b.durable.Node}
	h.journal.body = body.Append(h.journal.body)
	h.record(now, store.Hash, store.SID{}, 0)
}

// nextMark is when mark next has something to do; zero: never.
func (h *Home) nextMark() time.Time {
	if !h.kept() || h.id != 0 || h.b.keptOnline.Load() == 0 {
		return time.Time{}
	}
	return h.work.markAt
}

// MarkEvery is how exactly the end of connections is known after a crash.
const MarkEvery = 5 * time.Second
