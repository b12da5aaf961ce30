package client

import (
	"context"
	"fmt"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Outgoing is a message to publish.
type Outgoing struct {
	Topic            string
	Payload          []byte
	QoS              mqtt.QoS
	Retain           bool
	Properties       mqtt.PublishProperties // 5.0 only
	MessageExpiry    uint32                 // seconds; 5.0 only
	HasMessageExpiry bool
	TopicAlias       uint16 // 0: none; 5.0 only
}

// Pending is a request whose answer is under way.
type Pending struct {
	// Set before the request leaves.
	topic string    // of a PUBLISH
	next  mqtt.Type // the answer that is due; a PUBREC makes it PUBCOMP
	slot  bool      // it holds one of Client.slots
	many  int       // reasons that a SUBACK or UNSUBACK must carry

	// Written once, before done is closed.
	done         chan struct{}
	reasons      []mqtt.ReasonCode
	reasonString string
	err          error
}

// Done is closed when the answer is here or will not come.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits for the server's acknowledgement and answers its reason:
// NoMatchingSubscribers is a success that a server may tell. A refusal is an
// *Error. At QoS 0 there is nothing to wait for.
func (p *Pending) Wait(ctx context.Context) (mqtt.ReasonCode, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		select {
		case <-p.done: // both: the answer counts
		default:
			return mqtt.Success, ctx.Err()
		}
	}
	if len(p.reasons) > 0 {
		return p.reasons[0], p.err
	}
	return mqtt.Success, p.err
}

func (p *Pending) finish(err error, reasons ...mqtt.ReasonCode) {
	p.err, p.reasons = err, reasons
	close(p.done)
}

// Publish sends m and waits until the server has taken it: PUBACK at QoS 1,
// PUBCOMP at QoS 2. At QoS 0 it returns when the message is queued; Disconnect
// sends what is queued.
func (c *Client) Publish(ctx context.Context, m *Outgoing) (mqtt.ReasonCode, error) {
	p, err := c.Send(ctx, m)
	if err != nil {
		return mqtt.Success, err
	}
	return p.Wait(ctx)
}

// Send queues m and does not wait for its acknowledgement. It waits for room:
// QoS 1 and 2 messages for one of the places the server's Receive Maximum leaves
// [MQTT-3.3.4-7]. The payload may be changed once Send has returned.
func (c *Client) Send(ctx context.Context, m *Outgoing) (*Pending, error) {
	if err := c.verifyOutgoing(m); err != nil {
		return nil, err
	}
	p := &Pending{topic: m.Topic, done: make(chan struct{})}
	packet := mqtt.Publish{
		Topic: []byte(m.Topic), Payload: m.Payload, QoS: m.QoS, Retain: m.Retain,
		MessageExpiry: m.MessageExpiry, HasMessageExpiry: m.HasMessageExpiry,
		TopicAlias: m.TopicAlias, HasTopicAlias: m.TopicAlias != 0,
	}
	if c.version == mqtt.V5 {
		packet.Props = m.Properties.Append(nil)
	}
	if m.QoS > 0 {
		if err := c.enter(ctx, p, &packet); err != nil {
			return nil, err
		}
	}
	wire := packet.Append(nil, c.version)
	if limit := c.connack.MaximumPacketSize; limit > 0 && len(wire) > int(limit) { // [MQTT-3.2.2-15]
		c.forget(packet.PacketID)
		return nil, &Error{Kind: KindUnsupported, Reason: mqtt.PacketTooLarge,
			What: fmt.Sprintf("the message to %s makes a packet of %d bytes, and the server takes at most %d", quote(m.Topic), len(wire), limit)}
	}
	c.tracef("sending PUBLISH qos=%d id=%d retain=%t topic=%s bytes=%d", m.QoS, packet.PacketID, m.Retain, Printable(m.Topic), len(m.Payload))
	if !c.out.put(ctx, c.done, wire) {
		c.forget(packet.PacketID)
		return nil, c.whyNot(ctx)
	}
	if m.QoS == 0 {
		p.finish(nil)
	}
	return p, nil
}

// enter takes a slot and a packet identifier for p.
func (c *Client) enter(ctx context.Context, p *Pending, packet *mqtt.Publish) error {
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return c.whyNot(ctx)
	}
	p.slot, p.next = true, mqtt.PUBACK
	if packet.QoS == 2 {
		p.next = mqtt.PUBREC
	}
	var err error
	if packet.PacketID, err = c.register(p); err != nil {
		<-c.slots
	}
	return err
}

// register finds a packet identifier that is not in use [MQTT-2.2.1-3].
func (c *Client) register(p *Pending) (uint16, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.leaving {
		return 0, errLeft
	}
	for range 65535 {
		if c.lastID++; c.lastID == 0 {
			c.lastID = 1
		}
		if c.pending[c.lastID] == nil {
			c.pending[c.lastID] = p
			return c.lastID, nil
		}
	}
	return 0, &Error{Kind: KindOptions, What: "all 65535 packet identifiers are in use"}
}

