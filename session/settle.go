package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Puback ends a QoS 1 delivery. The message is gone whatever its reason code
// says [MQTT-4.4.0-2]. An unknown identifier is ignored: it may answer a packet
// the session gave up.
func (s *Session) Puback(now time.Time, id uint16, out []Out) ([]Out, error) {
	i := s.out.find(id)
	if i < 0 {
		return out, nil
	}
	if s.out.inflight[i].state != awaitPuback {
		return out, &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.3.4-1", Detail: "PUBACK for a QoS 2 message"}
	}
	s.remove(i)
	return s.Pump(now, out), nil
}

// Pubrec is the first half of a QoS 2 acknowledgement. A reason code of 0x80 or
// more ends the delivery [MQTT-4.3.3-4]; otherwise PUBREL follows, and PUBLISH
// is never repeated again [MQTT-4.3.3-6].
func (s *Session) Pubrec(now time.Time, id uint16, reason mqtt.ReasonCode, out []Out) ([]Out, error) {
	i := s.out.find(id)
	if i < 0 {
		if reason >= 0x80 { // the client has let go of it already
			return out, nil
		}
		// Answered so that the client can let go of it.
		return append(out, Out{Kind: OutAck, Ack: mqtt.PUBREL, ID: id, Reason: mqtt.PacketIdentifierNotFound}), nil
	}
	e := &s.out.inflight[i]
	if e.state == awaitPuback {
		return out, &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-3.3.4-1", Detail: "PUBREC for a QoS 1 message"}
	}
	if reason >= 0x80 {
		s.remove(i)
		return s.Pump(now, out), nil
	}
	s.letGo(e)
	e.state = awaitPubcomp
	if !e.sent { // it answers the earlier connection's PUBLISH; nothing is left to repeat
		e.sent = true
		s.out.unsent--
	}
	e.fresh = false
	if s.out.kept != nil { // after a crash the message must not be sent again, so the log hears of it first
		e.held = s.out.counting().change()
		return out, nil
	}
	return append(out, Out{Kind: OutAck, Ack: mqtt.PUBREL, ID: id}), nil
}

// Pubcomp ends a QoS 2 delivery. An unknown identifier is ignored.
func (s *Session) Pubcomp(now time.Time, id uint16, out []Out) ([]Out, error) {
	i := s.out.find(id)
	if i < 0 {
		return out, nil
	}
	if s.out.inflight[i].state != awaitPubcomp {
		return out, &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "MQTT-4.3.3-11", Detail: "PUBCOMP before PUBREC"}
	}
	s.remove(i)
	return s.Pump(now, out), nil
}
