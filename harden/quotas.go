package harden

import (
	"context"
	"fmt"
	"strings"
)

// limitCeilings are the limits of the checklist. A broker that was given more
// room keeps the row, with a warning: a number inside its range needs no waiver.
var limitCeilings = []struct {
	key  string
	most int64
	of   func(*Limits) int64
}{
	{"limits.packet_bytes", 1 << 20, func(l *Limits) int64 { return l.PacketBytes }},
	{"limits.connect_packet_bytes", 16 << 10, func(l *Limits) int64 { return l.ConnectPacketBytes }},
	{"limits.topic_levels", 10, func(l *Limits) int64 { return l.TopicLevels }},
	{"limits.topic_bytes", 1024, func(l *Limits) int64 { return l.TopicBytes }},
	{"limits.client_id_bytes", 256, func(l *Limits) int64 { return l.ClientIDBytes }},
	{"limits.user_properties", 64, func(l *Limits) int64 { return l.UserProperties }},
	{"limits.inflight", 32, func(l *Limits) int64 { return l.Inflight }},
	{"limits.awaiting_rel", 100, func(l *Limits) int64 { return l.AwaitingRel }},
	{"limits.mqueue_messages", 1000, func(l *Limits) int64 { return l.MqueueMessages }},
	{"limits.mqueue_bytes", 16 << 20, func(l *Limits) int64 { return l.MqueueBytes }},
	{"limits.subscriptions", 100, func(l *Limits) int64 { return l.Subscriptions }},
	{"limits.wildcard_subscriptions", 20, func(l *Limits) int64 { return l.WildcardSubscriptions }},
	{"limits.topic_aliases", 32, func(l *Limits) int64 { return l.TopicAliases }},
	{"limits.session_expiry_max", 168 * 3600, func(l *Limits) int64 { return l.SessionExpiryMaxSeconds }},
	{"limits.connect_deadline", 10_000, func(l *Limits) int64 { return l.ConnectDeadlineMillis }},
}

// What a probe is willing to send or hold to reach a limit. Beyond it the positive
// control at the limit is not made, and the row cannot pass.
const (
	packetProbeMax       = 4 << 20
	subscriptionProbeMax = 2000
	releaseProbeMax      = 2000
)

// quotas is row P4.3: the limits hold at every entrance, and what they refuse is
// refused one beyond the limit and not before.
func quotas(ctx context.Context, e *Env) []Result {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if len(eps) == 0 {
		return unknown(e, "the broker has no listener for clients that could be probed")
	}
	u, err := e.addProbe(ctx, true)
	if err != nil {
		return unknown(e, "no probe user with a grant could be made: "+err.Error())
	}
	defer e.endProbe(ctx, &u)
	var out []Result
	for i := range eps {
		q := e.at(eps[i].scope(), eps[i].addr)
		q.key = eps[i].key
		t := measure{q: q, p: &eps[i], u: &u, limits: &b.Limits, offers: (&packet{}).offers()}
		offered := false
		for _, t.level = range []byte{level5, level4} {
			was := offered
			offered = t.run(ctx) || offered
			if offered && !was { // it costs time, and is one limit for all versions
				t.rate(ctx, b.Rates[eps[i].name])
			}
		}
		if !offered {
			q.see(Probe, "protocol levels", "at least one is offered", "none", Unknown)
		}
		q.ceilings(&b.Limits)
		out = append(out, q.result(Behavioural, "each limit holds, and not one too early"))
	}
	return out
}

// ceilings compares what the process holds with the checklist.
func (q *inquiry) ceilings(l *Limits) {
	var lower []string
	for _, c := range limitCeilings {
		got, state := c.of(l), Pass
		if got > c.most {
			state = Warn
		}
		q.see(API, c.key+", as the process holds it", fmt.Sprintf("at most %d", c.most), fmt.Sprint(got), state)
		q.source("GET /api/v5/limits")
		if state == Warn {
			q.want(Want{Kind: WantSetting, Name: c.key, Value: ceilingText(c.key, c.most)})
			lower = append(lower, c.key)
		}
	}
	if len(lower) > 0 {
		q.mended("lower " + strings.Join(lower, ", ") + " in the configuration, unless clients need it")
	}
}

// measure is one round at one entrance on one protocol level.
type measure struct {
	q      *inquiry
	p      *endpoint
	level  byte
	u      *ProbeUser
	limits *Limits
	offers offers
}

func (t *measure) see(what, expected, actual string, state State) {
	t.q.see(Probe, levelName(t.level)+": "+what, expected, actual, state)
}

// client is a new connection for one limit, nil if there is none.
func (t *measure) client(ctx context.Context, what string) *client {
	m, s := t.q.e.connect(ctx, t.p, t.u.as(t.level))
	if m == nil {
		t.see(what, "a connection to try it on", s.String(), Unknown)
	}
	return m
}