// forget takes back a registration whose packet never left.
func (c *Client) forget(id uint16) {
	c.mu.Lock()
	p := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if p != nil && p.slot {
		<-c.slots
	}
}

// settle ends the request behind id.
func (c *Client) settle(id uint16, err error, reasonString string, reasons ...mqtt.ReasonCode) {
	c.mu.Lock()
	p := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if p == nil {
		return // the connection ended meanwhile
	}
	if p.slot {
		<-c.slots
	}
	p.reasonString = reasonString
	p.finish(err, reasons...)
}

// whyNot is why a packet could not be queued.
func (c *Client) whyNot(ctx context.Context) error {
	if err := c.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errLeft
}

// waits tells which answer the request behind id waits for; PUBREC turns into
// PUBCOMP when advance is set.
func (c *Client) waits(id uint16, advance bool) (p *Pending, next mqtt.Type) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.pending[id]
	if p == nil {
		return nil, 0
	}
	next = p.next
	if advance && next == mqtt.PUBREC {
		p.next = mqtt.PUBCOMP
	}
	return p, next
}

// handleAck is a PUBACK, PUBREC or PUBCOMP for one of our messages.
func (c *Client) handleAck(a *mqtt.Ack) error {
	p, next := c.waits(a.PacketID, a.Type == mqtt.PUBREC && !a.Reason.Failed())
	switch {
	case p == nil && a.Type == mqtt.PUBREC && !a.Reason.Failed():
		// A flow that an earlier process left in the session: finish it.
		c.queueAck(mqtt.Ack{Type: mqtt.PUBREL, PacketID: a.PacketID, Reason: mqtt.PacketIdentifierNotFound})
		return nil
	case p == nil:
		return nil
	case a.Type == mqtt.PUBREC && next == mqtt.PUBCOMP: // repeated: so is the answer
		c.queueAck(mqtt.Ack{Type: mqtt.PUBREL, PacketID: a.PacketID})
		return nil
	case a.Type != next:
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§4.3", Detail: a.Type.String() + " where " + next.String() + " was due"}
	case a.Type == mqtt.PUBREC && !a.Reason.Failed():
		c.queueAck(mqtt.Ack{Type: mqtt.PUBREL, PacketID: a.PacketID}) // [MQTT-4.3.3-4]
		return nil
	case a.Type != mqtt.PUBCOMP && a.Reason.Failed():
		c.settle(a.PacketID, c.refusedPublish(p.topic, a), a.ReasonString, a.Reason)
		return nil
	}
	c.settle(a.PacketID, nil, a.ReasonString, a.Reason)
	return nil
}

// verifyOutgoing refuses what the server announced it does not take, and what no
// server may be sent.
func (c *Client) verifyOutgoing(m *Outgoing) error {
	if err := VerifyOutgoing(m, c.version); err != nil {
		return err
	}
	unsupported := func(reason mqtt.ReasonCode, format string, args ...any) error {
		return &Error{Kind: KindUnsupported, Reason: reason, What: fmt.Sprintf(format, args...)}
	}
	a := &c.connack
	switch {
	case a.MaximumQoS != nil && m.QoS > *a.MaximumQoS: // [MQTT-3.2.2-11]
		return unsupported(mqtt.QoSNotSupported, "the server takes messages of at most QoS %d, and this one is QoS %d", *a.MaximumQoS, m.QoS)
	case m.Retain && a.RetainAvailable != nil && !*a.RetainAvailable: // [MQTT-3.2.2-14]
		return unsupported(mqtt.RetainNotSupported, "the server does not retain messages")
	case m.TopicAlias > a.TopicAliasMaximum: // [MQTT-3.2.2-18]
		return unsupported(mqtt.TopicAliasInvalid, "the server takes topic aliases up to %d, and this one is %d", a.TopicAliasMaximum, m.TopicAlias)
	}
	return nil
}

// VerifyOutgoing refuses what no server may be sent in version v, so that the
// mistake is told before a connection is made.
func VerifyOutgoing(m *Outgoing, v mqtt.Version) error {
	bad := func(format string, args ...any) error {
		return &Error{Kind: KindOptions, What: fmt.Sprintf(format, args...)}
	}
	if err := topic.ValidName([]byte(m.Topic)); err != nil {
		return bad("the topic %s cannot be published to: %v", quote(m.Topic), err)
	}
	if m.QoS > 2 {
		return bad("QoS %d does not exist (0, 1 or 2)", m.QoS)
	}
	if v == mqtt.V5 {
		return VerifyProperties(&m.Properties)
	}
	p := &m.Properties
	if p.HasPayloadFormat || p.ContentType != "" || p.ResponseTopic != "" || p.CorrelationData != nil || p.UserProperties != nil ||
		m.HasMessageExpiry || m.TopicAlias != 0 {
		return bad("MQTT %s has no properties; use 5.0", v)
	}
	return nil
}
