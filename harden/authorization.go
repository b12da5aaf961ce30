package harden

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// quietTime is how long nothing may arrive after everything was answered, before
// it is taken that nothing will. What a broker lets through by mistake is there
// long before the acknowledgements that are waited for first.
const quietTime = 200 * time.Millisecond

// authorization is row P4.2: a user without a grant can neither publish nor
// subscribe, in any of the ways there are, and a user with one grant can do
// exactly that.
func authorization(ctx context.Context, e *Env) []Result {
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	if len(eps) == 0 {
		return unknown(e, "the broker has no listener for clients that could be probed")
	}
	none, err := e.Broker.AddProbe(ctx, false)
	if err != nil {
		return unknown(e, "no probe user could be made: "+err.Error())
	}
	defer e.endProbe(ctx, &none)
	one, err := e.Broker.AddProbe(ctx, true)
	if err != nil {
		return unknown(e, "no probe user with a grant could be made: "+err.Error())
	}
	defer e.endProbe(ctx, &one)
	var out []Result
	for i := range eps {
		q := e.inquire(eps[i].scope())
		q.key = eps[i].key
		t := trial{q: q, p: &eps[i], none: &none, one: &one, offers: (&packet{}).offers()}
		offered := false
		for _, t.level = range []byte{level5, level4} {
			offered = t.run(ctx) || offered
		}
		if !offered {
			q.see(Probe, "protocol levels", "at least one is offered", "none", Unknown)
		}
		out = append(out, q.result(Behavioural, "denies what no rule allows, and delivers none of it"))
	}
	return out
}

// trial is one round at one entrance on one protocol level.
type trial struct {
	q         *inquiry
	p         *endpoint
	level     byte
	none, one *ProbeUser

	offers  offers  // what MQTT 5.0 said is offered holds for 3.1.1 too
	watcher *client // of the user with the grant, subscribed to all of it
	outcast *client // of the user without
}

// ways are the ways to publish; each is tried by both users.
var ways = []struct {
	name string
	publishPacket
}{
	{"at QoS 0", publishPacket{qos: 0}},
	{"at QoS 1", publishPacket{qos: 1}},
	{"at QoS 2", publishPacket{qos: 2}},
	{"retained", publishPacket{qos: 1, retain: true}},
}

// offered tells whether the broker offers a way at all.
func (t *trial) offered(p *publishPacket) bool {
	return p.qos <= t.offers.maxQoS && (t.offers.retain || !p.retain)
}

// watched are the filters of the watcher: its whole grant, or where wildcards are
// off each topic that is used.
func (t *trial) watched() (filters []string) {
	if t.offers.wildcards {
		return []string{t.one.Topic + "/#"}
	}
	for _, f := range []string{"before", "after", "denied", "granted/will", "granted/alias", "denied/will", "denied/alias"} {
		filters = append(filters, t.one.Topic+"/"+f)
	}
	for i := range ways {
		filters = append(filters, fmt.Sprintf("%s/granted/%d", t.one.Topic, i), fmt.Sprintf("%s/denied/%d", t.one.Topic, i))
	}
	return filters
}

func (t *trial) see(what, expected string, s said, state State) {
	t.q.see(Probe, levelName(t.level)+": "+what, expected, s.String(), state)
}

// run answers false if the listener does not offer the level.
func (t *trial) run(ctx context.Context) (offered bool) {
	e := t.q.e
	var s said
	if t.watcher, s = e.connect(ctx, t.p, t.one.as(t.level)); t.watcher == nil {
		if s.is(typeConnack, unsupportedVersion(t.level)) {
			t.see("offered or not", "", s, NotApplicable)
			return false
		}
		t.see("the user with a grant connects (positive control)", "CONNACK 0x00", s, Unknown)
		return true
	}
	defer t.watcher.leave()
	if t.level == level5 {
		t.offers = t.watcher.connack.offers()
	}
	s = t.watcher.subscribe(t.watched()...)
	t.see("subscribe to what was granted (positive control)", "granted", s, passIf(s.ok(typeSuback), Unknown))
	believable := s.ok(typeSuback) && t.control(ctx)
	mark := len(t.q.obs)
	t.deny(ctx)
	if !t.delivers("after") || !believable {
		t.q.doubt(mark)
	}
	return true
}

