package broker

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// party is one client: its connection, its session and its rights.
type party struct {
	name          string
	home          int
	link          *link   // nil: not connected
	memory        *memory // nil: it has no session
	reads, writes bool    // under lent/
	links         int
	lastID        uint16
}

// link is one connection as its client sees it.
type link struct {
	who     *party
	n       int // connections of the party are numbered
	ref     ConnRef
	session Ref
	version mqtt.Version
	receive int    // Receive Maximum
	max     uint32 // Maximum Packet Size; 0: none
	most    uint16 // Topic Alias Maximum
	aliases map[uint16]string
	learnt  map[string]uint16 // aliases the client has set, by topic
	bytes   []byte            // received, not read
	todo    []mqtt.Ack        // answers it owes
	full    bool              // its socket takes no more
	told    int               // step in which the home was told so; 0: not yet
	shut    *shutting         // how the broker closed it
	asked   []ask
	allowed mqtt.ReasonCode // with which the broker must close it now; 0: it must not
}

// may says that the broker must end l now.
func (l *link) may(p *play, rc mqtt.ReasonCode) {
	l.allowed = rc
	p.say("   and is closed for it")
}

// shutting is a Close by the broker.
type shutting struct {
	reason mqtt.ReasonCode
	why    Cause
}

// ask is a request that waits for its answer.
type ask struct {
	t     mqtt.Type
	id    uint16
	codes []mqtt.ReasonCode
}

// flight is a message of a client that the broker has not settled.
type flight struct {
	m        *note
	packet   mqtt.Publish
	received bool // PUBREC came
	released bool // PUBREL was sent
	repeated bool
}

// window is how many messages may be unacknowledged on l.
func (l *link) window(p *play) int { return min(l.receive, p.inflight) }

// modelWire is what a home sees of its loop; it keeps bytes, as a socket would.
type modelWire struct {
	*fakeWire
	p *play
}

// Send implements Wire.
func (w modelWire) Send(c ConnRef, o session.Out) bool {
	l := w.p.links[c]
	switch {
	case l == nil || l.shut != nil:
		w.p.fail("something is sent on a connection that is closed")
	case o.Kind == session.OutPublish && l.told > 0 && l.told < w.p.step:
		w.p.fail("%s: a message is sent although the home was told that there is no room", l.who.name)
	}
	if o.Frame != nil {
		w.p.frames[o.Frame] = true
	}
	before := len(l.bytes)
	for off, end := 0, false; !end; { // in pieces, as a full buffer takes it
		var n int
		l.bytes, n, end = o.Append(l.bytes, l.version, w.p.d.now, off, 50)
		off += n
	}
	if n := len(l.bytes) - before; l.max > 0 && n > int(l.max) {
		w.p.fail("%s: a packet of %d bytes, it takes %d [MQTT-3.1.2-24]: % x", l.who.name, n, l.max, l.bytes[before:])
	}
	o.Done()
	if l.full && l.told == 0 && o.Kind != session.OutPacket { // who answers a request does not ask for room
		l.told = w.p.step
	}
	return !l.full
}

// Close implements Wire.
func (w modelWire) Close(c ConnRef, say *mqtt.Disconnect, why Cause) {
	l := w.p.links[c]
	if l == nil || l.shut != nil {
		w.p.fail("a connection is closed twice")
	}
	l.shut = &shutting{why: why}
	delete(w.paused, c)
	if say != nil {
		l.shut.reason = say.Reason
		if n := len(say.Append(nil, l.version, 0)); l.max > 0 && n > int(l.max) {
			w.p.fail("%s: a DISCONNECT of %d bytes, it takes %d", l.who.name, n, l.max)
		}
	}
	w.p.closed = append(w.p.closed, l)
}

// Pause implements Wire.
func (w modelWire) Pause(c ConnRef, _ time.Time) { w.paused[c] = true }

// Holds implements Wire.
func (w modelWire) Holds(ConnRef) Holding { return Holding{} }

