package harden

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// deny tries everything as the user without a grant, beneath the very topic that
// is watched, and then looks at what the watcher got.
func (t *trial) deny(ctx context.Context) {
	t.watcher.take()
	for i, w := range ways {
		p := w.publishPacket
		p.topic, p.payload = t.mine(fmt.Sprint("denied/", i)), []byte("probe")
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
	t.silence(ctx, t.eavesdrop(ctx))
	t.outcast.leave()
	t.outcast = nil
}

// filters are subscriptions that need an explicit grant.
func (t *trial) filters() []string {
	return []string{t.mine("denied"), "#", "+/#", "$SYS/#", "$share/g/#", "$share/g/" + t.one.Topic + "/#"}
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
	s := m.publish(publishPacket{topic: t.mine("denied/alias"), alias: 1})
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
	c.will = &publishPacket{topic: t.mine("denied/will"), payload: []byte("probe")}
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
	case t.level == level3:
		want, codes = "the connection is closed, or SUBACK 0x80", []byte{0x80}
	case t.level != level5:
		want, codes = "SUBACK 0x80", []byte{0x80}
	case strings.HasPrefix(filter, "$share/") && !t.offers.shared:
		want, codes = "SUBACK 0x87, or 0x9E because shared subscriptions are not offered", []byte{0x87, 0x9e}
	case strings.ContainsAny(filter, "+#") && !t.offers.wildcards:
		want, codes = "SUBACK 0x87, or 0xA2 because wildcards are not offered", []byte{0x87, 0xa2}
	}
	s := said{other: "the user cannot connect"}
	if m != nil {
		s = m.subscribe(filter)
	}
	state := Unknown
	switch {
	case s.is(typeSuback, codes...), s.is(typeDisconnect, 0x87), t.level == level3 && s.closed: // 3.1 has no word for it
		state = Pass
	case s.ok(typeSuback):
		state = Fail
	}
	t.see(what, want, s, state)
	return s
}

// shown hides the random topic, so that two runs can be compared.
func (t *trial) shown(filter string) string {
	return strings.ReplaceAll(strings.ReplaceAll(filter, t.one.Topic, "a watched topic"), t.tag, "")
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
//
// It answers whether it has waited as long as it takes.
func (t *trial) eavesdrop(ctx context.Context) (waited bool) {
	m := t.out(ctx)
	if m == nil {
		return false // told by subscribeDenied
	}
	m.take()
	t.watcher.publish(publishPacket{topic: t.mine("denied"), payload: []byte("probe")})
	t.watcher.await(t.mine("denied"))
	err := m.settled()
	got := m.take()
	switch {
	case len(got) > 0:
		t.see("messages to a client whose subscriptions were refused", "none", said{other: fmt.Sprintf("%d delivered", len(got))}, Fail)
	case err != nil:
		t.see("messages to a client whose subscriptions were refused", "none", saidError(err, t.level), Unknown)
	default:
		t.see("messages to a client whose subscriptions were refused", "none", said{other: "none"}, Pass)
	}
	return err == nil
}

// silence is the verdict on all that was published without a grant: the watcher,
// who may read all of it, got none, live or retained.
func (t *trial) silence(ctx context.Context, waited bool) {
	const what = "what was published without a grant"
	wait := t.watcher.settled
	if waited { // since the last of it was published
		wait = t.watcher.lives
	}
	err := wait()
	if got := t.denied(t.watcher); len(got) > 0 {
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
	err = late.settled()
	switch got := t.denied(late); {
	case len(got) > 0:
		t.see("retained without a grant", "nothing is kept", said{other: "a retained message is there"}, Fail)
		t.clear(ctx, got)
	case err != nil || !s.ok(typeSuback):
		t.see("retained without a grant", "nothing is kept", s, Unknown)
	default:
		t.see("retained without a grant", "nothing is kept", said{other: "nothing is"}, Pass)
	}
}

// denied takes what was delivered and answers what should not have been.
func (t *trial) denied(m *client) []string {
	return slices.DeleteFunc(m.take(), func(topic string) bool { return !strings.HasPrefix(topic, t.mine("denied/")) })
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
