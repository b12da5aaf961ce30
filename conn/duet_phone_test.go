package conn

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/mqtt"
)

// phone is one client as a plain model: it keeps its own half of the session and
// knows what it must be sent. It listens to its newest connection only.
type phone struct {
	d        *duet
	index    int
	user, id string
	version  mqtt.Version
	durable  bool

	sock    *simSocket // nil: it has none
	life    *life      // nil until CONNACK came on sock
	reading bool
	sent    int // messages so far
	pings   int // without an answer on sock

	// In the broker's order, as the spy saw it.
	holder *simSocket
	now    *life
}

func (p *phone) String() string { return fmt.Sprintf("%s/%d", p.user, p.index) }

// life is one session, from its beginning to its end.
type life struct {
	phone   *phone
	n       int
	keeps   bool // it outlives its connection
	ended   bool
	subs    map[string]*wish
	asked   map[uint16]string // filters by the identifier of their SUBSCRIBE
	flights []*flight         // its own messages that are not settled, in their order
	lastID  uint16
	open2   map[uint16]bool // QoS 2 identifiers received and not released
	got     map[*message]int
	last    map[class]int
}

// wish is a subscription.
type wish struct {
	qos     mqtt.QoS
	granted bool
}

// flight is a message of a phone that the broker has not acknowledged.
type flight struct {
	m        *message
	id       uint16
	released bool // PUBREL was sent
}

// class is within what order is promised: one publisher's messages with an
// acknowledgement or without, delivered with one or without.
type class struct {
	from       int
	sure, kept bool
}

// message is one application message.
type message struct {
	from   *phone
	n      int
	topic  string
	body   string
	qos    mqtt.QoS
	acked  bool
	again  bool               // sent once more
	wanted map[*life]mqtt.QoS // sessions that were certain to be subscribed when it was sent
}

func newLife(p *phone, n int, clean bool) *life {
	keeps := p.durable
	if p.version != mqtt.V5 {
		keeps = !clean
	}
	return &life{phone: p, n: n, keeps: keeps, subs: map[string]*wish{}, asked: map[uint16]string{}, open2: map[uint16]bool{}, got: map[*message]int{}, last: map[class]int{}}
}

// own is the topic that belongs to this session alone.
func (l *life) own() string { return fmt.Sprintf("own/%d", l.n) }

// matches is topic matching as far as the phones use it.
func matches(filter, topic string) bool {
	stem, wild := strings.CutSuffix(filter, "+")
	return filter == topic || wild && strings.HasPrefix(topic, stem)
}

// connect dials, on any loop; an older connection is left as it is.
func (p *phone) connect(clean bool) { p.connectAt(p.d.rng.IntN(2), clean) }

func (p *phone) connectAt(loop int, clean bool) {
	clean = clean || p.version != mqtt.V5 && !p.durable
	s := p.d.dial(p, loop)
	s.clean = clean
	c := &mqtt.Connect{
		Version: p.version, CleanStart: clean, KeepAlive: 300, ClientID: p.id, Username: p.user, HasUsername: true,
		ReceiveMaximum: uint16(1 + p.d.rng.IntN(10)), RequestProblemInformation: true,
	}
	if p.version == mqtt.V5 && p.durable {
		c.SessionExpiry = 1000
	}
	s.unsent = c.Append(nil, p.version, 0)
	p.sock, p.life = s, nil
}

// leave ends the connection: with a word, or by breaking off.
func (p *phone) leave(politely bool) {
	s := p.sock
	s.leaves = true
	switch {
	case politely && p.life != nil:
		s.unsent = (&mqtt.Disconnect{}).Append(s.unsent, p.version, 0)
	default:
		s.unsent = s.unsent[:p.d.rng.IntN(len(s.unsent)+1)]
	}
	p.sock, p.life = nil, nil
}

func (p *phone) subscribe(filter string, q mqtt.QoS) {
	l := p.life
	w := l.subs[filter]
	if w == nil {
		w = &wish{qos: q}
		l.subs[filter] = w
	}
	id := uint16(1000 + len(l.asked))
	l.asked[id] = filter
	b := mqtt.Subscribe{PacketID: id, Filters: []mqtt.Subscription{{Filter: filter, QoS: w.qos}}}
	p.sock.unsent = b.Append(p.sock.unsent, p.version, 0)
}

// publish sends a new message, if the window has room for it.
func (p *phone) publish(topic string, q mqtt.QoS, filler int) {
	l := p.life
	if q > 0 && len(l.flights) >= windowMax {
		return
	}
	p.sent++
	m := &message{from: p, n: p.sent, topic: topic, qos: q, wanted: map[*life]mqtt.QoS{}}
	m.body = fmt.Sprintf("%d.%d to %s|", p.index, m.n, topic) + strings.Repeat("x", filler)
	p.d.messages[m.key()] = m
	for _, to := range p.d.lives {
		if q, ok := to.certain(topic, q); ok {
			m.wanted[to] = q
		}
	}
	f := &flight{m: m}
	if q > 0 {
		f.id = l.nextID()
		l.flights = append(l.flights, f)
	}
	p.send(f, false)
}

