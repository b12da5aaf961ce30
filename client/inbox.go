package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Message is an application message from the server.
type Message struct {
	Topic            string
	Payload          []byte
	QoS              mqtt.QoS
	Retain           bool // it was retained before we subscribed, unless retain as published was asked for
	Dup              bool
	PacketID         uint16 // 0 at QoS 0
	Properties       mqtt.PublishProperties
	MessageExpiry    uint32 // seconds left
	HasMessageExpiry bool
	SubscriptionIDs  []uint32
	Received         time.Time
}

// size is what the message counts in the inbox, in bytes.
func (m *Message) size() int {
	n := len(m.Topic) + len(m.Payload) + len(m.Properties.ContentType) + len(m.Properties.ResponseTopic) + len(m.Properties.CorrelationData) + 256
	for _, u := range m.Properties.UserProperties {
		n += len(u.Name) + len(u.Value) + 32
	}
	return n
}

// receiveSlack is by which factor a server may pass our Receive Maximum before we
// hang up [MQTT-3.3.4-9]. Mosquitto 2.0.11 goes over it by one after it dropped
// messages from a full queue, and a message more does no harm here: what bounds
// our memory is the size of the inbox.
const receiveSlack = 2

// inbox is what has been received and not yet taken by Next. It has one
// producer, the reading goroutine.
type inbox struct {
	// Set by init, then never changed.
	open       bool
	v5         bool
	receiveMax int
	aliasMax   uint16
	avail      chan struct{} // holds one entry when queue is not empty
	room       chan struct{} // holds one entry when something was taken

	alias map[uint16]string // of the reading goroutine alone

	mu        sync.Mutex // guards the fields below
	queue     []Message
	bytes     int
	unsettled int             // QoS 1 and 2 messages we have not acknowledged for good
	awaiting  map[uint16]bool // QoS 2 identifiers without their PUBREL; true once taken
	waiting   bool            // the producer waits for room
	discarded bool
}

