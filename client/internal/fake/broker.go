package fake

import (
	"crypto/tls"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Broker routes messages between its connections. What is under "denied/" it
// refuses: in 5.0 with Not authorized, before by closing the connection or with
// 0x80. It keeps no session; retained messages it keeps.
type Broker struct {
	*Server
	// Connack is what CONNECT is answered with. Set it before the first client.
	Connack mqtt.Connack
	// Password, if not empty, is what every client must present.
	Password string

	mu       sync.Mutex // guards what follows
	clients  map[*Conn][]mqtt.Subscription
	ids      map[*Conn]uint16
	retained map[string]mqtt.Publish
	connects []mqtt.Connect
	leaving  []mqtt.Disconnect
}

// NewBroker starts one.
func NewBroker(t testing.TB, conf *tls.Config) *Broker {
	b := &Broker{clients: map[*Conn][]mqtt.Subscription{}, ids: map[*Conn]uint16{}, retained: map[string]mqtt.Publish{}}
	b.Server = Start(t, conf, b.serve)
	return b
}

// Connects are the CONNECTs so far.
func (b *Broker) Connects() []mqtt.Connect {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]mqtt.Connect(nil), b.connects...)
}

// Disconnects are the DISCONNECTs so far.
func (b *Broker) Disconnects() []mqtt.Disconnect {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]mqtt.Disconnect(nil), b.leaving...)
}

// Retained is the retained payload of a topic.
func (b *Broker) Retained(name string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.retained[name]
	return string(m.Payload), ok
}

func (b *Broker) serve(c *Conn) {
	p, err := c.Next()
	if err != nil {
		return
	}
	if err := mqtt.DecodeConnect(p.Body, mqtt.Limits{UserProperties: -1}, &c.Connect); err != nil {
		c.t.Errorf("fake broker: CONNECT: %v", err)
		return
	}
	c.Version = c.Connect.Version
	ack := b.Connack
	if b.Password != "" && string(c.Connect.Password) != b.Password {
		ack.Reason = mqtt.BadUserNameOrPassword
	}
	if c.Connect.ClientID == "" && c.Version == mqtt.V5 {
		ack.AssignedClientID = "assigned-1"
	}
	b.mu.Lock()
	b.connects = append(b.connects, c.Connect)
	if ack.Reason == mqtt.Success {
		b.clients[c] = nil
	}
	b.mu.Unlock()
	c.Send(ack.Append(nil, c.Version, 0))
	if ack.Reason != mqtt.Success {
		return
	}
	defer func() {
		b.mu.Lock()
		delete(b.clients, c)
		b.mu.Unlock()
	}()
	for {
		p, err := c.Next()
		if err != nil || !b.handle(c, p) {
			return
		}
	}
}

// handle answers one packet; false ends the connection.
func (b *Broker) handle(c *Conn, p Packet) bool {
	switch p.Type {
	case mqtt.PUBLISH:
		return b.publish(c, c.DecodePublish(p))
	case mqtt.PUBREC, mqtt.PUBREL:
		var a mqtt.Ack
		if err := mqtt.DecodeAck(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &a); err != nil {
			c.t.Errorf("fake broker: %s: %v", p.Type, err)
		}
		b.locked(func() { c.SendAck(p.Type+1, a.PacketID, mqtt.Success, "") }) // PUBREL answers PUBREC, PUBCOMP answers PUBREL
	case mqtt.SUBSCRIBE:
		b.subscribe(c, p)
	case mqtt.UNSUBSCRIBE:
		var u mqtt.Unsubscribe
		if err := mqtt.DecodeUnsubscribe(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &u); err != nil {
			c.t.Errorf("fake broker: UNSUBSCRIBE: %v", err)
		}
		a := mqtt.Unsuback{PacketID: u.PacketID, Reasons: make([]mqtt.ReasonCode, len(u.Filters))}
		b.locked(func() { c.Send(a.Append(nil, c.Version, 0)) })
	case mqtt.PINGREQ:
		b.locked(func() { c.Send(mqtt.AppendPingresp(nil)) })
	case mqtt.DISCONNECT:
		var d mqtt.Disconnect
		if err := mqtt.DecodeDisconnect(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &d); err != nil {
			c.t.Errorf("fake broker: DISCONNECT: %v", err)
		}
		b.locked(func() { b.leaving = append(b.leaving, d) })
		return false
	}
	return true
}

func (b *Broker) locked(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *Broker) publish(c *Conn, m mqtt.Publish) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	reason := mqtt.Success
	if strings.HasPrefix(string(m.Topic), "denied/") {
		if c.Version != mqtt.V5 {
			return m.QoS == 0
		}
		reason = mqtt.NotAuthorized
	} else {
		b.route(m)
	}
	switch m.QoS {
	case 1:
		c.SendAck(mqtt.PUBACK, m.PacketID, reason, "")
	case 2:
		c.SendAck(mqtt.PUBREC, m.PacketID, reason, "")
	}
	return true
}

// route sends m to everybody who wants it, once per connection.
func (b *Broker) route(m mqtt.Publish) {
	for c, subs := range b.clients {
		for _, s := range subs {
			if topic.Match(s.Filter, m.Topic) {
				out := m
				out.QoS, out.Dup, out.HasTopicAlias = min(m.QoS, s.QoS), false, false
				out.Retain = m.Retain && s.RetainAsPublished
				b.deliver(c, out)
				break
			}
		}
	}
	if m.Retain {
		if len(m.Payload) == 0 {
			delete(b.retained, string(m.Topic))
			return
		}
		b.retained[string(m.Topic)] = m
	}
}

// deliver sends m with a packet identifier of the receiver's own connection.
func (b *Broker) deliver(c *Conn, m mqtt.Publish) {
	if m.QoS > 0 {
		if b.ids[c]++; b.ids[c] == 0 {
			b.ids[c] = 1
		}
		m.PacketID = b.ids[c]
	}
	c.SendPublish(m)
}

func (b *Broker) subscribe(c *Conn, p Packet) {
	var s mqtt.Subscribe
	if err := mqtt.DecodeSubscribe(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &s); err != nil {
		c.t.Errorf("fake broker: SUBSCRIBE: %v", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := mqtt.Suback{PacketID: s.PacketID}
	var accepted []mqtt.Subscription
	for _, f := range s.Filters {
		if strings.HasPrefix(f.Filter, "denied/") {
			a.Reasons = append(a.Reasons, mqtt.NotAuthorized)
			continue
		}
		a.Reasons = append(a.Reasons, mqtt.ReasonCode(f.QoS))
		accepted = append(accepted, f)
	}
	b.clients[c] = append(b.clients[c], accepted...)
	c.Send(a.Append(nil, c.Version, 0))
	for name, m := range b.retained {
		for _, f := range accepted {
			if f.RetainHandling != 2 && topic.Match(f.Filter, []byte(name)) {
				m.Retain, m.QoS = true, min(m.QoS, f.QoS)
				b.deliver(c, m)
				break
			}
		}
	}
}
