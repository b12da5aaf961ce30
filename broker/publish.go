package broker

import (
	"log/slog"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
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

// author is for whom a message is published: a client, or the broker itself.
type author struct {
	by      *auth.Principal // nil: the broker
	subject uint64          // of by in the verdict cache; 0: not remembered
	sid     uint64
	ref     Ref // of the session, for No Local; the zero Ref is nobody's
}

func (r *resident) author() author {
	return author{by: &r.by, subject: r.subject, sid: r.s.SID, ref: r.ref}
}

// Publish takes an incoming PUBLISH from its identifier to its acknowledgement.
func (h *Home) Publish(now time.Time, ref Ref, p *mqtt.Publish) {
	r := h.at(ref)
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
		h.send(r, r.s.Acknowledge(p.QoS, p.PacketID, mqtt.Success, h.outs))
		return
	}
	if !h.charge(now, r, len(name)+len(p.Props)+len(p.Payload)) {
		return
	}
	h.count.Inc(metrics.MessagesReceived.At(int(p.QoS)))
	m := publication{name: name, packet: p, qos: p.QoS, retain: p.Retain, delay: delay}
	if r.s.Busy() {
		h.deferPublish(now, r, m)
		return
	}
	rc, settled := h.route(now, r.author(), m)
	if !settled {
		r.s.Await(m.qos, p.PacketID)
		h.stall(r)
		return
	}
	h.acknowledge(now, r, m.qos, p.PacketID, rc)
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

// charge accounts a publish. In excess the loop stops reading the client, or
// ends it; a packet already read is never dropped.
func (h *Home) charge(now time.Time, r *resident, bytes int) (ok bool) {
	r.messages.Charge(now, 1)
	r.bytes.Charge(now, int64(bytes))
	wait := max(r.messages.Wait(now), r.bytes.Wait(now))
	if wait == 0 {
		return true
	}
	if h.b.Settings().PublishRate.Disconnect {
		h.fail(now, r, &mqtt.Error{Reason: mqtt.MessageRateTooHigh, Detail: "over limits.publish_rate"})
		return false
	}
	h.count.Inc(metrics.PublisherPauses)
	h.wire.Pause(r.conn, now.Add(wait))
	return true
}

// route is the important path: permission, the retained store, who wants it,
// delivery. Nothing before the permission has an effect on others. settled is
// false when a home that must have the message cannot take it yet: the
// acknowledgement then waits, and never precedes it [MQTT-4.3.2-4].
func (h *Home) route(now time.Time, a author, m publication) (rc mqtt.ReasonCode, settled bool) {
	if !h.mayPublish(now, a, m) {
		return mqtt.NotAuthorized, true
	}
	if m.delay > 0 {
		return h.postpone(now, a, m), true
	}
	if m.retain { // [MQTT-3.3.1-8]; first the store, then whoever wants it: no stale value can win
		if m.frame == nil {
			m.frame = h.frame(now, a, m)
			defer m.frame.Release()
		}
		if _, err := h.b.retained.Put(m.frame); err != nil {
			h.count.Inc(metrics.RetainedRefused)
			return mqtt.QuotaExceeded, true
		}
	}
	h.b.index.Match(m.name, &h.matches)
	if h.matches.Truncated {
		h.count.Inc(metrics.MatchesTruncated)
		by := auth.Principal{Identity: "the broker itself"}
		if a.by != nil {
			by = *a.by
		}
		h.b.log.Event(now, slog.LevelError, "a message matches too many wildcard filters; some subscribers did not get it", by.Identity,
			slog.String("user", by.Username), slog.String("client_id", by.ClientID), slog.String("topic", string(m.name)))
	}
	if len(h.matches.Subs) == 0 {
		h.count.Inc(metrics.MessagesUnmatched)
		return mqtt.NoMatchingSubscribers, true
	}
	if m.frame == nil {
		m.frame = h.frame(now, a, m)
		defer m.frame.Release()
	}
	return mqtt.Success, h.fan(now, a, m.frame)
}

// mayPublish asks the rules for a client. The broker itself asks nobody.
func (h *Home) mayPublish(now time.Time, a author, m publication) bool {
	if a.by == nil {
		return true
	}
	want := auth.Access{Action: auth.Publish, Topic: m.name, QoS: m.qos, Retain: m.retain}
	var d auth.Decision
	if a.subject != 0 {
		d = h.cache.Decide(h.b.authz.Policy(), a.subject, a.by, want)
	} else {
		d = h.b.authz.Policy().Decide(a.by, want)
	}
	if !d.Allow {
		h.count.Inc(metrics.PublishDenied)
		h.b.log.Denied(now, a.by, auth.Publish, m.name, d.Rule)
	}
	return d.Allow
}

// frame copies the bytes of a message once, for everybody.
func (h *Home) frame(now time.Time, a author, m publication) *mqtt.Frame {
	p := m.packet
	f := mqtt.NewFrame(m.name, p.Props, p.Payload)
	f.QoS, f.Retain, f.From, f.CreatedAt = m.qos, m.retain, a.sid, now.UnixMilli()
	f.ExpiresAt = h.b.Settings().expiresAt(now, p.MessageExpiry, p.HasMessageExpiry)
	return f
}

// acknowledge answers a settled publish. A denial is told in the acknowledgement
// of a v5 client, or ends it if the operator wants that; a v3 client has no such
// field, and a positive acknowledgement would be a lie, so its connection closes
// [MQTT-3.3.5-2 of 3.1.1]. At QoS 0 there is nobody to tell.
func (h *Home) acknowledge(now time.Time, r *resident, q mqtt.QoS, id uint16, rc mqtt.ReasonCode) {
	if !r.s.Online() {
		r.s.Acknowledge(q, id, rc, nil)
		return
	}
	v5 := r.s.Version() == mqtt.V5
	if rc >= 0x80 {
		if v5 && rc == mqtt.NotAuthorized && h.b.Settings().DenyDisconnect || !v5 && q > 0 {
			h.fail(now, r, &mqtt.Error{Reason: rc})
			return
		}
	}
	if q > 0 {
		h.send(r, r.s.Acknowledge(q, id, rc, h.outs))
	}
}

// Ack handles PUBACK, PUBREC, PUBREL and PUBCOMP.
func (h *Home) Ack(now time.Time, ref Ref, a *mqtt.Ack) {
	r := h.at(ref)
	if r == nil {
		return
	}
	outs, err := h.outs, error(nil)
	switch a.Type {
	case mqtt.PUBACK:
		outs, err = r.s.Puback(now, a.PacketID, outs)
	case mqtt.PUBREC:
		outs, err = r.s.Pubrec(now, a.PacketID, a.Reason, outs)
	case mqtt.PUBREL:
		outs = r.s.Pubrel(a.PacketID, outs)
	case mqtt.PUBCOMP:
		outs, err = r.s.Pubcomp(now, a.PacketID, outs)
	}
	h.send(r, outs)
	if err != nil {
		h.fail(now, r, err.(*mqtt.Error))
		return
	}
	h.wakeReplay(r)
}
