package bench

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// peer is one of our clients: the few steps of MQTT that a load needs, as a state
// machine over a line. It does not reconnect.
type peer struct {
	line
	run   *run
	index int
	role  role
	state state

	began   int64 // when it was to begin to connect
	asked   int64 // when it did
	filters []string
	acksDue int // of SUBSCRIBE packets
	present bool

	pub *publisher // nil for one that only subscribes
}

type role byte

const (
	idles role = iota
	publishes
	subscribes
	visits
)

type state byte

const (
	away state = iota
	connecting
	greeting    // CONNECT is sent
	subscribing // SUBSCRIBE is sent
	ready
	leaving // DISCONNECT is sent
	failed
)

// packetLimits is what one packet from the broker may make us keep.
var packetLimits = mqtt.Limits{UserProperties: 100}

// packetMax bounds a packet from the broker, in bytes: our own largest payload and a head.
const packetMax = client.DefaultMaximumPacketSize + 128<<10

// opened sends CONNECT.
func (p *peer) opened() {
	p.state = greeting
	p.out = p.run.appendConnect(p.out, p)
	p.run.eng.queue(&p.line)
}

// bytes takes the packets of b in turn.
func (p *peer) bytes(b []byte) ([]byte, error) {
	v := p.run.version
	for len(b) > 0 && p.live {
		if m := glance(b, v); m.size > 0 {
			p.heard(m.qos, m.id, m.payload)
			b = b[m.size:]
			continue
		}
		h, ok, err := mqtt.ReadHeader(b, v)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		size := h.Size + h.Remaining
		if size > packetMax {
			return nil, fmt.Errorf("a packet of %d bytes", size)
		}
		if len(b) < size {
			break
		}
		if err := p.packet(h, b[h.Size:size]); err != nil {
			return nil, err
		}
		b = b[size:]
	}
	return b, nil
}

func (p *peer) packet(h mqtt.Header, body []byte) error {
	switch h.Type {
	case mqtt.PUBLISH:
		return p.message(h, body)
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		return p.acknowledged(h, body)
	case mqtt.PUBREL:
		if len(body) < 2 {
			return errShort
		}
		p.answer(0x70, binary.BigEndian.Uint16(body))
	case mqtt.CONNACK:
		return p.greeted(h, body)
	case mqtt.SUBACK:
		return p.subscribed(h, body)
	case mqtt.PINGRESP:
	case mqtt.DISCONNECT:
		var d mqtt.Disconnect
		if err := mqtt.DecodeDisconnectClient(body, h, p.run.version, packetLimits, &d); err != nil {
			return err
		}
		return &refusal{"DISCONNECT", d.Reason}
	default:
		return fmt.Errorf("%s from the broker", h.Type)
	}
	return nil
}

var errShort = fmt.Errorf("a packet that is too short")

// refusal is a reason code of the broker's.
type refusal struct {
	packet string
	reason mqtt.ReasonCode
}

func (r *refusal) Error() string { return r.packet + ": " + r.reason.String() }

func (p *peer) greeted(h mqtt.Header, body []byte) error {
	v := p.run.version
	if v == mqtt.V5 && len(body) == 2 {
		v = mqtt.V311
	}
	var a mqtt.Connack
	if err := mqtt.DecodeConnack(body, h, v, packetLimits, &a); err != nil {
		return err
	}
	if a.Reason != mqtt.Success {
		return &refusal{"CONNACK", a.Reason}
	}
	p.present = a.SessionPresent
	p.run.crowd.greeted(p)
	if len(p.filters) == 0 {
		p.run.crowd.ready(p)
		return nil
	}
	p.state = subscribing
	for rest := p.filters; len(rest) > 0; {
		n := min(len(rest), filtersOfPacket)
		s := mqtt.Subscribe{PacketID: uint16(p.acksDue + 1)}
		for _, f := range rest[:n] {
			s.Filters = append(s.Filters, mqtt.Subscription{Filter: f, QoS: p.run.opt.QoS})
		}
		p.out = s.Append(p.out, p.run.version, 0)
		p.acksDue++
		rest = rest[n:]
	}
	p.run.eng.queue(&p.line)
	return nil
}

// filtersOfPacket is how many filters one SUBSCRIBE has.
const filtersOfPacket = 8

func (p *peer) subscribed(h mqtt.Header, body []byte) error {
	var a mqtt.Suback
	if err := mqtt.DecodeSuback(body, h, p.run.version, packetLimits, &a); err != nil {
		return err
	}
	for _, r := range a.Reasons {
		if r >= 0x80 {
			return &refusal{"SUBACK", r}
		}
	}
	if p.acksDue--; p.acksDue == 0 && p.state == subscribing {
		p.run.crowd.ready(p)
	}
	return nil
}

// message is a PUBLISH that reached us.
func (p *peer) message(h mqtt.Header, body []byte) error {
	m := &p.run.message
	if err := mqtt.DecodePublishClient(body, h, p.run.version, packetLimits, m); err != nil {
		return err
	}
	p.heard(m.QoS, m.PacketID, m.Payload)
	return nil
}

// heard acknowledges a message and keeps account of it.
func (p *peer) heard(q mqtt.QoS, id uint16, payload []byte) {
	switch q {
	case 1:
		p.answer(0x40, id)
	case 2:
		p.answer(0x50, id)
	}
	p.run.delivered(p, payload)
}

// answer queues an acknowledgement that says success: the same four bytes in all versions.
func (p *peer) answer(head byte, id uint16) {
	p.out = append(p.out, head, 2, byte(id>>8), byte(id))
	p.run.eng.queue(&p.line)
}

// acknowledged is a PUBACK, PUBREC or PUBCOMP.
func (p *peer) acknowledged(h mqtt.Header, body []byte) error {
	if len(body) < 2 {
		return errShort
	}
	id, reason := binary.BigEndian.Uint16(body), mqtt.Success
	if len(body) > 2 {
		var a mqtt.Ack
		if err := mqtt.DecodeAck(body, h, p.run.version, packetLimits, &a); err != nil {
			return err
		}
		reason = a.Reason
	}
	if p.pub == nil {
		return fmt.Errorf("%s for a client that publishes nothing", h.Type)
	}
	f := p.pub.ids.find(id)
	want := unacked
	if h.Type == mqtt.PUBCOMP {
		want = released
	}
	if f == nil || f.state != want || (h.Type == mqtt.PUBACK) != (p.run.opt.QoS == 1) {
		return fmt.Errorf("%s with an identifier that waits for none", h.Type)
	}
	if h.Type == mqtt.PUBREC && reason < 0x80 {
		f.state = released
		p.answer(0x62, id)
		return nil
	}
	p.run.settled(p, *f, reason)
	p.pub.ids.done(id)
	p.run.feed(p)
	return nil
}

func (p *peer) drained() {
	if p.pub != nil && p.state == ready {
		p.run.feed(p)
	}
}

func (p *peer) ended(err error) {
	was := p.state
	p.state = failed
	switch was {
	case leaving:
		p.state = away
		p.run.crowd.left(p)
	case ready:
		p.run.crowd.lost(p, err)
	default:
		p.run.crowd.refused(p, err)
	}
}

// leave sends DISCONNECT. The broker closes.
func (p *peer) leave() {
	if p.state != ready {
		return
	}
	p.state = leaving
	d := mqtt.Disconnect{}
	p.out = d.Append(p.out, p.run.version, 0)
	p.run.eng.queue(&p.line)
}