func (m *message) key() string { return fmt.Sprintf("%d.%d", m.from.index, m.n) }

// certain tells with which QoS l must be sent a message of q to topic: it has
// been told that it is subscribed.
func (l *life) certain(topic string, q mqtt.QoS) (most mqtt.QoS, ok bool) {
	for filter, w := range l.subs {
		if !l.ended && w.granted && matches(filter, topic) {
			most, ok = max(most, min(q, w.qos)), true
		}
	}
	return most, ok
}

func (p *phone) send(f *flight, again bool) {
	b := mqtt.Publish{Topic: []byte(f.m.topic), Payload: []byte(f.m.body), QoS: f.m.qos, PacketID: f.id, Dup: again}
	p.sock.unsent = b.Append(p.sock.unsent, p.version)
	f.m.again = f.m.again || again
}

func (p *phone) ack(t mqtt.Type, id uint16) {
	a := mqtt.Ack{Type: t, PacketID: id}
	p.sock.unsent = a.Append(p.sock.unsent, p.version, 0)
}

// nextID uses few identifiers, so that each comes again soon.
func (l *life) nextID() uint16 {
	for {
		l.lastID = l.lastID%(windowMax+2) + 1
		if l.flight(l.lastID) < 0 {
			return l.lastID
		}
	}
}

func (l *life) flight(id uint16) int {
	for i, f := range l.flights {
		if f.id == id {
			return i
		}
	}
	return -1
}

// read takes in what has come, and notices the end.
func (p *phone) read(s *simSocket) (moved bool) {
	moved = len(s.tx) > 0
	s.in = append(s.in, s.tx...)
	s.tx = nil
	for p.packet(s) {
	}
	if s.shut && !s.counted {
		s.counted, moved = true, true
		if len(s.in) > 0 && !s.reset {
			p.d.t.Fatalf("%v: the end came within a packet: % x", p, clip(s.in))
		}
		if p.sock == s {
			p.sock, p.life = nil, nil
		}
	}
	return moved
}

// packet handles one packet.
func (p *phone) packet(s *simSocket) (more bool) {
	t := p.d.t
	h, ok, err := mqtt.ReadHeader(s.in, p.version)
	if err != nil {
		t.Fatalf("%v was sent nonsense: %v", p, err)
	}
	if !ok || len(s.in) < h.Size+h.Remaining {
		return false
	}
	body := bytes.Clone(s.in[h.Size : h.Size+h.Remaining])
	s.in = s.in[h.Size+h.Remaining:]
	if p.sock != s { // it listens elsewhere by now; the packets must be whole all the same
		return true
	}
	return p.heed(h, body)
}

