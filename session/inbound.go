package session

import "github.com/redoubtmq/redoubt/mqtt"

// inbound is the receiving half of a session, which has one from the first message that
// leaves something to remember.
type inbound struct {
	aliases     map[uint16][]byte // of this connection
	awaitingRel []uint16          // QoS 2 identifiers received and not released
	pending     ring[Pending]
	unsettled   [3]uint32 // entries of pending, by QoS
	barred      uint32    // entries of pending that nothing may pass
	size        uint32    // of all entries of pending together, as Size
}

// got is a copy of what s has received, to be looked at. Most sessions only listen.
func (s *Session) got() inbound {
	if s.in == nil {
		return inbound{}
	}
	return *s.in
}

// receiving is the half itself, to be changed.
func (s *Session) receiving() *inbound {
	if s.in == nil {
		s.in = new(inbound)
	}
	return s.in
}

// forgetReceived lets the half go if there is nothing in it.
func (s *Session) forgetReceived() {
	if i := s.in; i != nil && i.aliases == nil && len(i.awaitingRel) == 0 && i.pending.len() == 0 {
		s.in = nil
	}
}

// ResolveAlias returns the topic name p is about, and remembers a new alias. It
// takes all up to the maximum [MQTT-3.3.2-12] and runs before anything looks at the topic, so that authorization never judges
// an empty name. The bytes are p's or the session's and hold until the next
// packet. Package mqtt has refused an alias of 0 [MQTT-3.3.2-8].
func (s *Session) ResolveAlias(p *mqtt.Publish) ([]byte, error) {
	if !p.HasTopicAlias {
		return p.Topic, nil
	}
	if p.TopicAlias > s.conn.aliasIn {
		return nil, &mqtt.Error{Reason: mqtt.TopicAliasInvalid, Rule: "MQTT-3.3.2-9", Detail: "topic alias over the Topic Alias Maximum"}
	}
	if len(p.Topic) > 0 {
		return p.Topic, s.learn(p.TopicAlias, p.Topic)
	}
	name, ok := s.got().aliases[p.TopicAlias]
	if !ok {
		return nil, &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§3.3.2.3.4", Detail: "unknown topic alias"}
	}
	return name, nil
}

// Receive judges an incoming PUBLISH by its identifier, before anybody else
// looks at the message. again means that this QoS 2 message was received before
// and not released: it is answered and not routed twice [MQTT-4.3.3-10]. A QoS 1
// identifier is never remembered [MQTT-4.3.2-5].
func (s *Session) Receive(p *mqtt.Publish) (again bool, err error) {
	if p.QoS == 0 {
		return false, nil
	}
	if p.QoS == 2 && s.awaiting(p.PacketID) >= 0 {
		return true, nil
	}
	if p.QoS == 2 && s.Duplicate(p.PacketID) {
		return false, nil // it is counted already, and its caller finds it in the ring
	}
	in := s.got()
	open2 := len(in.awaitingRel) + int(in.unsettled[2]) // the unsettled ones will await PUBREL
	if s.conn.version == mqtt.V5 && open2+int(in.unsettled[1]) >= int(s.conn.receiveMax) {
		return false, &mqtt.Error{Reason: mqtt.ReceiveMaximumExceeded, Rule: "MQTT-3.3.4-7", Detail: "more messages under way than the Receive Maximum"}
	}
	if p.QoS == 2 && open2 >= max(s.lim.AwaitingRelMax, int(s.conn.promised)) {
		return false, &mqtt.Error{Reason: mqtt.ReceiveMaximumExceeded, Detail: "too many QoS 2 messages await their PUBREL"}
	}
	return false, nil
}

func (s *Session) awaiting(id uint16) int {
	for i, w := range s.got().awaitingRel {
		if w == id {
			return i
		}
	}
	return -1
}

// Acknowledge answers an incoming QoS 1 or 2 PUBLISH, under its identifier
// [MQTT-2.2.1-5] [MQTT-4.3.3-8], with reason, and from then
// on remembers a QoS 2 identifier until its PUBREL, unless it was refused
// [MQTT-4.3.3-9]. QoS 0 has no answer.
func (s *Session) Acknowledge(q mqtt.QoS, id uint16, reason mqtt.ReasonCode, out []Out) []Out {
	ack := mqtt.PUBACK
	switch q {
	case 0:
		return out
	case 2:
		ack = mqtt.PUBREC
		if reason < 0x80 && s.awaiting(id) < 0 {
			in := s.receiving()
			in.awaitingRel = append(in.awaitingRel, id)
		}
	}
	if !s.conn.online {
		return out
	}
	return append(out, Out{Kind: OutAck, Ack: ack, ID: id, Reason: reason})
}

// Pubrel releases an incoming QoS 2 identifier and answers PUBCOMP, also for
// one it does not know, so that the client can let go of it [MQTT-4.3.3-11], and
// whatever became of the message [MQTT-4.3.3-13]. From then on the identifier is
// new [MQTT-4.3.3-12].
func (s *Session) Pubrel(id uint16, out []Out) []Out {
	o := Out{Kind: OutAck, Ack: mqtt.PUBCOMP, ID: id}
	if i := s.awaiting(id); i >= 0 {
		last := len(s.in.awaitingRel) - 1
		s.in.awaitingRel[i] = s.in.awaitingRel[last]
		s.in.awaitingRel = s.in.awaitingRel[:last]
	} else {
		o.Reason = mqtt.PacketIdentifierNotFound
	}
	return append(out, o)
}

// Awaits tells whether a QoS 2 message of that identifier waits for PUBREL.
func (s *Session) Awaits(id uint16) bool { return s.awaiting(id) >= 0 }

// AwaitingRel is how many incoming QoS 2 messages wait for PUBREL.
func (s *Session) AwaitingRel() int { return len(s.got().awaitingRel) }