// read takes in what has come on l.
func (p *play) read(l *link) {
	for len(l.bytes) > 0 {
		h, ok, err := mqtt.ReadHeader(l.bytes, l.version)
		if !ok || err != nil || len(l.bytes) < h.Size+h.Remaining {
			p.fail("%s was sent nonsense: % x, %v", l.who.name, l.bytes, err)
		}
		body := l.bytes[h.Size : h.Size+h.Remaining]
		p.heed(l, h, body)
		l.bytes = l.bytes[h.Size+h.Remaining:]
	}
}

// heed is one packet from the broker.
func (p *play) heed(l *link, h mqtt.Header, body []byte) {
	var err error
	lim := mqtt.Limits{UserProperties: -1}
	switch h.Type {
	case mqtt.PUBLISH:
		var m mqtt.Publish
		if err = mqtt.DecodePublishClient(body, h, l.version, lim, &m); err == nil {
			p.received(l, &m)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var a mqtt.Ack
		if err = mqtt.DecodeAck(body, h, l.version, lim, &a); err == nil {
			p.say("   %s gets %v %d %v", l.who.name, a.Type, a.PacketID, a.Reason)
			p.answered(l, &a)
		}
	case mqtt.SUBACK:
		var a mqtt.Suback
		if err = mqtt.DecodeSuback(body, h, l.version, lim, &a); err == nil {
			p.granted(l, mqtt.SUBACK, a.PacketID, a.Reasons)
		}
	case mqtt.UNSUBACK:
		var a mqtt.Unsuback
		if err = mqtt.DecodeUnsuback(body, h, l.version, lim, &a); err == nil {
			p.granted(l, mqtt.UNSUBACK, a.PacketID, a.Reasons)
		}
	case mqtt.CONNACK:
		var a mqtt.Connack
		if err = mqtt.DecodeConnack(body, h, l.version, lim, &a); err == nil {
			want := l.asked
			l.asked = nil
			if len(want) != 1 || want[0].t != mqtt.CONNACK || a.Reason != mqtt.Success || a.SessionPresent != (want[0].id == 1 && l.version != mqtt.V31) {
				p.fail("%s: CONNACK %+v, want %+v", l.who.name, a, want)
			}
		}
	default:
		p.fail("%s was sent %v", l.who.name, h.Type)
	}
	if err != nil {
		p.fail("%s was sent a bad %v: %v", l.who.name, h.Type, err)
	}
}

// granted compares the answer to SUBSCRIBE or UNSUBSCRIBE.
func (p *play) granted(l *link, t mqtt.Type, id uint16, codes []mqtt.ReasonCode) {
	if len(l.asked) == 0 || l.asked[0].t != t || l.asked[0].id != id || !(t == mqtt.UNSUBACK && l.version != mqtt.V5) && !slices.Equal(l.asked[0].codes, codes) {
		p.fail("%s: %v %d %v, it waits for %v", l.who.name, t, id, codes, l.asked)
	}
	l.asked = l.asked[1:]
}

// received is a PUBLISH from the broker: it must be owed, and owed now.
func (p *play) received(l *link, m *mqtt.Publish) {
	topic := p.named(l, m)
	ids := make([]int, len(m.SubscriptionIDs))
	for i, id := range m.SubscriptionIDs {
		ids[i] = int(id)
	}
	f := form{m.QoS, m.Retain, idText(ids)}
	p.say("   %s gets %q on %s, QoS %d, id %d%s%s, identifiers %s", l.who.name, m.Payload, topic, m.QoS, m.PacketID, word(m.Dup, ", DUP"), word(m.Retain, ", RETAIN"), f.ids)
	if !l.who.mayRead(topic) {
		p.fail("%s may not read %s (A051)", l.who.name, topic)
	}
	s := l.who.memory
	if s == nil || l.who.link != l {
		p.fail("%s was sent a message behind the end of its connection", l.who.name)
	}
	var o *debt
	if m.Dup {
		o = p.repeated(l, s, m, topic, f)
	} else {
		o = p.first(l, s, m, topic, f)
	}
	p.expiryOf(l, o, m)
	if m.QoS == 0 {
		s.owed = slices.DeleteFunc(s.owed, func(x *debt) bool { return x == o })
		return
	}
	o.stage, o.link, o.pid = sent, l.n, m.PacketID
	if n := l.outstanding(s); n > l.receive {
		p.fail("%s: %d messages unacknowledged, its Receive Maximum is %d [MQTT-3.3.4-9]", s, n, l.receive)
	}
	t := mqtt.PUBACK
	if m.QoS == 2 {
		t = mqtt.PUBREC
	}
	l.todo = append(l.todo, mqtt.Ack{Type: t, PacketID: m.PacketID})
}

func word(is bool, s string) string {
	if is {
		return s
	}
	return ""
}

// named is the topic of m, which may be an alias told before [MQTT-3.3.2-12].
func (p *play) named(l *link, m *mqtt.Publish) string {
	if !m.HasTopicAlias {
		return string(m.Topic)
	}
	if m.TopicAlias == 0 || m.TopicAlias > l.most {
		p.fail("%s: alias %d, it takes %d [MQTT-3.1.2-26]", l.who.name, m.TopicAlias, l.most)
	}
	if len(m.Topic) > 0 {
		l.aliases[m.TopicAlias] = string(m.Topic)
	}
	name, known := l.aliases[m.TopicAlias]
	if !known {
		p.fail("%s: alias %d was never told", l.who.name, m.TopicAlias)
	}
	return name
}

// outstanding is how many messages were sent on l and not acknowledged.
func (l *link) outstanding(s *memory) (n int) {
	for _, o := range s.owed {
		if o.stage != waiting && o.link == l.n {
			n++
		}
	}
	return n
}

// repeated is a PUBLISH with DUP: sent before, on an earlier connection, not
// acknowledged, with the same identifier, and in the order of the first time
// [MQTT-4.4.0-1] [MQTT-4.6.0-1].
func (p *play) repeated(l *link, s *memory, m *mqtt.Publish, topic string, f form) *debt {
	for _, o := range s.owed {
		if o.stage != sent || o.pid != m.PacketID {
			continue
		}
		if o.link == l.n || o.m.topic != topic || o.m.text != string(m.Payload) || !o.looks(f, l.version) && !p.blurred(s, o.m) && !o.mixed {
			break
		}
		for _, later := range s.owed {
			if later.stage == sent && later.link == l.n && later.order > o.order {
				p.fail("%s: %q is repeated behind %q, which was sent after it", s, o.m.text, later.m.text)
			}
		}
		if o.parcel != nil {
			o.parcel.loose = false // it has stayed
		}
		return o
	}
	p.fail("%s: %q with DUP, and it was not sent before on another connection with that identifier", s, m.Payload)
	return nil
}

// like tells whether two deliveries look the same to a client of that version.
func (f form) like(o form, v mqtt.Version) bool {
	return f.qos == o.qos && f.retain == o.retain && (f.ids == o.ids || v != mqtt.V5)
}

// blurred: which of several subscriptions a message came by cannot be told.
func (p *play) blurred(s *memory, m *note) bool {
	return slices.ContainsFunc(p.parcels, func(x *parcel) bool {
		return x.blur && x.m.text == m.text && x.m.topic == m.topic && x.could[s] != nil
	})
}

func (o *debt) could(f form, v mqtt.Version) bool {
	return slices.ContainsFunc(o.forms, func(g form) bool { return g.like(f, v) })
}

// mix: what else looks the same may be what came in place of o. Then none of them
// has to come, and one more may.
func (s *memory) mix(o *debt, f form, v mqtt.Version, blurred bool) {
	for _, x := range s.owed {
		if x != o && x.stage == waiting && x.m.text == o.m.text && x.m.topic == o.m.topic && x.could(f, v) {
			x.must, x.mixed, blurred = false, true, true
		}
	}
	if blurred {
		o.mixed = true
		left := *o
		left.must = false
		s.owed = append(s.owed, &left)
	}
}

// looks tells whether o may look like f, and keeps the forms that do: to a client
// before 5.0 more of them look the same.
func (o *debt) looks(f form, v mqtt.Version) bool {
	var like []form
	for _, g := range o.forms {
		if g.like(f, v) {
			like = append(like, g)
		}
	}
	if like == nil {
		return false
	}
	o.forms, o.form = like, like[0]
	return true
}

// first is a PUBLISH without DUP. What is for the session itself is taken to be it
// before what is for one of a group, and of that what must come first.
func (p *play) first(l *link, s *memory, m *mqtt.Publish, topic string, f form) *debt {
	is := func(n *note) bool {
		fresh := !past(n.expires, p.d.now) // [MQTT-3.3.2-5]
		return n.topic == topic && n.text == string(m.Payload) && (n.vague || fresh && p.interval(l, n) == int64(m.MessageExpiry))
	}
	for _, must := range []bool{true, false} {
		var best *debt
		for _, o := range s.owed {
			if o.stage == waiting && o.must == must && is(o.m) && o.could(f, l.version) && (best == nil || len(o.forms) < len(best.forms)) {
				best = o
			}
		}
		if best != nil {
			s.mix(best, f, l.version, p.blurred(s, best.m))
			best.looks(f, l.version)
			p.checkFirst(l, s, best)
			return best
		}
		var of *parcel
		for _, x := range p.parcels {
			if is(x.m) && x.fits(s, f, l.version) && (x.taken == nil || x.loose || x.blur) && !must {
				of = x
			}
		}
		if of != nil {
			return p.hand(l, s, of, f)
		}
	}
	p.fail("%s: %q on %s, QoS %d%s, identifiers %s: it is not owed\n%s", s, m.Payload, topic, m.QoS, word(m.Retain, ", RETAIN"), f.ids, s.debts())
	return nil
}

// fits tells whether s may be sent x in the form f.
func (x *parcel) fits(s *memory, f form, v mqtt.Version) bool {
	if x.blur { // whose identifiers these are cannot be told either
		v = mqtt.V311
	}
	return slices.ContainsFunc(x.could[s], func(g form) bool { return g.like(f, v) })
}

// hand: s is the one of the group who gets x.
func (p *play) hand(l *link, s *memory, x *parcel, f form) *debt {
	if x.taken != nil && !x.blur {
		x.by.owed = slices.DeleteFunc(x.by.owed, func(o *debt) bool { return o == x.taken })
	}
	o := &debt{m: x.m, forms: x.could[s], parcel: x, must: !x.blur}
	o.looks(f, l.version)
	x.taken, x.by, x.loose, x.must, x.now = o, s, false, false, false
	s.owed = append(s.owed, o)
	p.checkFirst(l, s, o)
	return o
}

// checkFirst holds a first sending to order, expiry, identifiers and, for retained
// values, to what came before.
func (p *play) checkFirst(l *link, s *memory, o *debt) {
	m := o.m
	s.got[m.root] = true
	s.sends++
	o.order = s.sends
	if o.form.qos > 0 {
		p.checkWindow(l, s, o)
	}
	if o.parcel != nil {
		return
	}
	blur := p.blurred(s, m) || m.text == "" || o.mixed
	if newest := s.newest[m.topic]; m.put > 0 && !blur {
		if o.replay != "" && newest > m.put || o.replay == "" && !o.here && newest >= m.put && s.known(m) {
			p.fail("%s: the retained value %q (%d) of %s comes after value %d", s, m.text, m.put, m.topic, newest)
		}
		s.newest[m.topic] = max(newest, m.put)
	}
	if o.replay == "" && m.ordered && m.root.copies == 0 && !blur {
		c := class{m.from, m.topic, m.qos, o.form.qos}
		if s.last[c] > m.n {
			p.fail("%s: %q of %s comes behind a later one [MQTT-4.6.0-5]", s, m.text, m.from.name)
		}
		s.last[c] = m.n
	}
}

// checkWindow: what an earlier connection was sent goes first.
func (p *play) checkWindow(l *link, s *memory, o *debt) {
	for _, x := range s.owed {
		if x != o && x.must && x.stage != waiting && x.link != l.n {
			p.fail("%s: %q is sent before %q is repeated [MQTT-4.4.0-1]", s, o.m.text, x.m.text)
		}
	}
}

// expiryOf compares the Message Expiry Interval [MQTT-3.3.2-6].
func (p *play) expiryOf(l *link, o *debt, m *mqtt.Publish) {
	want := p.interval(l, o.m)
	if o.m.vague {
		want = int64(m.MessageExpiry)
	}
	if int64(m.MessageExpiry) != want || m.HasMessageExpiry != (want > 0) {
		p.fail("%s: %q with expiry %d, want %d", l.who.name, m.Payload, m.MessageExpiry, want)
	}
	if m.PacketID == 0 {
		return
	}
	s := l.who.memory
	for i, x := range s.owed {
		if x != o && x.stage != waiting && x.pid == m.PacketID {
			if x.must {
				p.fail("%s: identifier %d is in use for %q [MQTT-2.2.1-3]", s, m.PacketID, x.m.text)
			}
			s.owed = slices.Delete(s.owed, i, i+1)
			return
		}
	}
}

// interval is what is left of m's Message Expiry Interval, as l is told it.
func (p *play) interval(l *link, m *note) int64 {
	if m.expires.IsZero() || l.version != mqtt.V5 {
		return 0
	}
	return max(1, int64(m.expires.Sub(p.d.now).Seconds()))
}

// answered is an acknowledgement from the broker.
func (p *play) answered(l *link, a *mqtt.Ack) {
	s := l.who.memory
	if s == nil {
		p.fail("%s: %v behind the end of its session", l.who.name, a.Type)
	}
	if a.Type == mqtt.PUBREL {
		for _, o := range s.owed {
			if o.stage == released && o.pid == a.PacketID {
				o.link = l.n
			}
		}
		if a.Reason == mqtt.Success {
			l.todo = append(l.todo, mqtt.Ack{Type: mqtt.PUBCOMP, PacketID: a.PacketID})
		}
		return
	}
	i := slices.IndexFunc(s.flights, func(f *flight) bool { return f.packet.PacketID == a.PacketID })
	if i < 0 {
		if a.Type == mqtt.PUBCOMP && (a.Reason == mqtt.PacketIdentifierNotFound || l.version != mqtt.V5) {
			return // it answers a stray PUBREL
		}
		p.fail("%s: %v %d, and no message of that identifier is on its way", l.who.name, a.Type, a.PacketID)
	}
	f := s.flights[i]
	switch {
	case (a.Type == mqtt.PUBACK) != (f.packet.QoS == 1) || a.Type == mqtt.PUBCOMP && !f.released:
		p.fail("%s: %v %d for %q of QoS %d", l.who.name, a.Type, a.PacketID, f.m.text, f.packet.QoS)
	case a.Type == mqtt.PUBCOMP:
		s.flights = slices.Delete(s.flights, i, i+1)
		return
	case f.received:
		return // of one that was repeated
	}
	for _, g := range s.flights[:i] {
		if g.packet.QoS == f.packet.QoS && !g.received && !g.repeated && !f.repeated {
			p.fail("%s: %v for %q before %q [MQTT-4.6.0-2]", l.who.name, a.Type, f.m.text, g.m.text)
		}
	}
	p.settled(l, f.m, a.Reason)
	f.received = true
	if a.Type == mqtt.PUBACK || a.Reason.Failed() {
		s.flights = slices.Delete(s.flights, i, i+1)
	}
}

// debts are what s is owed, for whoever reads of a failure.
func (s *memory) debts() (text string) {
	for _, o := range s.owed {
		text += fmt.Sprintf("      owed: %q on %s, must %t, stage %d, id %d, forms %v, replay %q, of a group %t\n", o.m.text, o.m.topic, o.must, o.stage, o.pid, o.forms, o.replay, o.parcel != nil)
	}
	return text
}
