package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// publication is a message on its way from permission to delivery. Its bytes are
// the packet's until a frame is needed.
type publication struct {
	name   []byte
	packet *mqtt.Publish // nil when frame is there from the start
	frame  *mqtt.Frame   // owned by the caller
	delay  uint32        // seconds; 0: now
	qos    mqtt.QoS
	retain bool
}

// size is that of a message that has a packet.
func (m *publication) size() session.Size {
	return session.SizeOf(len(m.name) + len(m.packet.Props) + len(m.packet.Payload))
}

// author is for whom a message is published: a client, or the broker itself.
type author struct {
	by      *auth.Principal // nil: the broker
	subject uint64          // of by in the verdict cache; 0: not remembered
	sid     uint64
	ref     Ref // of the session, for No Local; the zero Ref is nobody's

	kept   store.SID // of a session that outlives the process
	epoch  uint64
	logged bool // whoever is served by the log gets the message from it
	due    due  // of a delayed message that the log has
	whom   whom
}

// whom is which of the subscribers are served.
type whom uint8

const (
	everybody whom = iota
	shares         // of subscriptions
	others         // who have no share
)

func (r *resident) author() author {
	a := author{by: &r.by, subject: r.subject, sid: r.s.SID, ref: r.ref}
	if r.log != nil {
		a.kept, a.epoch = r.log.sid, r.log.epoch
	}
	return a
}

// wait is what keeps a publish that was routed from being answered.
type wait struct {
	lane   bool   // a home that must have it takes nothing now
	ticket uint64 // of its record; 0: it needs none
	retain bool   // subscribers get it when it is applied
}

func (w wait) none() bool { return !w.lane && w.ticket == 0 }

// kind is what the pending ring calls it.
func (w wait) kind() session.Wait {
	switch {
	case w.lane:
		return session.WaitLane
	case w.retain:
		return session.WaitRetain
	case w.ticket != 0:
		return session.WaitLog
	}
	return session.WaitTurn
}

// Publish takes an incoming PUBLISH from its identifier to its acknowledgement.
func (h *Home) Publish(now time.Time, ref Ref, p *mqtt.Publish) {
	r := h.talking(ref)
	if r == nil {
		return
	}
	name, err := r.s.ResolveAlias(p) // before anything looks at the topic
	if err != nil {
		h.fail(now, r, err.(*mqtt.Error))
		return
	}
	if e := r.offer.checkPublish(p); e != nil {
		h.fail(now, r, e)
		return
	}
	delay, name, refused := h.topicName(&r.by, name)
	if refused != nil {
		h.fail(now, r, refused)
		return
	}
	again, err := r.s.Receive(p)
	if err != nil {
		h.fail(now, r, err.(*mqtt.Error))
		return
	}
	if again {
		h.send(r, r.s.Acknowledge(p.QoS, p.PacketID, mqtt.Success, h.scratch.outs))
		return
	}
	if p.QoS == 2 && r.s.Duplicate(p.PacketID) {
		return // the one in the ring will be answered
	}
	if !h.charge(now, r, len(name)+len(p.Props)+len(p.Payload)) {
		return
	}
	h.takeIn(now, r, len(name)+len(p.Props)+len(p.Payload))
	h.count.Inc(metrics.MessagesReceived.At(int(p.QoS)))
	m := publication{name: name, packet: p, qos: p.QoS, retain: p.Retain, delay: delay}
	if len(h.journal.body) > batchBytes {
		h.submit()
	}
	if r.s.Barred() || h.journal.over() {
		h.deferPublish(now, r, m)
		return
	}
	if m.retain && delay == 0 && h.unsure(now, r, name, len(p.Props)+len(p.Payload)) {
		h.deferPublish(now, r, m)
		return
	}
	rc, w := h.admit(now, r, m, p.PacketID)
	switch {
	case w.none() && !r.s.Busy():
		h.acknowledge(now, r, m.qos, p.PacketID, rc, h.scratch.denial)
	case m.qos > 0 || !w.none():
		r.s.AwaitMore(session.Pending{ID: p.PacketID, QoS: m.qos, Wait: w.kind(), Ticket: w.ticket, Reason: rc, Denial: uint32(h.scratch.denial), Size: m.size()})
		h.await(r, w)
	}
}