// run answers false if the listener does not offer the level.
func (t *measure) run(ctx context.Context) (offered bool) {
	m, s := t.q.e.connect(ctx, t.p, t.u.as(t.level))
	if m == nil {
		if s.is(typeConnack, unsupportedVersion(t.level)) {
			t.see("offered or not", "", "not offered: "+s.String(), NotApplicable)
			return false
		}
		t.see("the probe user connects (positive control)", "CONNACK 0x00", s.String(), Unknown)
		return true
	}
	if t.level == level5 {
		t.offers = m.connack.offers()
		t.see("Receive Maximum in CONNACK", fmt.Sprintf("limits.inflight: %d", t.limits.Inflight), fmt.Sprint(t.offers.receiveMaximum), passIf(t.offers.receiveMaximum == t.limits.Inflight, Fail))
	}
	m.leave()
	t.packets(ctx)
	t.firstPacket(ctx)
	t.levels(ctx)
	t.subscriptions(ctx)
	t.releases(ctx)
	return true
}

// packets announces one byte more than allowed, by the fixed header alone: the
// verdict may not need the body.
func (t *measure) packets(ctx context.Context) {
	const what = "a packet"
	limit := t.limits.PacketBytes
	m := t.client(ctx, what)
	if m == nil {
		return
	}
	control := false
	if limit <= packetProbeMax {
		p := publishPacket{topic: t.u.Topic, qos: min(1, t.offers.maxQoS)}
		p.payload = make([]byte, limit-int64(len(p.encode(t.level)))-sizeBytes(limit)+1)
		s := m.publish(p)
		control = s.ok(typePuback) || s.ok(typePingresp)
		t.see(fmt.Sprintf("%s of %d bytes, as many as are allowed (positive control)", what, limit), "accepted", s.String(), passIf(control, Unknown))
	} else {
		t.see(what+" as large as is allowed (positive control)", "sent", fmt.Sprintf("not sent: %d bytes are more than a probe sends", limit), Unknown)
	}
	m.leave()
	for _, n := range []int64{limit + 1, packetMax} {
		if n <= limit {
			continue
		}
		if m = t.client(ctx, what); m == nil {
			return
		}
		var s said
		ask := func() { s = m.ask(announce(typePublish<<4, n), 0) }
		if n == packetMax {
			t.announced(ctx, ask)
		} else {
			ask()
		}
		t.cutOff(ctx, fmt.Sprintf("the fixed header alone of %s of %d bytes", what, n), s, 0x95, control)
		m.drop()
	}
}

// packetMax is the largest packet MQTT can announce, nearly.
const packetMax = 256<<20 - 1

// sizeBytes is how many bytes a Remaining Length of about n takes.
func sizeBytes(n int64) int64 { return int64(len(appendSize(nil, int(n)))) }

// silent tells whether a broker that did not answer is one that answers others:
// only then its silence says something.
func (t *measure) silent(ctx context.Context, s said) State {
	if s.other == "" {
		return Fail
	}
	m, _ := t.q.e.connect(ctx, t.p, t.u.as(t.level))
	if m == nil {
		return Unknown
	}
	m.leave()
	return Fail
}

// cutOff is the verdict on what must end the connection: with a reason code in
// MQTT 5.0, and without a word in 3.1.1, which has none.
func (t *measure) cutOff(ctx context.Context, what string, s said, code byte, control bool) {
	want := fmt.Sprintf("DISCONNECT 0x%02X", code)
	if t.level != level5 {
		want = "the connection is closed"
	}
	var state State
	switch {
	case t.level == level5 && s.is(typeDisconnect, code), t.level != level5 && s.closed:
		state = passIf(control, Unknown)
	case t.level == level5 && (s.closed || s.packet != nil && s.packet.typ == typeDisconnect):
		state = Unknown // ended, for a reason it did not say
	default:
		state = t.silent(ctx, s)
	}
	t.see(what, want, s.String(), state)
}

// firstPacket is the same before anybody has said who he is, where the limit is
// much lower. There is nobody to tell, so the connection just ends.
func (t *measure) firstPacket(ctx context.Context) {
	limit := t.limits.ConnectPacketBytes
	for _, n := range []int64{limit, limit + 1} {
		conn, err := t.q.e.open(ctx, t.q.e.withCert(t.p, nil))
		if err != nil {
			t.see("the first packet", "a connection to try it on", shortened(err.Error()), Unknown)
			return
		}
		m := newClient(ctx, t.q.e, conn, t.level)
		if n == limit {
			c := t.u.as(t.level)
			c.will = &publishPacket{topic: t.u.Topic + "/will"}
			c.clientID = t.q.e.clientID()
			b := c.padded(int(min(limit, 60_000)))
			s := m.ask(b, typeConnack)
			t.see(fmt.Sprintf("a CONNECT of %d bytes, which are allowed (positive control)", len(b)), "CONNACK", s.String(), passIf(s.packet != nil, Unknown))
		} else {
			s := m.ask(announce(typeConnect<<4, n), typeConnack)
			state := passIf(s.closed || s.is(typeConnack, 0x95), Unknown)
			if s.other != "" {
				state = t.silent(ctx, s)
			}
			t.see(fmt.Sprintf("the fixed header alone of a CONNECT of %d bytes", n), "the connection is closed", s.String(), state)
		}
		m.leave()
	}
}