func (b *inbox) init(open bool, v mqtt.Version, receiveMax, aliasMax uint16) {
	b.open, b.v5, b.receiveMax, b.aliasMax = open, v == mqtt.V5, int(receiveMax), aliasMax
	b.avail, b.room = make(chan struct{}, 1), make(chan struct{}, 1)
	b.alias, b.awaiting = make(map[uint16]string), make(map[uint16]bool)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// stalled tells whether the reading of the socket stands still because nobody
// calls Next.
func (b *inbox) stalled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// discard drops what waits and what is to come: the caller is leaving.
func (b *inbox) discard() {
	b.mu.Lock()
	b.discarded, b.queue, b.bytes = true, nil, 0
	b.mu.Unlock()
	notify(b.room)
}

// resolve finds the topic of p [MQTT-3.3.2-10] and remembers its alias.
func (b *inbox) resolve(p *mqtt.Publish) (string, error) {
	if !p.HasTopicAlias {
		return string(p.Topic), nil
	}
	if p.TopicAlias > b.aliasMax { // [MQTT-3.1.2-26]
		return "", &mqtt.Error{Reason: mqtt.TopicAliasInvalid, Rule: "MQTT-3.1.2-26", Detail: "topic alias above our maximum"}
	}
	if len(p.Topic) > 0 {
		b.alias[p.TopicAlias] = string(p.Topic)
	}
	t, ok := b.alias[p.TopicAlias]
	if !ok {
		return "", &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§3.3.2.3.4", Detail: "topic alias that was never set"}
	}
	return t, nil
}

// admit judges a QoS 1 or 2 message before it is queued. repeated means that it
// is here already; again, that its PUBREC got lost and is due once more.
func (b *inbox) admit(m *Message) (repeated, again bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.QoS == 2 {
		if taken, ok := b.awaiting[m.PacketID]; ok { // [MQTT-4.3.3-10]
			return true, taken, nil
		}
	}
	if b.unsettled++; b.v5 && b.unsettled > receiveSlack*b.receiveMax {
		return false, false, &mqtt.Error{Reason: mqtt.ReceiveMaximumExceeded, Rule: "MQTT-3.3.4-9",
			Detail: fmt.Sprintf("%d unacknowledged messages, and we announced %d", b.unsettled, b.receiveMax)}
	}
	if m.QoS == 2 {
		b.awaiting[m.PacketID] = false
	}
	return false, false, nil
}

// push queues m, and waits while the inbox is full.
func (b *inbox) push(m Message, done <-chan struct{}) {
	n := m.size()
	b.mu.Lock()
	for !b.discarded && len(b.queue) > 0 && (len(b.queue) >= inboxMessagesMax || b.bytes+n > inboxBytesMax) {
		b.waiting = true
		b.mu.Unlock()
		select {
		case <-b.room:
		case <-done:
			return
		}
		b.mu.Lock()
	}
	b.waiting = false
	if !b.discarded {
		b.queue = append(b.queue, m)
		b.bytes += n
	}
	b.mu.Unlock()
	notify(b.avail)
}

// Next waits for a message, and acknowledges it: it is the caller's now. When the
// connection has ended, the messages received before are still handed out, then
// the answer is Err. When ctx ended it is ctx's error.
func (c *Client) Next(ctx context.Context) (Message, error) {
	for {
		if m, ok := c.takeMessage(); ok {
			return m, nil
		}
		select {
		case <-c.in.avail:
		case <-c.done:
			if m, ok := c.takeMessage(); ok {
				return m, nil
			}
			return Message{}, c.Err()
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// takeMessage takes the oldest message and queues its PUBACK or PUBREC. Both
// happen under one lock, so that acknowledgements leave in the order of the
// messages [MQTT-4.6.0-2] [MQTT-4.6.0-3].
func (c *Client) takeMessage() (Message, bool) {
	b := &c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return Message{}, false
	}
	m := b.queue[0]
	b.queue[0] = Message{}
	b.queue = b.queue[1:]
	b.bytes -= m.size()
	notify(b.room)
	if len(b.queue) > 0 {
		notify(b.avail)
	} else {
		b.queue = nil
	}
	switch m.QoS {
	case 1:
		b.unsettled--
		c.queueAck(mqtt.Ack{Type: mqtt.PUBACK, PacketID: m.PacketID})
	case 2:
		b.awaiting[m.PacketID] = true
		c.queueAck(mqtt.Ack{Type: mqtt.PUBREC, PacketID: m.PacketID})
	}
	return m, true
}

// queueAck sends an acknowledgement. That it cannot be queued ends the
// connection, which the reading goroutine then notices; the locks that are held
// here forbid to do it at once.
func (c *Client) queueAck(a mqtt.Ack) {
	c.traceAck("sending", &a)
	limit := c.connack.MaximumPacketSize
	if !c.out.control(func(dst []byte) []byte { return a.Append(dst, c.version, limit) }) {
		c.flooded.Store(true)
		_ = c.conn.Close()
	}
}

// handlePublish is a message from the server.
func (c *Client) handlePublish(h mqtt.Header, body []byte) error {
	var p mqtt.Publish
	if err := mqtt.DecodePublishClient(body, h, c.version, packetLimits, &p); err != nil {
		return err
	}
	topic, err := c.in.resolve(&p)
	if err != nil {
		return err
	}
	c.tracef("received PUBLISH qos=%d id=%d retain=%t dup=%t topic=%s bytes=%d",
		p.QoS, p.PacketID, p.Retain, p.Dup, Printable(topic), len(p.Payload))
	if !c.in.open {
		return nil
	}
	props, err := mqtt.ParsePublishProperties(p.Props)
	if err != nil {
		return err
	}
	m := Message{
		Topic: topic, Payload: append([]byte(nil), p.Payload...), QoS: p.QoS, Retain: p.Retain, Dup: p.Dup, PacketID: p.PacketID,
		Properties: props, MessageExpiry: p.MessageExpiry, HasMessageExpiry: p.HasMessageExpiry,
		SubscriptionIDs: append([]uint32(nil), p.SubscriptionIDs...), Received: c.opt.Clock.Now(),
	}
	if m.QoS > 0 {
		repeated, again, err := c.in.admit(&m)
		if err != nil {
			return err
		}
		if again {
			c.queueAck(mqtt.Ack{Type: mqtt.PUBREC, PacketID: m.PacketID})
		}
		if repeated {
			return nil
		}
	}
	c.in.push(m, c.done)
	return nil
}

// handlePubrel ends the QoS 2 flow of a received message. An identifier we do not
// know may be from before this process: that is no error [MQTT-4.3.3-11].
func (c *Client) handlePubrel(a *mqtt.Ack) error {
	answer := mqtt.Ack{Type: mqtt.PUBCOMP, PacketID: a.PacketID}
	c.in.mu.Lock()
	if _, ok := c.in.awaiting[a.PacketID]; ok {
		delete(c.in.awaiting, a.PacketID)
		c.in.unsettled--
	} else {
		answer.Reason = mqtt.PacketIdentifierNotFound
	}
	c.in.mu.Unlock()
	c.queueAck(answer)
	return nil
}