// admit routes a publish of r's. A QoS 2 identifier that must be known after a crash
// is said in one batch with the message.
func (h *Home) admit(now time.Time, r *resident, m publication, id uint16) (rc mqtt.ReasonCode, w wait) {
	rc, w = h.route(now, r.author(), m)
	if m.qos == 2 && r.log != nil && rc < 0x80 {
		w.ticket = h.recordID(now, r, store.QoS2In, id)
	}
	return rc, w
}

// await makes sure that a publish in the pending ring is looked at again.
func (h *Home) await(r *resident, w wait) {
	if w.ticket != 0 && !w.retain {
		j := &h.journal
		j.waiters = append(j.waiters, waiter{ticket: w.ticket, index: len(j.recs) - 1, ref: r.ref, kind: waitRing})
	}
	switch {
	case w.lane:
		h.stall(r)
	case r.s.PendingFull() && r.s.Online():
		h.count.Inc(metrics.PublisherPauses)
		h.wire.Pause(r.conn, time.Time{})
	}
}

// checkPublish judges a PUBLISH by what this entrance offers.
func (o *Offer) checkPublish(p *mqtt.Publish) *mqtt.Error {
	switch {
	case p.QoS > o.MaxQoS:
		return &mqtt.Error{Reason: mqtt.QoSNotSupported, Rule: "MQTT-3.2.2-11", Detail: "QoS over the Maximum QoS"}
	case p.Retain && !o.RetainAvailable:
		return &mqtt.Error{Reason: mqtt.RetainNotSupported, Rule: "MQTT-3.2.2-14", Detail: "retained messages are not available"}
	}
	return nil
}

// route is the important path: permission, the retained store, who wants it,
// delivery. Nothing before the permission has an effect on others. The
// acknowledgement waits for what w says, and never precedes it [MQTT-4.3.2-4]: a home
// that must have the message and cannot take it yet, and the log, if a session that
// outlives this process must have it.
func (h *Home) route(now time.Time, a author, m publication) (rc mqtt.ReasonCode, w wait) {
	if !h.mayPublish(now, a, m) {
		return mqtt.NotAuthorized, w
	}
	if m.delay > 0 {
		return h.postpone(now, a, m)
	}
	logged := h.kept() && a.by != nil // what the broker says of itself is of the moment
	a.logged = logged && m.qos > 0
	if m.retain && logged {
		return h.retain(now, a, m)
	}
	if m.retain { // [MQTT-3.3.1-8]; first the store, then whoever wants it: no stale value can win
		if m.frame == nil {
			m.frame = h.frame(now, a, &m)
			defer m.frame.Release()
		}
		if _, err := h.b.retained.Put(m.frame); err != nil {
			h.count.Inc(metrics.RetainedRefused)
			return mqtt.QuotaExceeded, w
		}
	}
	h.match(now, a, m.name)
	wanted := a.logged && h.wanted(m.name)
	if len(h.matches.Subs) == 0 && !wanted {
		h.count.Inc(metrics.MessagesUnmatched)
		return mqtt.NoMatchingSubscribers, w
	}
	if (wanted || a.logged && h.mayWait()) && (h.b.full.Load() || h.hoardsStore(now, &a)) {
		h.count.Inc(metrics.StoreRefused)
		return mqtt.QuotaExceeded, w
	}
	if m.frame == nil {
		m.frame = h.frame(now, a, &m)
		defer m.frame.Release()
	}
	w.lane = !h.fan(now, a, m.frame)
	w.ticket = h.toLog(now, a, m.frame, wanted)
	return mqtt.Success, w
}

// match finds who has a message of that topic live.
func (h *Home) match(now time.Time, a author, name []byte) {
	h.b.index.Match(name, &h.matches)
	if !h.matches.Truncated {
		return
	}
	h.count.Inc(metrics.MatchesTruncated)
	by := auth.Principal{Identity: "the broker itself"}
	if a.by != nil {
		by = *a.by
	}
	h.b.log.Event(now, slog.LevelError, "a message matches too many wildcard filters; some subscribers did not get it", by.Identity,
		slog.String("user", by.Username), slog.String("client_id", by.ClientID), slog.String("listener", by.Listener), slog.String("topic", string(name)))
}