// levels publishes and subscribes as deep as allowed, and one deeper.
func (t *measure) levels(ctx context.Context) {
	depth := int(t.limits.TopicLevels)
	at := func(n int) string { return t.u.Topic + strings.Repeat("/l", n-1) }
	m := t.client(ctx, "topic levels")
	if m == nil {
		return
	}
	defer m.leave()
	qos := min(1, t.offers.maxQoS)
	s := m.publish(publishPacket{topic: at(depth), qos: qos})
	control := s.ok(typePuback) || s.ok(typePingresp)
	t.see(fmt.Sprintf("publish to a topic of %d levels, as many as are allowed (positive control)", depth), "accepted", s.String(), passIf(control, Unknown))
	s = m.subscribe(at(depth))
	subscribed := s.ok(typeSuback)
	t.see(fmt.Sprintf("subscribe to %d levels, as many as are allowed (positive control)", depth), "granted", s.String(), passIf(subscribed, Unknown))
	s = m.subscribe(at(depth + 1))
	want, code := "SUBACK 0x8F", byte(0x8f)
	if t.level != level5 {
		want, code = "SUBACK 0x80", 0x80
	}
	state := Unknown
	switch {
	case s.is(typeSuback, code), s.is(typeDisconnect, 0x8f), s.is(typeDisconnect, 0x90):
		state = passIf(subscribed, Unknown)
	case s.ok(typeSuback):
		state = Fail
	}
	t.see(fmt.Sprintf("subscribe to %d levels", depth+1), want, s.String(), state)
	deeper := t.client(ctx, "topic levels")
	if deeper == nil {
		return
	}
	defer deeper.drop()
	s = deeper.publish(publishPacket{topic: at(depth + 1), qos: qos})
	what := fmt.Sprintf("publish to a topic of %d levels", depth+1)
	if s.is(typePuback, 0x90) {
		t.see(what, "PUBACK or DISCONNECT 0x90", s.String(), passIf(control, Unknown))
		return
	}
	t.cutOff(ctx, what, s, 0x90, control)
}

// subscriptions makes as many as are allowed, and one more.
func (t *measure) subscriptions(ctx context.Context) {
	limit := int(t.limits.Subscriptions)
	if limit > subscriptionProbeMax {
		t.see("subscriptions", "tried at the limit", fmt.Sprintf("not tried: %d are more than a probe makes", limit), Unknown)
		return
	}
	m := t.client(ctx, "subscriptions")
	if m == nil {
		return
	}
	defer m.leave()
	made, s := 0, said{}
	for made < limit {
		var filters []string
		for made+len(filters) < limit && len(filters) < 100 {
			filters = append(filters, fmt.Sprintf("%s/%d", t.u.Topic, made+len(filters)))
		}
		if s = m.subscribe(filters...); !s.ok(typeSuback) {
			break
		}
		made += len(filters)
	}
	t.see(fmt.Sprintf("%d subscriptions, as many as are allowed (positive control)", limit), "all are granted", fmt.Sprintf("%d were, the last answer is %s", made, s), passIf(made == limit, Unknown))
	s = m.subscribe(t.u.Topic + "/more")
	want, code := "SUBACK 0x97", byte(0x97)
	if t.level != level5 {
		want, code = "SUBACK 0x80", 0x80
	}
	state := Unknown
	switch {
	case s.is(typeSuback, code), s.is(typeDisconnect, 0x97):
		state = passIf(made == limit, Unknown)
	case s.ok(typeSuback):
		state = Fail
	}
	t.see("one subscription more", want, s.String(), state)
}

// releases sends QoS 2 messages and never the PUBREL of any, as many as may be
// under way, and one more.
func (t *measure) releases(ctx context.Context) {
	limit, key := int(t.limits.AwaitingRel), "limits.awaiting_rel"
	if t.level == level5 && t.limits.Inflight < t.limits.AwaitingRel {
		limit, key = int(t.limits.Inflight), "limits.inflight"
	}
	switch {
	case t.offers.maxQoS < 2:
		return // nothing can await a PUBREL
	case limit > releaseProbeMax:
		t.see("messages awaiting PUBREL", "tried at the limit", fmt.Sprintf("not tried: %d are more than a probe sends", limit), Unknown)
		return
	}
	m := t.client(ctx, "messages awaiting PUBREL")
	if m == nil {
		return
	}
	defer m.leave()
	send := func() said {
		p := publishPacket{topic: t.u.Topic, qos: 2, id: m.nextID()}
		return m.ask(p.encode(t.level), typePubrec)
	}
	n, s := 0, said{}
	for ; n < limit; n++ {
		if s = send(); !s.ok(typePubrec) {
			break
		}
	}
	t.see(fmt.Sprintf("%d messages awaiting PUBREL, as many as are allowed by %s (positive control)", limit, key), "PUBREC for each", fmt.Sprintf("%d were received, the last answer is %s", n, s), passIf(n == limit, Unknown))
	if n < limit {
		return
	}
	t.cutOff(ctx, "one message more awaiting PUBREL", send(), 0x93, true)
}