// control does as the user with the grant all that is then tried without one. It
// answers whether the watcher can be believed.
func (t *trial) control(ctx context.Context) bool {
	all := t.delivers("before")
	for i, w := range ways {
		p := w.publishPacket
		if !t.offered(&p) {
			continue
		}
		p.topic, p.payload = fmt.Sprintf("%s/granted/%d", t.one.Topic, i), []byte("probe")
		s := t.watcher.publish(p)
		ok := t.answered(s, p.qos) && t.watcher.await(p.topic)
		t.see("publish "+w.name+" what was granted (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
		if p.retain && ok { // leave nothing behind
			p.payload = nil
			t.watcher.publish(p)
		}
		all = all && ok
	}
	return t.willControl(ctx) && t.aliasControl() && all
}

// answered tells whether a PUBLISH was acknowledged as its QoS wants.
func (t *trial) answered(s said, qos byte) bool {
	return s.ok([]byte{typePingresp, typePuback, typePubrec}[qos])
}

// delivers publishes as the user with the grant and waits for the message: what
// was let through before it would have come before it.
func (t *trial) delivers(when string) bool {
	p := publishPacket{topic: t.one.Topic + "/" + when, qos: min(1, t.offers.maxQoS)}
	s := t.watcher.publish(p)
	ok := t.answered(s, p.qos) && t.watcher.await(p.topic)
	t.see("a granted message arrives "+when+" the denials (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
	return ok
}

// willControl lets a connection of the user with the grant break and waits for
// its will.
func (t *trial) willControl(ctx context.Context) bool {
	c := t.one.as(t.level)
	c.will = &publishPacket{topic: t.one.Topic + "/granted/will", payload: []byte("probe")}
	m, s := t.q.e.connect(ctx, t.p, c)
	ok := false
	if m != nil {
		m.drop()
		ok = t.watcher.await(c.will.topic)
	}
	t.see("the will of a granted topic (positive control)", "CONNACK 0x00 and the message", s, passIf(ok, Unknown))
	return ok
}

// aliasControl publishes a granted topic by its alias.
func (t *trial) aliasControl() bool {
	if t.level != level5 || t.offers.aliases == 0 {
		return true
	}
	topic := t.one.Topic + "/granted/alias"
	t.watcher.publish(publishPacket{topic: topic, alias: 1})
	first := t.watcher.await(topic)
	s := t.watcher.publish(publishPacket{alias: 1, qos: min(1, t.offers.maxQoS)})
	ok := first && t.answered(s, min(1, t.offers.maxQoS)) && t.watcher.await(topic)
	t.see("publish a granted topic by its alias (positive control)", "accepted and delivered", s, passIf(ok, Unknown))
	return ok
}

// deny tries everything as the user without a grant, beneath the very topic that
// is watched, and then looks at what the watcher got.
func (t *trial) deny(ctx context.Context) {
	t.watcher.take()
	for i, w := range ways {
		p := w.publishPacket
		p.topic, p.payload = fmt.Sprintf("%s/denied/%d", t.one.Topic, i), []byte("probe")
		if t.offered(&p) {
			t.publishDenied(ctx, "publish "+w.name, p)
		}
	}
	if t.level == level5 && t.offers.aliases > 0 {
		t.aliasDenied(ctx)
	}
	t.willDenied(ctx)
	for _, f := range t.filters() {
		m := t.out(ctx)
		t.ended(t.subscribeDenied(m, f, "without a grant"))
	}
	t.exactly(ctx)
	t.eavesdrop(ctx)
	t.silence(ctx)
	t.outcast.leave()
	t.outcast = nil
}

// filters are subscriptions that need an explicit grant.
func (t *trial) filters() []string {
	return []string{t.one.Topic + "/denied", "#", "+/#", "$SYS/#", "$share/g/#", "$share/g/" + t.one.Topic + "/#"}
}

// out is a connection of the user without a grant, a new one if the broker ended
// the last.
func (t *trial) out(ctx context.Context) *client {
	if t.outcast == nil {
		t.outcast, _ = t.q.e.connect(ctx, t.p, t.none.as(t.level))
	}
	return t.outcast
}

// ended forgets the connection if the broker ended it.
func (t *trial) ended(s said) {
	if t.outcast != nil && (s.packet == nil || s.packet.typ == typeDisconnect) {
		t.outcast.drop()
		t.outcast = nil
	}
}

// publishDenied tries one PUBLISH. MQTT 3.1.1 knows no refusal: the connection is
// closed at QoS 1 and 2, and at QoS 0 only what is delivered can tell.
func (t *trial) publishDenied(ctx context.Context, what string, p publishPacket) {
	want := "PUBACK 0x87, or DISCONNECT 0x87"
	switch {
	case p.qos == 0:
		want = "dropped, or DISCONNECT 0x87"
	case t.level != level5:
		want = "the connection is closed"
	case p.qos == 2:
		want = "PUBREC 0x87, or DISCONNECT 0x87"
	}
	m := t.out(ctx)
	if m == nil {
		t.see(what+" without a grant", want, said{other: "the user without a grant cannot connect"}, Unknown)
		return
	}
	s := m.publish(p)
	t.ended(s)
	state := Unknown
	switch {
	case s.is(typeDisconnect, 0x87):
		state = Pass
	case p.qos == 0:
		state = passIf(s.ok(typePingresp) || t.level != level5 && s.closed, Unknown)
	case t.level != level5:
		switch {
		case s.closed:
			state = Pass
		case t.answered(s, p.qos):
			state = Warn // delivered or not, see below; a false acknowledgement at any rate
		}
	case s.is(typePuback, 0x87), s.is(typePubrec, 0x87):
		state = Pass
	case t.answered(s, p.qos):
		state = Fail
	}
	t.see(what+" without a grant", want, s, state)
}

// aliasDenied gives a denied topic an alias and publishes by the alias alone: the
// topic must be known before it is judged.
func (t *trial) aliasDenied(ctx context.Context) {
	m := t.out(ctx)
	if m == nil {
		return // told by publishDenied
	}
	s := m.publish(publishPacket{topic: t.one.Topic + "/denied/alias", alias: 1})
	t.ended(s)
	if t.outcast == nil {
		t.see("publish by topic alias without a grant", "DISCONNECT 0x87", s, passIf(s.is(typeDisconnect, 0x87, 0x94), Unknown))
		return
	}
	t.publishDenied(ctx, "publish by topic alias", publishPacket{alias: 1, qos: 1, payload: []byte("probe")})
}

// willDenied leaves a will on a denied topic and breaks the connection.
func (t *trial) willDenied(ctx context.Context) {
	c := t.none.as(t.level)
	c.will = &publishPacket{topic: t.one.Topic + "/denied/will", payload: []byte("probe")}
	m, s := t.q.e.connect(ctx, t.p, c)
	state, want := Unknown, "CONNACK 0x87"
	codes := []byte{0x87}
	if t.level != level5 {
		want, codes = "CONNACK 0x05", []byte{5}
	}
	switch {
	case m != nil: // the broker may judge it when it is due; what is delivered decides
		m.drop()
		state = Warn
	case s.is(typeConnack, codes...):
		state = Pass
	}
	t.see("a will without a grant", want, s, state)
}

// subscribeDenied tries one SUBSCRIBE; m is nil if its user cannot connect.
func (t *trial) subscribeDenied(m *client, filter, who string) said {
	what, want, codes := "subscribe to "+t.shown(filter)+" "+who, "SUBACK 0x87", []byte{0x87}
	switch {
	case t.level != level5:
		want, codes = "SUBACK 0x80", []byte{0x80}
	case strings.HasPrefix(filter, "$share/"):
		want, codes = "SUBACK 0x87, or 0x9E where shared subscriptions are off", []byte{0x87, 0x9e}
	case strings.ContainsAny(filter, "+#"):
		want, codes = "SUBACK 0x87, or 0xA2 where wildcards are off", []byte{0x87, 0xa2}
	}
	s := said{other: "the user cannot connect"}
	if m != nil {
		s = m.subscribe(filter)
	}
	state := Unknown
	switch {
	case s.is(typeSuback, codes...), s.is(typeDisconnect, 0x87):
		state = Pass
	case s.ok(typeSuback):
		state = Fail
	}
	t.see(what, want, s, state)
	return s
}

// shown hides the random topic, so that two runs can be compared.
func (t *trial) shown(filter string) string {
	return strings.ReplaceAll(filter, t.one.Topic, "a watched topic")
}

// exactly makes sure that the one grant is not a master key.
func (t *trial) exactly(ctx context.Context) {
	const what = "beyond the one grant"
	m, _ := t.q.e.connect(ctx, t.p, t.one.as(t.level))
	t.subscribeDenied(m, "#", what)
	m.leave()
	if m, _ = t.q.e.connect(ctx, t.p, t.one.as(t.level)); m == nil {
		return // told by subscribeDenied
	}
	defer m.leave()
	qos := min(1, t.offers.maxQoS)
	s := m.publish(publishPacket{topic: "probe-" + randomText(), qos: qos})
	state := Unknown
	switch {
	case s.is(typeDisconnect, 0x87), s.is(typePuback, 0x87), t.level != level5 && s.closed, qos == 0 && s.ok(typePingresp):
		state = Pass
	case t.answered(s, qos):
		state = Fail
	}
	t.see("publish "+what, "refused", s, state)
}

// eavesdrop publishes as the user with the grant and makes sure that the other,
// whose subscriptions were all refused, gets nothing.
func (t *trial) eavesdrop(ctx context.Context) {
	m := t.out(ctx)
	if m == nil {
		return // told by subscribeDenied
	}
	m.take()
	t.watcher.publish(publishPacket{topic: t.one.Topic + "/denied", payload: []byte("probe")})
	t.watcher.await(t.one.Topic + "/denied")
	err := m.quiet(quietTime)
	got := m.take()
	switch {
	case len(got) > 0:
		t.see("messages to a client whose subscriptions were refused", "none", said{other: fmt.Sprintf("%d delivered", len(got))}, Fail)
	case err != nil:
		t.see("messages to a client whose subscriptions were refused", "none", saidError(err, t.level), Unknown)
	default:
		t.see("messages to a client whose subscriptions were refused", "none", said{other: "none"}, Pass)
	}
}

// silence is the verdict on all that was published without a grant: the watcher,
// who may read all of it, got none, live or retained.
func (t *trial) silence(ctx context.Context) {
	const what = "what was published without a grant"
	err := t.watcher.quiet(quietTime)
	got := slices.DeleteFunc(t.watcher.take(), func(topic string) bool { return !strings.Contains(topic, "/denied/") })
	if len(got) > 0 {
		var list []string
		for _, topic := range got {
			list = append(list, t.shown(topic))
		}
		t.see(what, "nothing is delivered", said{other: "delivered: " + strings.Join(list, ", ")}, Fail)
		t.clear(ctx, got)
		return
	}
	if err != nil {
		t.see(what, "nothing is delivered", saidError(err, t.level), Unknown)
		return
	}
	t.see(what, "nothing is delivered", said{other: "nothing was"}, Pass)
	late, s := t.q.e.connect(ctx, t.p, t.one.as(t.level))
	if late == nil {
		t.see("retained without a grant", "nothing is kept", s, Unknown)
		return
	}
	defer late.leave()
	s = late.subscribe(t.watched()...)
	err = late.quiet(quietTime)
	switch got := late.take(); {
	case len(got) > 0:
		t.see("retained without a grant", "nothing is kept", said{other: "a retained message is there"}, Fail)
		t.clear(ctx, got)
	case err != nil || !s.ok(typeSuback):
		t.see("retained without a grant", "nothing is kept", s, Unknown)
	default:
		t.see("retained without a grant", "nothing is kept", said{other: "nothing is"}, Pass)
	}
}

// clear takes away what a broker kept that should not have.
func (t *trial) clear(ctx context.Context, topics []string) {
	m, _ := t.q.e.connect(ctx, t.p, t.one.as(t.level))
	if m == nil {
		return
	}
	defer m.leave()
	for _, topic := range topics {
		m.publish(publishPacket{topic: topic, qos: 1, retain: true})
	}
}
