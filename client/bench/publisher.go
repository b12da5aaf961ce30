package bench

import (
	"encoding/binary"

	"github.com/redoubtmq/redoubt/mqtt"
)

// publisher is what a peer that publishes has besides its line.
type publisher struct {
	head  []byte // its packets up to the payload
	idAt  int    // where the packet identifier is in head; 0: QoS 0
	brief *brief // what takes their place when the broker knows the alias; nil: nothing
	ids   ids

	seq         uint32 // of the next message
	owed        uint32 // that are due by the rate and not sent
	held        bool   // of those, one had to wait for the broker
	got         int    // deliveries of the oldest message that is not delivered to all
	undelivered int    // messages; closed loop only
	refused     uint64
}

// outMax is how much may wait in a publisher's line before it is not given more, in bytes.
const outMax = 1 << 20

// brief is a head that names the topic by its alias.
type brief struct {
	head []byte
	idAt int
}

// aliasOfAll is the topic alias that each publisher uses: it has one topic.
const aliasOfAll = 1

// newPublisher makes the packet's head once: from then on a message is two copies and three
// numbers.
func newPublisher(topic string, q mqtt.QoS, v mqtt.Version, payload []byte, window int) *publisher {
	m := mqtt.Publish{Topic: []byte(topic), QoS: q, PacketID: min(uint16(q), 1), Payload: payload}
	p := &publisher{}
	p.head, p.idAt = headOf(nil, &m, v)
	if q > 0 {
		p.ids = newIDs(window)
	}
	return p
}

// setTopic makes another head, in the place of the one before.
func (pub *publisher) setTopic(topic []byte, q mqtt.QoS, v mqtt.Version, payload []byte, retain bool) {
	m := mqtt.Publish{Topic: topic, QoS: q, PacketID: min(uint16(q), 1), Payload: payload, Retain: retain}
	pub.head, pub.idAt = headOf(pub.head[:0], &m, v)
}

// dress makes heads with what MQTT 5.0 has to say of a message.
func (pub *publisher) dress(topic string, o *Options, payload []byte) {
	m := mqtt.Publish{Topic: []byte(topic), QoS: o.QoS, PacketID: min(uint16(o.QoS), 1), Payload: payload}
	props := mqtt.PublishProperties{UserProperties: o.UserProperties}
	m.Props = props.Append(nil)
	if o.TopicAlias {
		m.TopicAlias, m.HasTopicAlias = aliasOfAll, true
	}
	pub.head, pub.idAt = headOf(nil, &m, mqtt.V5)
	if o.TopicAlias {
		m.Topic = nil
		pub.brief = &brief{}
		pub.brief.head, pub.brief.idAt = headOf(nil, &m, mqtt.V5)
	}
}

// headOf is m up to its payload, in the room of an old one, and where its packet identifier is.
func headOf(old []byte, m *mqtt.Publish, v mqtt.Version) (head []byte, idAt int) {
	whole := m.Append(old, v)
	n := len(whole) - len(m.Payload)
	if m.QoS > 0 {
		h, _, _ := mqtt.ReadHeader(whole, v)
		idAt = h.Size + 2 + len(m.Topic)
	}
	return whole[:n], idAt
}

// room tells whether p may send another message now.
func (r *run) room(p *peer) bool {
	pub := p.pub
	if p.state != ready || len(p.out) > outMax || p.behind > outMax {
		return false
	}
	if r.opt.QoS > 0 && len(pub.ids.free) == 0 {
		return false
	}
	if r.opt.Pace.Rate > 0 {
		return true
	}
	switch {
	case r.fan > 0:
		return pub.undelivered < r.window
	case r.opt.QoS == 0: // nothing comes back: what was sent must have left
		return len(p.out) == 0 && p.behind == 0
	}
	return true
}

// feed sends what p may send.
func (r *run) feed(p *peer) {
	if r.silent {
		return
	}
	switch {
	case r.opt.Pace.Rate > 0:
		for p.pub.owed > 0 && r.room(p) {
			p.pub.owed--
			r.send(p, r.sendTime(p))
		}
		p.pub.held = p.pub.owed > 0
	case r.fan == 0 && r.opt.QoS == 0:
		if r.room(p) {
			for range r.window {
				r.send(p, r.now)
			}
		}
	default:
		for r.room(p) && !r.silent {
			r.send(p, r.now)
		}
	}
}

// sendTime is what the latency of the next message of p counts from: when it was to be sent, if the broker left no room for it
// or for one before it, so that a broker that stalls is not measured by the few that got through; otherwise when it is sent.
// How much later than due that is, is ours, and is told by itself.
func (r *run) sendTime(p *peer) int64 {
	due := r.dueTime(p)
	if p.pub.held {
		return due
	}
	now := max(due, r.tick())
	if r.tardy != nil {
		r.tardy.Add(now - due)
	}
	return now
}

// dueTime is when the next message of p was to be sent: publishers take turns.
func (r *run) dueTime(p *peer) int64 {
	n := float64(uint64(p.pub.seq)*uint64(len(r.pubs)) + uint64(p.index))
	return r.paceFrom + int64(n*1e9/r.opt.Pace.Rate)
}

// send queues one message of p, to be sent at a time of the run.
func (r *run) send(p *peer, at int64) {
	pub, by := p.pub, uint32(p.index)
	if r.ledger != nil {
		var ok bool
		if by, ok = r.nextOffline(p); !ok {
			r.silent = true
			return
		}
	}
	base := len(p.out)
	p.out = append(p.out, pub.head...)
	if pub.idAt > 0 {
		binary.BigEndian.PutUint16(p.out[base+pub.idAt:], pub.ids.take(pub.seq, at))
	}
	at16 := len(p.out)
	p.out = append(p.out, r.payload...)
	if len(r.payload) > 0 { // none: a retained message is removed
		stamp{run: r.id, publisher: by, seq: pub.seq, tick: tickOf(r.unix + at)}.put(p.out[at16:])
	}
	if pub.brief != nil { // from now on the broker knows
		pub.head, pub.idAt, pub.brief = pub.brief.head, pub.brief.idAt, nil
	}
	pub.seq++
	if r.fan > 0 {
		pub.undelivered++
	}
	r.total.sent++
	r.eng.queue(&p.line)
}
