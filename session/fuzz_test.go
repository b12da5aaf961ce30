package session

import (
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// FuzzSession feeds a session with whatever a client can send (real packets,
// decoded as the connection decodes them) among deliveries, connections that
// break, slow sockets and time. Nothing may panic; what the session remembers
// stays within its limits; every packet it sends is one a client can read; and at
// the end everything is given back.
//
// The input is a list of steps: one byte says what happens, a few more say how.
func FuzzSession(f *testing.F) {
	ack := func(t mqtt.Type, id uint16) string {
		return string(rune(stepPacket)) + string((&mqtt.Ack{Type: t, PacketID: id}).Append(nil, mqtt.V5, 0))
	}
	pub := func(p mqtt.Publish) string { return string(rune(stepPacket)) + string(p.Append(nil, mqtt.V5)) }
	topic := []byte("plant/a")
	const attach5, deliver1, deliver2, late = "\x00\x05\x02\x00\x09", "\x03\x01\x08\x00", "\x03\x02\x08\x05", "\x06\xff"
	f.Add(attach5 + deliver1 + deliver1 + deliver1 + ack(mqtt.PUBACK, 1) + ack(mqtt.PUBACK, 9) + ack(mqtt.PUBREC, 2))
	f.Add(attach5 + deliver2 + ack(mqtt.PUBREC, 1) + ack(mqtt.PUBREC, 1) + ack(mqtt.PUBCOMP, 1) + ack(mqtt.PUBREL, 1))
	f.Add(attach5 + deliver2 + deliver1 + "\x01\x01" + deliver1 + attach5 + ack(mqtt.PUBREC, 1) + "\x01\x00" + late)
	f.Add(attach5 + pub(mqtt.Publish{Topic: topic, QoS: 2, PacketID: 7}) + pub(mqtt.Publish{Topic: topic, QoS: 2, PacketID: 7, Dup: true}) + ack(mqtt.PUBREL, 7))
	f.Add(attach5 + pub(mqtt.Publish{Topic: topic, TopicAlias: 1, HasTopicAlias: true}) + pub(mqtt.Publish{TopicAlias: 1, HasTopicAlias: true, QoS: 1, PacketID: 1}))
	f.Add(attach5 + "\x07\x01" + pub(mqtt.Publish{Topic: topic, QoS: 1, PacketID: 1}) + pub(mqtt.Publish{Topic: topic, QoS: 2, PacketID: 2}) + "\x05\x01\x05\x00" + attach5 + "\x05\x00")
	f.Add("\x00\x04\x01\x1e\x00" + "\x04\x00" + deliver1 + "\x03\x00\xff\x00" + "\x04\x01" + "\x08\x01" + late + late)
	f.Fuzz(func(t *testing.T, in string) {
		p := &player{t: t, l: newLedger(t), in: in, now: now0, lim: &Limits{
			InflightMax: 3, MqueueMessages: 4, MqueueBytes: 2000, AwaitingRelMax: 3, ReceiveMaximum: 4, AliasInMax: 3, WaitMax: time.Minute,
		}}
		p.begin()
		for len(p.in) > 0 {
			p.step()
			p.check()
		}
		p.end()
	})
}

const stepPacket = 2

// player reads steps and plays them.
type player struct {
	t      *testing.T
	l      *ledger
	s      *Session
	lim    *Limits
	in     string
	now    time.Time
	await  bool // the broker cannot settle a message at once
	broken bool // the client broke a rule: the broker does not read it any more
}

func (p *player) begin() {
	p.s = New(Key{}, 1, p.lim)
	p.broken = true // until it connects
}

func (p *player) end() {
	p.s.Discard()
	p.l.settle()
}

// next is one byte of the input, or 0 after its end.
func (p *player) next() byte {
	if p.in == "" {
		return 0
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b
}

func (p *player) step() {
	switch p.next() % 9 {
	case 0:
		p.attach(p.next(), p.next(), p.next(), p.next())
	case 1:
		p.leave(p.next()&1 == 0)
	case stepPacket:
		p.packet()
	case 3:
		p.deliver(p.next(), p.next(), p.next())
	case 4:
		if p.next()&1 == 0 {
			p.s.Congest()
		} else {
			p.sent(p.s.Writable(p.now, nil))
		}
	case 5:
		p.settle(p.next()&1 == 1)
	case 6:
		p.now = p.now.Add(time.Duration(p.next()) * 500 * time.Millisecond)
		p.due(p.s.Tick(p.now))
	case 7:
		p.await = p.next()&1 == 1
	case 8:
		odd := p.next()
		p.s.Purge(func(name []byte) bool { return (name[0]^odd)&1 == 0 })
	}
}

func (p *player) attach(version, rm, most, expiry byte) {
	if p.s.Online() {
		p.leave(true)
	}
	a := Attachment{
		Version: mqtt.Version(3 + version%3), ReceiveMaximum: uint16(rm)%4 + 1,
		MaximumPacketSize: uint32(most), ExpirySeconds: uint32(expiry) % 20,
	}
	if expiry&0x80 != 0 {
		a.Will = &mqtt.Will{Topic: "w", DelaySeconds: uint32(expiry) % 7}
	}
	p.broken = false
	p.sent(p.s.Attach(p.now, a, nil))
}

func (p *player) leave(keepWill bool) {
	p.broken = true
	if p.s.Online() {
		p.due(p.s.Detach(p.now, keepWill))
	}
}

func (p *player) due(d Due) {
	if d.End {
		p.end()
		p.begin()
	}
}

// packet takes one packet off the rest of the input.
func (p *player) packet() {
	v := p.s.Version()
	h, ok, err := mqtt.ReadHeader([]byte(p.in[:min(len(p.in), 8)]), v)
	if !ok || err != nil || h.Size+h.Remaining > len(p.in) {
		return
	}
	body := []byte(p.in[h.Size : h.Size+h.Remaining])
	p.in = p.in[h.Size+h.Remaining:]
	if p.broken {
		return
	}
	lim := mqtt.Limits{UserProperties: 5, Filters: 5}
	switch h.Type {
	case mqtt.PUBLISH:
		var m mqtt.Publish
		if err = mqtt.DecodePublish(body, h, v, lim, &m); err == nil {
			err = p.publish(&m)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var a mqtt.Ack
		if err = mqtt.DecodeAck(body, h, v, lim, &a); err == nil {
			err = p.ack(&a)
		}
	case mqtt.DISCONNECT:
		var d mqtt.Disconnect
		if err = mqtt.DecodeDisconnect(body, h, v, lim, &d); err == nil {
			if d.SessionExpiry != nil {
				err = p.s.SetExpiry(*d.SessionExpiry)
			}
			p.leave(d.Reason != mqtt.Success)
		}
	}
	if err != nil {
		if e, ok := err.(*mqtt.Error); !ok || !e.Reason.Failed() {
			p.t.Fatalf("refused with %#v", err)
		}
		p.leave(true)
	}
}

func (p *player) publish(m *mqtt.Publish) error {
	v, name, outs, err := take(p.s, p.l, m)
	p.sent(outs)
	if v != toRoute {
		return err
	}
	if len(name) == 0 {
		p.t.Fatal("a message without a topic would be judged")
	}
	if p.await {
		p.s.Await(m.QoS, m.PacketID)
	} else {
		p.sent(p.s.Acknowledge(m.QoS, m.PacketID, mqtt.Success, nil))
	}
	return nil
}

func (p *player) ack(a *mqtt.Ack) (err error) {
	var outs []Out
	switch a.Type {
	case mqtt.PUBACK:
		outs, err = p.s.Puback(p.now, a.PacketID, nil)
	case mqtt.PUBREC:
		outs, err = p.s.Pubrec(p.now, a.PacketID, a.Reason, nil)
	case mqtt.PUBREL:
		outs = p.s.Pubrel(a.PacketID, nil)
	case mqtt.PUBCOMP:
		outs, err = p.s.Pubcomp(p.now, a.PacketID, nil)
	}
	p.sent(outs)
	return err
}

func (p *player) settle(await bool) {
	if !p.s.Busy() {
		return
	}
	if p.s.Deferred() != nil && await {
		p.s.Routed()
		return
	}
	p.sent(p.s.Settle(mqtt.Success, nil))
}

func (p *player) deliver(how, size, expiry byte) {
	f := p.l.frame(string(rune('a'+how&1)), string(make([]byte, int(size)*4)))
	f.QoS = mqtt.QoS(how % 3)
	f.CreatedAt = p.now.UnixMilli()
	if expiry > 0 {
		f.ExpiresAt = f.CreatedAt + int64(expiry)*1000
	}
	d := Delivery{Frame: f, QoS: f.QoS, Retain: how&8 != 0}
	if how&16 != 0 {
		d.SubID = 1 << (how & 7)
	}
	if how&32 != 0 {
		d.SubIDs = []uint32{1, 300, 268_435_455}
	}
	p.sent(p.s.Deliver(p.now, d, nil))
}

// sent reads every packet as the client does.
func (p *player) sent(outs []Out) {
	if len(outs) > 0 && !p.s.Online() {
		p.t.Fatalf("%d packets to nobody", len(outs))
	}
	for i := range outs {
		o := &outs[i]
		b, _, end := o.Append(nil, p.s.Version(), p.now, 0, mqtt.PacketMax)
		if most := p.s.conn.sizeMax; !end || o.Kind == OutPublish && most > 0 && len(b) > int(most) {
			p.t.Fatalf("a packet of %d bytes, the client takes %d", len(b), most)
		}
		readPacket(p.t, b, p.s.Version())
		o.Done()
	}
}

// check holds the session to its limits.
func (p *player) check() {
	s := p.s
	n, bytes := s.Queued()
	if s.Inflight() > p.lim.InflightMax || n > p.lim.MqueueMessages || bytes > p.lim.MqueueBytes || s.AwaitingRel() > p.lim.AwaitingRelMax || len(s.got().aliases) > p.lim.AliasInMax {
		p.t.Fatalf("over its limits: %s, %d aliases", stateWords(s), len(s.got().aliases))
	}
	if n == 0 && bytes != 0 {
		p.t.Fatalf("an empty queue of %d bytes", bytes)
	}
	if at := s.Deadline(); s.Online() && !at.IsZero() {
		p.t.Fatalf("a deadline at %v while the client is connected", at)
	}
}