// wanted tells whether a session that outlives the process must have a message of
// that topic at QoS 1 or 2, and notes by which filters.
func (h *Home) wanted(name []byte) bool {
	to := &h.scratch.to
	to.ids, to.broad = h.b.filters.match(name, &h.scratch.matches, to.ids[:0])
	return len(to.ids) > 0 || to.broad
}

// mayWait tells whether a group was matched for which a message may have to be in the log.
func (h *Home) mayWait() bool {
	for i := range h.matches.Subs {
		if l := h.b.lines.at(h.matches.Subs[i].Ref); l != nil && l.kept.Load() > 0 {
			return true
		}
	}
	return false
}

// toLog puts a message that was fanned out into the log, if anybody wants it from there:
// the filters that were found, and the members of shared groups that were given it.
func (h *Home) toLog(now time.Time, a author, f *mqtt.Frame, wanted bool) (ticket uint64) {
	to, members := h.scratch.to, h.scratch.members
	if !wanted {
		to.ids, to.broad = to.ids[:0], false
	}
	for wanted || len(members) > 0 {
		n := min(len(members), fact.FiltersMax-len(to.ids))
		to.ids, members = append(to.ids, members[:n]...), members[n:]
		ticket = h.recordMessage(now, a, f, store.Message, to)
		wanted, to.ids, to.broad = false, to.ids[:0], false
	}
	h.expectPromises()
	h.scratch.to.ids = to.ids[:0]
	return ticket
}

// retain puts a retained message into the log. The retained store and whoever wants it
// have it when it is applied, in the order of the log: no stale value can win, on no
// node.
func (h *Home) retain(now time.Time, a author, m publication) (rc mqtt.ReasonCode, w wait) {
	if m.frame == nil {
		m.frame = h.frame(now, a, &m)
		defer m.frame.Release()
	}
	kind := store.Retain // [MQTT-3.3.1-8]
	if len(m.frame.Payload()) == 0 {
		kind = store.Unretain // [MQTT-3.3.1-6]
	}
	frees := kind == store.Unretain && h.b.retained.Frees(m.name) // what makes room is taken where there is none
	switch {
	case h.b.full.Load() && !(frees && h.b.scarcity.mayFree(m.frame)):
		h.count.Inc(metrics.StoreRefused)
		return mqtt.QuotaExceeded, w
	case kind == store.Retain && (!h.b.retained.Room(m.frame) || h.hoardsRetained(now, &a, m.frame)):
		h.count.Inc(metrics.RetainedRefused)
		return mqtt.QuotaExceeded, w
	}
	h.scratch.to.ids, h.scratch.to.broad = h.scratch.to.ids[:0], false
	joined := h.b.filters.joined.Load()
	if m.qos > 0 && h.wanted(m.name) && !frees && h.hoardsStore(now, &a) {
		h.count.Inc(metrics.StoreRefused)
		return mqtt.QuotaExceeded, w
	}
	w = wait{ticket: h.recordMessage(now, a, m.frame, kind, h.scratch.to), retain: true}
	if m.qos > 0 {
		h.noteRetained(joined)
	}
	j := &h.journal
	j.waiters = append(j.waiters, waiter{ticket: w.ticket, index: len(j.recs) - 1, ref: a.ref, kind: waitRetain})
	if a.due != notDelayed { // what all of them get is in one batch
		j.waiters[len(j.waiters)-1].whom, a.whom = others, shares
		h.match(now, a, m.name)
		h.fan(now, a, m.frame)
		h.toLog(now, a, m.frame, false)
	}
	return mqtt.Success, w
}

// mayPublish asks the rules for a client. The broker itself asks nobody. A will or a delayed
// message that was read from the disk was allowed, and acknowledged, for what its client had
// proved then: where only that could tell, it is still allowed.
func (h *Home) mayPublish(now time.Time, a author, m publication) bool {
	if a.by == nil {
		return true
	}
	h.scratch.denial = 0
	want := auth.Access{Action: auth.Publish, Topic: m.name, QoS: m.qos, Retain: m.retain}
	var d auth.Decision
	if a.subject != 0 {
		if d = h.cache.Decide(h.b.authz.Policy(), a.subject, a.by, want); h.cache.Missed() {
			h.compare(now, a.by, askedPublish, want, d)
		}
	} else {
		d = h.b.authz.Policy().Decide(a.by, want)
		h.compare(now, a.by, askedPublish, want, d)
	}
	if !d.Perhaps() {
		h.count.Inc(metrics.PublishDenied)
		h.scratch.denial = h.b.log.Denied(now, a.by, want, d.Rule)
		if r := h.at(a.ref); r != nil {
			h.talk(r).Denied++
		}
	}
	return d.Perhaps()
}

