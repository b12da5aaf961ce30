package conn

import (
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

var pingresp = mqtt.AppendPingresp(nil)

// filtersMax bounds the filters of one SUBSCRIBE or UNSUBSCRIBE: a packet of 1
// MiB could hold a quarter of a million, each of which takes ten times its bytes
// in memory. A client with more sends more packets.
const filtersMax = 1000

// packet decodes one whole packet and gives it to the home.
func (l *Loop) packet(c *Conn, h *mqtt.Header, body []byte) error {
	if c.stage == awaitingConnect {
		return l.connect(c, body)
	}
	lim := mqtt.Limits{UserProperties: l.server.broker.Settings().UserProperties, Filters: filtersMax, SkipUsers: true}
	l.serves = l.serves || l.established(c) && h.Type != mqtt.DISCONNECT
	switch h.Type {
	case mqtt.PUBLISH:
		if err := mqtt.DecodePublish(body, *h, c.version, lim, &l.publish); err != nil {
			return err
		}
		l.publish.Room = l.roomed
		l.home.Publish(l.now, c.session, &l.publish)
		l.roomed = l.publish.Room  // nil: it is the message's now
		l.publish = mqtt.Publish{} // whose bytes are a buffer's
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var p mqtt.Ack
		if err := mqtt.DecodeAck(body, *h, c.version, lim, &p); err != nil {
			return err
		}
		l.home.Ack(l.now, c.session, &p)
	case mqtt.SUBSCRIBE:
		var p mqtt.Subscribe
		if err := mqtt.DecodeSubscribe(body, *h, c.version, lim, &p); err != nil {
			return err
		}
		l.home.Subscribe(l.now, c.session, &p)
	case mqtt.UNSUBSCRIBE:
		var p mqtt.Unsubscribe
		if err := mqtt.DecodeUnsubscribe(body, *h, c.version, lim, &p); err != nil {
			return err
		}
		l.home.Unsubscribe(l.now, c.session, &p)
	case mqtt.PINGREQ:
		if len(body) > 0 {
			return &mqtt.Error{Reason: mqtt.MalformedPacket, Detail: "PINGREQ with a body"}
		}
		l.home.Heard(c.session)
		l.Send(c.ref, session.Packet(pingresp)) // [MQTT-3.12.4-1]
	case mqtt.DISCONNECT:
		var p mqtt.Disconnect
		if err := mqtt.DecodeDisconnect(body, *h, c.version, lim, &p); err != nil {
			return err
		}
		if c.stage == exchanging {
			l.part(c, nil, broker.CauseDisconnect)
			return nil
		}
		l.home.Disconnect(l.now, c.session, &p)
	case mqtt.CONNECT:
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.1.0-2", Detail: "a second CONNECT"} // [MQTT-3.2.0-2]
	case mqtt.AUTH:
		var p mqtt.Auth
		if err := mqtt.DecodeAuth(body, *h, c.version, lim, &p); err != nil {
			return err
		}
		return l.authPacket(c, &p)
	default: // what only a server sends (A014, A015)
		return &mqtt.Error{Reason: mqtt.ProtocolError, Detail: h.Type.String() + " from a client"}
	}
	return nil
}

// connect judges a CONNECT and asks who its sender is. Until the answer nothing
// more is read, and after a refusal nothing at all [MQTT-3.1.4-6].
func (l *Loop) connect(c *Conn, body []byte) error {
	a := new(arrival)
	p := &a.packet
	err := mqtt.DecodeConnect(body, mqtt.Limits{UserProperties: l.server.broker.Settings().UserProperties}, p)
	c.version = p.Version
	if err != nil {
		l.refuse(c, err.(*mqtt.Error), p.MaximumPacketSize)
		return nil
	}
	assigned, refusal := l.server.broker.Check(p)
	a.connect, a.assigned = p, assigned
	c.arrives(a) // who is refused here has said who he is
	if refusal != nil {
		l.refuse(c, refusal, p.MaximumPacketSize)
		return nil
	}
	if p.HasAuthMethod {
		refusal = l.beginExchange(c, p)
	}
	if refusal != nil {
		l.refuse(c, refusal, p.MaximumPacketSize)
		return nil
	}
	c.stage = authenticating
	c.place.Busy(true)
	if c.auth() != nil {
		l.step(c, p.AuthData)
		return nil
	}
	l.server.authenticate(l, c)
	return nil
}

// refuse says no to a CONNECT and closes [MQTT-3.2.2-7] [MQTT-3.1.4-2], without a
// DISCONNECT [MQTT-3.14.0-1]. A client whose version
// was never understood gets the answer all of them read.
func (l *Loop) refuse(c *Conn, e *mqtt.Error, max uint32) {
	ref := l.refused(c, "", e)
	v := c.version
	if v != mqtt.V5 {
		v = mqtt.V311
	}
	if b := broker.Refusal(v, e.Reason, max, ref); b != nil {
		c.out.push(session.Packet(b))
	}
	l.part(c, nil, broker.CauseConnectRefused)
}
