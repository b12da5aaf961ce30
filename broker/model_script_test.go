package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What a script is made of: three clients that publish to five topics and
// subscribe to filters that overlap.
var (
	modelTopics  = []string{"open/one", "open/two", "open/one/deep", "lent/one", "lent/two"}
	modelFilters = []string{
		"open/one", "open/+", "open/#", "#", "+/one", "lent/one", "lent/#", "open/two",
		"$share/g/open/+", "$share/g/+/one", "$share/h/open/#", "$share/g/lent/one",
	}
	// groupFilters are for scripts in which most is shared and nothing overlaps it.
	groupFilters  = []string{"$share/g/open/+", "$share/g/open/+", "$share/g/open/+", "lent/#", "open/one/deep"}
	modelVersions = []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5, mqtt.V5}
	modelExpiries = []uint32{0, 2, 5, 30}
)

// step is one thing that happens: what, to whom, how. Any five bytes are one.
type step struct{ op, who, a, b, c byte }

// ops are the things that happen, as often as they stand here.
var ops = []func(p *play, w *party, s step){
	(*play).stepConnect, (*play).stepConnect, (*play).stepSubscribe, (*play).stepSubscribe, (*play).stepSubscribe, (*play).stepUnsubscribe,
	(*play).stepPublish, (*play).stepPublish, (*play).stepPublish, (*play).stepPublish, (*play).stepPublish, (*play).stepPublish,
	(*play).stepRetain, (*play).stepRetain, (*play).stepDelayed, (*play).stepAck, (*play).stepAck, (*play).stepAck, (*play).stepAck, (*play).stepAck,
	(*play).stepRelease, (*play).stepRelease, (*play).stepRepeat, (*play).stepStray, (*play).stepDisconnect, (*play).stepLoss,
	(*play).stepTick, (*play).stepTick, (*play).stepRights, (*play).stepSocket, (*play).stepLane, (*play).stepExchange,
}

// pick is of[n], whatever n is.
func pick[T any](of []T, n byte) T { return of[int(n)%len(of)] }

