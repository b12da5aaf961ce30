package broker

import (
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// patron is a client that keeps its own state over connections and over crashes of the
// broker, as a good client does: what is not answered it says again, and what it has it
// does not take twice. It handles one packet at a time, so that anything can come
// between any two.
type patron struct {
	k       *keptDesk
	user    string
	connect []func(*mqtt.Connect)
	seat    seat
	online  bool
	door    *guest // nil: it does not wait to be let in
	fresh   bool   // it asks for a clean start until it is let in

	sending []outgoing
	lastID  uint16
	acked   []string // payloads whose delivery is the broker's from now on, in the order of the answers
	refused []string

	having  []uint16 // QoS 2 identifiers received and not released
	got     []string // payloads in the order of their arrival; QoS 2 without repetitions
	inbox   []session.Out
	subs    map[string]mqtt.QoS                      // that were granted
	asking  []string                                 // for SUBACK, in order
	unacked map[uint16]bool                          // publishes sent to it at QoS 1 and 2, that it has not ended
	most    int                                      // of unacked
	watch   func(payload string)                     // called when a publish of its own is acknowledged; may be nil
	hear    func(topic, payload string, retain bool) // called for each that is not a repetition at QoS 2; may be nil
}

// outgoing is a publish that is not settled.
type outgoing struct {
	topic, payload string
	qos            mqtt.QoS
	more           string // of the payload: a space, and what makes it large
	retain         bool
	id             uint16
	released       bool // PUBREC came
}

func (k *keptDesk) patron(home int, user string, connect ...func(*mqtt.Connect)) *patron {
	k.lives[user] = home
	return &patron{k: k, user: user, connect: connect, subs: make(map[string]mqtt.QoS)}
}

// arrive connects and, when it is let in, says again what is not settled.
func (p *patron) arrive() {
	how := p.connect
	if p.fresh {
		how = append(slices.Clone(how), cleanSeat)
	}
	p.door = p.k.knock(p.user, how...)
	p.enter()
}

// enter goes on at the door.
func (p *patron) enter() {
	g := p.door
	switch {
	case g.d != p.k.desk, g.refused != nil:
		p.door = nil
		return
	case g.waits:
		return
	case g.ref == Ref{}: // it has waited
		if g.enter(); g.waits || g.refused != nil {
			return
		}
	}
	s, present := g.in()
	p.door, p.fresh = nil, false
	p.seat, p.online, p.inbox, p.asking, p.unacked = s, true, nil, nil, make(map[uint16]bool)
	if !present {
		p.having = nil
		clear(p.subs)
		for i := range p.sending {
			p.sending[i].released = false
		}
	}
	for _, o := range slices.Clone(p.sending) {
		if o.released {
			s.ack(mqtt.PUBREL, o.id)
			continue
		}
		p.send(o, true)
	}
}

// cut ends the connection; the client knows nothing of what was on its way.
func (p *patron) cut() {
	p.gone()
	p.seat.cut()
}

// gone drops what was on its way.
func (p *patron) gone() {
	p.drain()
	for i := range p.inbox {
		p.inbox[i].Done()
	}
	p.inbox, p.online = nil, false
}

// alive tells whether the broker has closed the connection; then it is gone.
func (p *patron) alive() bool {
	if p.door != nil {
		p.enter()
	}
	if p.online {
		if _, closed := p.seat.closed(); closed {
			p.gone()
		}
	}
	return p.online
}

func (p *patron) send(o outgoing, dup bool) {
	p.seat.publish(o.topic, o.payload+o.more, o.qos, o.id, func(m *mqtt.Publish) { m.Retain, m.Dup = o.retain, dup })
}

// publish begins a publish of QoS 1 or 2.
func (p *patron) publish(topic, payload string, q mqtt.QoS, retain bool) {
	p.publishMore(topic, payload, "", q, retain)
}

func (p *patron) publishMore(topic, payload, more string, q mqtt.QoS, retain bool) {
	for p.lastID++; p.lastID == 0 || p.busy(p.lastID); {
		p.lastID++
	}
	o := outgoing{topic: topic, payload: payload, more: more, qos: q, retain: retain, id: p.lastID}
	p.sending = append(p.sending, o)
	p.send(o, false)
}

func (p *patron) busy(id uint16) bool {
	return slices.ContainsFunc(p.sending, func(o outgoing) bool { return o.id == id })
}

// subscribe asks for a subscription.
func (p *patron) subscribe(filter string, q mqtt.QoS) {
	p.asking = append(p.asking, filter)
	p.seat.wish(filter, q)
}

// drain takes what was sent, in its order.
func (p *patron) drain() { p.inbox = append(p.inbox, p.seat.take()...) }

// handle handles one packet; false if there is none.
func (p *patron) handle() bool {
	if !p.alive() {
		return false
	}
	p.drain()
	if len(p.inbox) == 0 {
		return false
	}
	o := p.inbox[0]
	p.inbox = p.inbox[1:]
	defer o.Done()
	switch o.Kind {
	case session.OutPublish:
		p.take(&o)
	case session.OutAck:
		p.answered(&o)
	case session.OutPacket:
		if mqtt.Type(o.Bytes[0]>>4) == mqtt.SUBACK && len(p.asking) > 0 {
			if code := o.Bytes[len(o.Bytes)-1]; code < 0x80 {
				p.subs[p.asking[0]] = mqtt.QoS(code)
			}
			p.asking = p.asking[1:]
		}
	}
	return true
}

// take receives a publish.
func (p *patron) take(o *session.Out) {
	if o.QoS() > 0 {
		p.unacked[o.ID] = true
		p.most = max(p.most, len(p.unacked))
	}
	switch o.QoS() {
	case 2:
		if !slices.Contains(p.having, o.ID) {
			p.having = append(p.having, o.ID)
			p.arrived(o)
		}
		p.seat.ack(mqtt.PUBREC, o.ID)
	case 1:
		p.arrived(o)
		delete(p.unacked, o.ID)
		p.seat.ack(mqtt.PUBACK, o.ID)
	default:
		p.arrived(o)
	}
}

func (p *patron) arrived(o *session.Out) {
	p.got = append(p.got, nameOf(o.Frame.Payload()))
	if p.hear != nil {
		p.hear(string(o.Frame.Topic()), nameOf(o.Frame.Payload()), o.Flags&session.FlagRetain != 0)
	}
}

// answered hears what became of what it said.
func (p *patron) answered(o *session.Out) {
	if o.Ack == mqtt.PUBREL {
		p.having = slices.DeleteFunc(p.having, func(id uint16) bool { return id == o.ID })
		delete(p.unacked, o.ID)
		p.seat.ack(mqtt.PUBCOMP, o.ID)
		return
	}
	i := slices.IndexFunc(p.sending, func(s outgoing) bool { return s.id == o.ID })
	if i < 0 {
		return
	}
	s := &p.sending[i]
	switch {
	case o.Reason >= 0x80 && o.Ack != mqtt.PUBCOMP:
		p.refused = append(p.refused, s.payload)
	case o.Ack == mqtt.PUBREC:
		if !s.released {
			p.settled(s.payload)
		}
		s.released = true
		p.seat.ack(mqtt.PUBREL, o.ID)
		return
	case o.Ack == mqtt.PUBACK:
		p.settled(s.payload)
	}
	p.sending = slices.Delete(p.sending, i, i+1)
}

func (p *patron) settled(payload string) {
	p.acked = append(p.acked, payload)
	if p.watch != nil {
		p.watch(payload)
	}
}

// nameOf is a payload without what makes it large.
func nameOf(payload []byte) string {
	name, _, _ := strings.Cut(string(payload), " ")
	return name
}