// frame has the bytes of a message once, for everybody. The name of m is in them from now on:
// what was the packet's may be gone.
func (h *Home) frame(now time.Time, a author, m *publication) *mqtt.Frame {
	p := m.packet
	f := p.Frame(m.name)
	m.name = f.Topic()
	f.QoS, f.Retain, f.From, f.CreatedAt = m.qos, m.retain, a.sid, now.UnixMilli()
	f.ExpiresAt = h.b.Settings().expiresAt(now, p.MessageExpiry, p.HasMessageExpiry)
	return f
}

// acknowledge answers a settled publish. A denial is told in the acknowledgement
// of a v5 client, or ends it if the operator wants that; a v3 client has no such
// field, and a positive acknowledgement would be a lie, so its connection closes
// [MQTT-3.3.5-2 of 3.1.1]. At QoS 0 there is nobody to tell.
func (h *Home) acknowledge(now time.Time, r *resident, q mqtt.QoS, id uint16, rc mqtt.ReasonCode, denial audit.Ref) {
	if !r.s.Online() {
		r.s.Acknowledge(q, id, rc, nil)
		return
	}
	v5 := r.s.Version() == mqtt.V5
	if rc == mqtt.ImplementationSpecificError && q == 2 { // nobody knows whether the disk has it, so the identifier may not be free
		h.fail(now, r, &mqtt.Error{Reason: rc, Detail: "the store does not say whether it has the message"})
		return
	}
	if rc >= 0x80 {
		if v5 && rc == mqtt.NotAuthorized && h.b.Settings().DenyDisconnect || !v5 && q > 0 {
			h.failDenied(now, r, rc, denial)
			return
		}
		if v5 && rc == mqtt.NotAuthorized && q > 0 && h.deny(r, q, id, denial) {
			return
		}
	}
	if q > 0 {
		h.send(r, r.s.Acknowledge(q, id, rc, h.scratch.outs))
	}
}

// Ack handles PUBACK, PUBREC, PUBREL and PUBCOMP.
func (h *Home) Ack(now time.Time, ref Ref, a *mqtt.Ack) {
	r := h.talking(ref)
	if r == nil || !h.freshen(now, r) || !r.s.Online() { // to judge it may have ended its connection
		return
	}
	outs, err := h.scratch.outs, error(nil)
	switch a.Type {
	case mqtt.PUBACK:
		outs, err = r.s.Puback(now, a.PacketID, outs)
	case mqtt.PUBREC:
		outs, err = r.s.Pubrec(now, a.PacketID, a.Reason, outs)
	case mqtt.PUBREL:
		outs = h.pubrel(now, r, a.PacketID, outs)
	case mqtt.PUBCOMP:
		outs, err = r.s.Pubcomp(now, a.PacketID, outs)
	}
	h.send(r, outs)
	if err != nil {
		h.fail(now, r, err.(*mqtt.Error))
		return
	}
	h.wakeReplay(r)
	h.hunger(now, r)
}

// pubrel releases a QoS 2 identifier. One that the log knows is kept until it is
// forgotten there, too: otherwise the next message under it could be taken for the old
// one after a crash, and be lost.
func (h *Home) pubrel(now time.Time, r *resident, id uint16, outs []session.Out) []session.Out {
	if r.log == nil || !r.s.Awaits(id) {
		return r.s.Pubrel(id, outs)
	}
	subject := r.subject
	h.recordID(now, r, store.QoS2Rel, id)
	h.after(r, func(now time.Time, r *resident, _ store.Seq, err error) {
		if r == nil {
			return
		}
		here := r.subject == subject && r.s.Online()
		switch {
		case err == nil && here:
			h.send(r, r.s.Pubrel(id, h.scratch.outs))
		case err == nil:
			r.s.Pubrel(id, nil)
		case here:
			h.disconnect(now, r, &mqtt.Disconnect{Reason: refusalOf(err)}, CauseServerError)
		}
	})
	return outs
}