// feed gives the broker what a client has sent, decoded as a loop does it.
func (p *play) feed(l *link, b []byte) {
	if l.shut != nil {
		return // of two packets the first one ended the connection
	}
	h, ok, err := mqtt.ReadHeader(b, l.version)
	if !ok || err != nil || h.Size+h.Remaining != len(b) {
		p.fail("the script sends nonsense: % x, %v", b, err)
	}
	body, home := b[h.Size:], p.d.homes[l.who.home]
	lim := mqtt.Limits{UserProperties: 10, Filters: 10}
	switch h.Type {
	case mqtt.PUBLISH:
		var m mqtt.Publish
		if err = mqtt.DecodePublish(body, h, l.version, lim, &m); err == nil {
			home.Publish(p.d.now, l.session, &m)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var a mqtt.Ack
		if err = mqtt.DecodeAck(body, h, l.version, lim, &a); err == nil {
			home.Ack(p.d.now, l.session, &a)
		}
	case mqtt.SUBSCRIBE:
		var s mqtt.Subscribe
		if err = mqtt.DecodeSubscribe(body, h, l.version, lim, &s); err == nil {
			home.Subscribe(p.d.now, l.session, &s)
		}
	case mqtt.UNSUBSCRIBE:
		var u mqtt.Unsubscribe
		if err = mqtt.DecodeUnsubscribe(body, h, l.version, lim, &u); err == nil {
			home.Unsubscribe(p.d.now, l.session, &u)
		}
	case mqtt.DISCONNECT:
		var d mqtt.Disconnect
		if err = mqtt.DecodeDisconnect(body, h, l.version, lim, &d); err == nil {
			home.Disconnect(p.d.now, l.session, &d)
		}
	}
	clear(b) // the next packet comes into the same buffer
	if err != nil {
		p.fail("the script sends a bad %v: %v", h.Type, err)
	}
}

// stepConnect connects w, and takes its session over if it is connected.
func (p *play) stepConnect(w *party, s step) {
	c := &mqtt.Connect{Version: pick(modelVersions, s.a), CleanStart: s.a>>2&1 == 1, ClientID: "c", ReceiveMaximum: 65535, RequestProblemInformation: true}
	if c.Version == mqtt.V5 {
		c.SessionExpiry, c.ReceiveMaximum = modelExpiries[s.a>>4&3], pick([]uint16{1, 2, 3, 65535}, s.a>>6)
		c.MaximumPacketSize, c.TopicAliasMaximum = pick([]uint32{0, 0, 0, 40}, s.b), pick([]uint16{0, 1, 3}, s.c>>1)
	}
	if s.a>>3&1 == 1 {
		p.texts++
		c.Will = &mqtt.Will{Topic: pick(modelTopics, s.c), Payload: fmt.Appendf(nil, "will %d", p.texts), QoS: mqtt.QoS(s.b >> 4 % 3), Retain: s.b>>6&1 == 1}
		if c.Version == mqtt.V5 {
			c.Will.DelaySeconds = pick([]uint32{0, 1, 3, 10}, s.b>>2)
			c.Will.HasMessageExpiry = s.c>>7 == 1
			c.Will.MessageExpiry = 2 * uint32(s.c>>7)
		}
	}
	p.connect(w, c)
}

// connect plays a CONNECT through the model and then through the broker.
func (p *play) connect(w *party, c *mqtt.Connect) {
	w.links++
	l := &link{
		who: w, n: w.links, ref: ConnRef{Slot: uint32(len(p.links) + 1), Gen: uint32(w.links)}, version: c.Version, receive: int(c.ReceiveMaximum),
		max: c.MaximumPacketSize, most: c.TopicAliasMaximum, aliases: map[uint16]string{}, learnt: map[string]uint16{},
	}
	p.links[l.ref] = l
	p.say("%s connects: %v, clean start %t, expiry %d, Receive Maximum %d, Maximum Packet Size %d, aliases %d, will %s", w.name, c.Version, c.CleanStart, c.SessionExpiry, c.ReceiveMaximum, c.MaximumPacketSize, c.TopicAliasMaximum, willWords(c.Will))
	by := principal(w.name)
	b := c.Append(nil, c.Version, 0)
	h, _, _ := mqtt.ReadHeader(b, c.Version)
	var got mqtt.Connect
	if err := mqtt.DecodeConnect(b[h.Size:], mqtt.Limits{}, &got); err != nil {
		p.fail("the script sends a bad CONNECT: %v", err)
	}
	if _, e := p.d.b.Check(&got); e != nil {
		p.fail("CONNECT is refused: %v", e)
	}
	refused := c.Will != nil && !w.mayWrite(c.Will.Topic)
	old := w.link
	if !refused {
		p.arrive(w, l, c)
	}
	o, e := p.d.homes[w.home].Open(p.d.now, &Arrival{Conn: l.ref, Connect: &got, By: by})
	if (e != nil) != refused {
		p.fail("%s: CONNECT is answered %v, to be refused: %t", w.name, e, refused)
	}
	l.session = o.Ref
	if !refused && old != nil && (old.shut == nil || old.shut.reason != mqtt.SessionTakenOver) {
		p.fail("%s: its older connection is still there [MQTT-3.1.4-3]", w.name)
	}
	if refused {
		return
	}
	p.open()
	p.soften()
	p.read(l)
	for _, f := range slices.Clone(w.memory.flights) { // [MQTT-4.4.0-1]
		p.again(l, f)
	}
}

func willWords(w *mqtt.Will) string {
	if w == nil {
		return "none"
	}
	return fmt.Sprintf("%q on %s, QoS %d, retain %t, delay %d, expiry %d", w.Payload, w.Topic, w.QoS, w.Retain, w.DelaySeconds, w.MessageExpiry)
}

// arrive is CONNECT in the model.
func (p *play) arrive(w *party, l *link, c *mqtt.Connect) {
	s := w.memory
	if s != nil && w.link != nil {
		p.depart(s, true)
		s = w.memory
	}
	present := s != nil && !c.CleanStart
	if s != nil && c.CleanStart {
		p.fire(s) // [MQTT-3.1.2-4], and the will goes out as the session ends
		p.end(s)
	}
	if !present {
		s = &memory{who: w, subs: map[string]*interest{}, last: map[class]int{}, newest: map[string]int{}, got: map[*note]bool{}}
		p.sessions = append(p.sessions, s)
		w.memory = s
	}
	for _, o := range s.owed { // it is judged again (A045)
		o.must = o.must && w.mayRead(o.m.topic)
	}
	s.endsAt, s.willAt, s.will = time.Time{}, time.Time{}, c.Will // [MQTT-3.1.3-9]
	s.expiry = min(c.SessionExpiry, expiryMax)
	if c.Version != mqtt.V5 {
		s.expiry = expiryMax
		if c.CleanStart {
			s.expiry = 0
		}
	}
	w.link = l
	l.asked = []ask{{t: mqtt.CONNACK}}
	if present {
		l.asked[0].id = 1
	}
}

// stepSubscribe subscribes with one filter or two.
func (p *play) stepSubscribe(w *party, s step) {
	filters := []string{pick(p.filters, s.a)}
	if s.a>>7 == 1 && s.a>>5&3 == 0 {
		filters = append(filters, pick(p.filters, s.a+1))
	}
	p.subscribe(w, s, filters)
}

func (p *play) subscribe(w *party, s step, filters []string) {
	l := w.link
	req := mqtt.Subscribe{PacketID: p.requestID(l)}
	for _, f := range filters {
		sub := mqtt.Subscription{Filter: f, QoS: mqtt.QoS(s.b % 3)}
		if l.version == mqtt.V5 {
			sub.NoLocal, sub.RetainAsPublished, sub.RetainHandling = s.b>>2&1 == 1 && f[0] != '$', s.b>>3&1 == 1, pick([]byte{0, 0, 1, 2}, s.b>>4)
		}
		req.Filters = append(req.Filters, sub)
	}
	if l.version == mqtt.V5 {
		req.SubscriptionID = pick([]uint32{0, 0, 1, 2, 300}, s.c)
	}
	p.say("%s subscribes: %+v, identifier %d", w.name, req.Filters, req.SubscriptionID)
	var codes []mqtt.ReasonCode
	for _, sub := range req.Filters {
		rc := p.subscribed(w.memory, sub, req.SubscriptionID)
		if rc.Failed() && l.version == mqtt.V31 { // it has no word for that
			l.may(p, mqtt.NotAuthorized)
			p.feed(l, req.Append(nil, l.version, 0))
			return
		}
		if rc.Failed() && l.version == mqtt.V311 {
			rc = mqtt.UnspecifiedError // the only one it has
		}
		codes = append(codes, rc)
	}
	l.asked = append(l.asked, ask{mqtt.SUBACK, req.PacketID, codes})
	p.feed(l, req.Append(nil, l.version, 0))
}

// subscribed is one filter in the model.
func (p *play) subscribed(s *memory, sub mqtt.Subscription, id uint32) mqtt.ReasonCode {
	in := &interest{Subscription: sub, id: id, real: sub.Filter}
	if rest, ok := strings.CutPrefix(sub.Filter, "$share/"); ok {
		in.share, in.real, _ = strings.Cut(rest, "/")
	}
	if !s.who.maySubscribe(in.real) {
		return mqtt.NotAuthorized
	}
	old := s.subs[sub.Filter]
	wants := in.share == "" && (sub.RetainHandling == 0 || sub.RetainHandling == 1 && old == nil)
	switch {
	case old != nil:
		in.seen = old.seen // nothing is lost because it is replaced [MQTT-3.8.4-4]
	case wants:
		in.seen = p.puts
	}
	s.subs[sub.Filter] = in
	if in.share != "" {
		p.unsettle(in.share + " " + in.real)
	}
	if wants {
		for _, o := range s.owed {
			if o.replay == sub.Filter && o.stage == waiting {
				o.must = false
			}
		}
		p.replay(s, in)
	}
	return mqtt.ReasonCode(sub.QoS)
}

func (p *play) requestID(*link) uint16 {
	p.requests++
	return uint16(p.requests)
}

// stepUnsubscribe takes back a subscription, or one that is not there.
func (p *play) stepUnsubscribe(w *party, s step) {
	filter := pick(modelFilters, s.a)
	if n := len(w.memory.subs); n > 0 && s.b&3 > 0 {
		var have []string
		for f := range w.memory.subs {
			have = append(have, f)
		}
		slices.Sort(have)
		filter = pick(have, s.a)
	}
	p.unsubscribe(w, filter)
}

func (p *play) unsubscribe(w *party, filter string) {
	req := mqtt.Unsubscribe{PacketID: p.requestID(w.link), Filters: []string{filter}}
	p.say("%s unsubscribes: %s", w.name, filter)
	rc := mqtt.NoSubscriptionExisted
	if sub := w.memory.subs[filter]; sub != nil {
		rc = mqtt.Success
		p.left(w.memory, sub)
	}
	w.link.asked = append(w.link.asked, ask{mqtt.UNSUBACK, req.PacketID, []mqtt.ReasonCode{rc}})
	p.feed(w.link, req.Append(nil, w.link.version, 0))
}

// stepPublish publishes a new message.
func (p *play) stepPublish(w *party, s step) { p.publish(w, s, pick(modelTopics, s.a), false, 0) }

// stepRetain publishes a retained message, or empties its topic.
func (p *play) stepRetain(w *party, s step) { p.publish(w, s, pick(modelTopics, s.a), true, 0) }

// stepDelayed publishes a message for later.
func (p *play) stepDelayed(w *party, s step) {
	if p.prompt(w, 2) { // or nobody knows when its delay begins
		p.publish(w, s, pick(modelTopics, s.a), s.a>>6 == 3, 1+uint32(s.c>>4)%5)
	}
}

func (p *play) publish(w *party, s step, topic string, retain bool, delay uint32) {
	l, q := w.link, mqtt.QoS(s.b%3)
	if q > 0 && len(w.memory.flights) >= 5 || p.waits(w) >= 3 {
		return
	}
	p.texts++
	text := fmt.Sprint("m", p.texts)
	switch {
	case retain && s.c&7 == 0:
		text = ""
	case s.c&7 == 1:
		text += strings.Repeat("x", 30)
	}
	m := p.note(w.memory, topic, text, q, retain)
	m.ordered = delay == 0
	pk := mqtt.Publish{Topic: []byte(topic), Payload: []byte(text), QoS: q, Retain: retain}
	if l.version == mqtt.V5 && s.b>>4&3 == 3 {
		pk.HasMessageExpiry, pk.MessageExpiry = true, 1+uint32(s.c>>4)%4
		m.expires = expiresAt(p.d.now, pk.MessageExpiry, true)
	}
	if delay > 0 {
		pk.Topic = fmt.Appendf(nil, "$delayed/%d/%s", delay, topic)
	}
	if l.version == mqtt.V5 && s.b>>6&1 == 1 && len(l.learnt) < 8 {
		name := string(pk.Topic)
		pk.HasTopicAlias, pk.TopicAlias = true, l.learnt[name]
		if pk.TopicAlias != 0 {
			pk.Topic = nil
		} else {
			pk.TopicAlias = uint16(len(l.learnt) + 1)
			l.learnt[name] = pk.TopicAlias
		}
	}
	p.say("%s publishes %q to %s, QoS %d%s%s, delay %d, expiry %d, alias %d", w.name, text, topic, q, word(retain, ", RETAIN"), word(p.prompt(w, q), ""), delay, pk.MessageExpiry, pk.TopicAlias)
	p.send(l, m, &pk, delay)
}

// send puts a message on its way, in the model and to the broker.
func (p *play) send(l *link, m *note, pk *mqtt.Publish, delay uint32) {
	w := l.who
	if pk.QoS > 0 {
		pk.PacketID = p.flightID(w)
		f := &flight{m: m, packet: *pk}
		f.packet.Topic, f.packet.HasTopicAlias, f.packet.TopicAlias = []byte(m.topic), false, 0
		if delay > 0 {
			f.packet.Topic = fmt.Appendf(nil, "$delayed/%d/%s", delay, m.topic)
		}
		w.memory.flights = append(w.memory.flights, f)
	}
	p.goes(l, m, delay)
	p.feed(l, pk.Append(nil, l.version))
}

// goes is a PUBLISH in the model: it is routed at once, or nobody knows when.
func (p *play) goes(l *link, m *note, delay uint32) {
	m.step = p.step
	switch {
	case !p.prompt(l.who, m.qos):
		p.consider(m)
		p.hazy = append(p.hazy, m)
	case !l.who.mayWrite(m.topic):
		m.mayDeny = true
		if l.version != mqtt.V5 && m.qos > 0 { // [MQTT-3.3.5-2 of 3.1.1]
			l.may(p, mqtt.NotAuthorized)
		}
	case delay > 0:
		m.mayDo, m.done = true, true
		p.later = append(p.later, &postponed{m, p.d.now.Add(time.Duration(delay) * time.Second)})
	default:
		p.consider(m)
		m.done = true
		p.routed(m, true)
	}
}

// prompt tells whether a message of w is routed as soon as it comes: nothing of w
// waits, and for QoS 1 and 2 also no lane is full.
func (p *play) prompt(w *party, q mqtt.QoS) bool {
	if p.waits(w) > 0 || p.d.wires[w.home].paused[w.link.ref] {
		return false
	}
	return q == 0 || !p.d.wires[1-w.home].refuse && !p.d.homes[w.home].lanes.to[1-w.home].blocked
}

// waits is how many messages of w are on their way to being routed.
func (p *play) waits(w *party) (n int) {
	for _, m := range p.hazy {
		if m.from == w {
			n++
		}
	}
	return n
}

func (p *play) flightID(w *party) uint16 {
	for {
		w.lastID = w.lastID%8 + 1
		if !slices.ContainsFunc(w.memory.flights, func(f *flight) bool { return f.packet.PacketID == w.lastID }) {
			return w.lastID
		}
	}
}

// settled is the broker's answer to a message.
func (p *play) settled(l *link, m *note, rc mqtt.ReasonCode) {
	p.hazy = slices.DeleteFunc(p.hazy, func(h *note) bool { return h == m })
	switch {
	case rc.Failed():
		if rc != mqtt.NotAuthorized || !m.mayDeny {
			p.fail("%s: %q is refused with %v", l.who.name, m.text, rc)
		}
		p.forget(m)
		return
	case !m.mayDo:
		p.fail("%s: %q is accepted, and it may not publish to %s", l.who.name, m.text, m.topic)
	case rc == mqtt.NoMatchingSubscribers && !m.unmatched:
		p.fail("%s: %q is answered %v, and there are", l.who.name, m.text, rc)
	}
	if !m.done {
		m.done = true
		p.routed(m, m.step == p.step)
	}
}

// forget: m was refused, and must reach nobody.
func (p *play) forget(m *note) {
	for _, s := range p.sessions {
		s.owed = slices.DeleteFunc(s.owed, func(o *debt) bool { return o.m == m && o.stage == waiting })
	}
	p.parcels = slices.DeleteFunc(p.parcels, func(x *parcel) bool { return x.m == m && x.taken == nil })
}