// heed handles one packet of the newest connection.
func (p *phone) heed(h mqtt.Header, body []byte) (more bool) {
	t := p.d.t
	var err error
	lim := mqtt.Limits{UserProperties: -1}
	if (p.life == nil) != (h.Type == mqtt.CONNACK) {
		t.Fatalf("%v: %v, and CONNACK is the first packet and no other", p, h.Type)
	}
	var m mqtt.Publish
	var a mqtt.Ack
	var sa mqtt.Suback
	var d mqtt.Disconnect
	switch h.Type {
	case mqtt.CONNACK:
		p.connected()
		return true
	case mqtt.PUBLISH:
		if err = mqtt.DecodePublishClient(body, h, p.version, lim, &m); err == nil {
			p.receive(&m)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		if err = mqtt.DecodeAck(body, h, p.version, lim, &a); err == nil {
			p.settle(&a)
		}
	case mqtt.SUBACK:
		if err = mqtt.DecodeSuback(body, h, p.version, lim, &sa); err == nil {
			w := p.life.subs[p.life.asked[sa.PacketID]]
			if w == nil || len(sa.Reasons) != 1 || sa.Reasons[0] != mqtt.ReasonCode(w.qos) {
				t.Fatalf("%v: SUBACK %+v", p, sa)
			}
			w.granted = true
		}
	case mqtt.PINGRESP:
		p.pings--
	case mqtt.DISCONNECT:
		if err = mqtt.DecodeDisconnectClient(body, h, p.version, lim, &d); err == nil && d.Reason != mqtt.SessionTakenOver {
			t.Fatalf("%v: DISCONNECT %v\n%s", p, d.Reason, p.d.log)
		}
	default:
		t.Fatalf("%v: unexpected %v", p, h.Type)
	}
	if err != nil {
		t.Fatalf("%v: %v: %v", p, h.Type, err)
	}
	return true
}

// ping asks for more answers than may wait, if nobody reads them.
func (p *phone) ping() {
	const n = answersMax / 8
	p.pings += n
	p.sock.unsent = append(p.sock.unsent, bytes.Repeat([]byte{0xC0, 0}, n)...)
}

// connected goes on with the session: what was not acknowledged is sent again, in
// its order [MQTT-4.4.0-1].
func (p *phone) connected() {
	p.life, p.pings = p.sock.life, 0
	l := p.life
	for _, f := range l.flights {
		if f.released {
			p.ack(mqtt.PUBREL, f.id)
		} else {
			p.send(f, true)
		}
	}
	if l.subs[l.own()] == nil {
		p.subscribe(l.own(), mqtt.QoS(p.d.rng.IntN(3)))
	}
	for _, filter := range append(filters, l.own()) {
		if l.subs[filter] == nil && !p.d.calm && p.d.rng.IntN(3) == 0 {
			p.subscribe(filter, mqtt.QoS(p.d.rng.IntN(3)))
		} else if w := l.subs[filter]; w != nil && !w.granted {
			p.subscribe(filter, w.qos)
		}
	}
}

// settle is the phone's half of a flow.
func (p *phone) settle(a *mqtt.Ack) {
	l := p.life
	if a.Type == mqtt.PUBREL {
		delete(l.open2, a.PacketID)
		p.ack(mqtt.PUBCOMP, a.PacketID)
		return
	}
	i := l.flight(a.PacketID)
	if i >= 0 && a.Type == mqtt.PUBREC && l.flights[i].released {
		return // the message was repeated while its PUBREC was on its way
	}
	if i < 0 || a.Reason >= 0x80 && !(a.Type == mqtt.PUBCOMP && a.Reason == mqtt.PacketIdentifierNotFound) { // of a PUBREL that was repeated
		p.d.t.Fatalf("%v: %v %d %v, and no such message is on its way", p, a.Type, a.PacketID, a.Reason)
	}
	f := l.flights[i]
	if (a.Type == mqtt.PUBACK) != (f.m.qos == 1) || a.Type == mqtt.PUBCOMP && !f.released {
		p.d.t.Fatalf("%v: %v for %s of QoS %d", p, a.Type, f.m.key(), f.m.qos)
	}
	for _, g := range l.flights[:i] {
		if g.m.qos == f.m.qos && !g.m.acked && !g.m.again { // [MQTT-4.6.0-2] [MQTT-4.6.0-3]
			p.d.t.Fatalf("%v: %v for %s before %s", p, a.Type, f.m.key(), g.m.key())
		}
	}
	f.m.acked = true
	if a.Type == mqtt.PUBREC {
		f.released = true
		p.ack(mqtt.PUBREL, a.PacketID)
		return
	}
	l.flights = append(l.flights[:i], l.flights[i+1:]...)
}

// receive answers a PUBLISH and compares it with what was published.
func (p *phone) receive(m *mqtt.Publish) {
	l := p.life
	switch m.QoS {
	case 1:
		p.ack(mqtt.PUBACK, m.PacketID)
	case 2:
		known := l.open2[m.PacketID]
		l.open2[m.PacketID] = true
		p.ack(mqtt.PUBREC, m.PacketID)
		if known {
			if !m.Dup {
				p.d.t.Fatalf("%v: identifier %d used again before its PUBCOMP", p, m.PacketID)
			}
			return
		}
	}
	key, _, _ := strings.Cut(string(m.Payload), " ")
	sent := p.d.messages[key]
	if sent == nil || string(m.Payload) != sent.body || string(m.Topic) != sent.topic {
		p.d.t.Fatalf("%v: got %q on %q, which nobody sent", p, clip(m.Payload), m.Topic)
	}
	p.d.received++
	l.judge(sent, m)
}

// judge tells whether l may be sent m now.
func (l *life) judge(m *message, as *mqtt.Publish) {
	p := l.phone
	granted := false
	for filter, w := range l.subs {
		granted = granted || matches(filter, m.topic) && as.QoS == min(m.qos, w.qos)
	}
	if !granted {
		p.d.t.Fatalf("%v, session %d, got %q with QoS %d: it is not for it", p, l.n, clip(as.Payload), as.QoS)
	}
	l.got[m]++
	in := class{m.from.index, m.qos > 0, as.QoS > 0}
	repeated := m.qos == 1 && m.again
	switch {
	case l.got[m] == 1 && m.n < l.last[in] && !(repeated && (m.wanted[l] == 0 || as.QoS == 0)): // the first time it was not for l yet, or could be dropped
		p.d.t.Fatalf("%v, session %d, got %s behind %d of the same publisher", p, l.n, m.key(), l.last[in])
	case l.got[m] == 1:
		l.last[in] = max(l.last[in], m.n)
	case as.QoS == 2:
		p.d.t.Fatalf("%v, session %d, got %s of QoS 2 once more", p, l.n, m.key())
	case !repeated && !(as.QoS == 1 && as.Dup):
		p.d.t.Fatalf("%v, session %d, got %s (QoS %d, delivered with %d) once more", p, l.n, m.key(), m.qos, as.QoS)
	}
}
