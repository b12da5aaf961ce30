package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// life is when the session ends and when its will is due.
type life struct {
	will          *mqtt.Will // [MQTT-3.1.2-7]
	willAt        time.Time  // zero: not due
	endsAt        time.Time  // zero: online, or never
	expirySeconds uint32
}

// Due is what a moment brings: a will to publish, the end of the session, or
// both. The will goes first.
type Due struct {
	Will *mqtt.Will
	End  bool
}

// arm arms the will of the new connection. A will whose delay had not passed
// is not sent [MQTT-3.1.3-9].
func (s *Session) arm(a Attachment) {
	s.takeWill()
	s.life = life{will: a.Will, expirySeconds: a.ExpirySeconds}
	if a.Will != nil {
		s.out.queue.account.add(WillBytes(a.Will))
	}
}

// WillBytes is what a will takes of the node's account. Wills are bounded in size
// by limits.connect_packet_bytes, and in sum by what all sessions may hold.
func WillBytes(w *mqtt.Will) int64 {
	return int64(len(w.Topic)+len(w.Props)+len(w.Payload)) + 128
}

// Detach ends the connection. keepWill is false only after a DISCONNECT with
// reason 0x00 [MQTT-3.1.2-10]. What is due at once is answered, the rest waits
// for Deadline [MQTT-3.1.2-8] [MQTT-3.1.2-23].
func (s *Session) Detach(now time.Time, keepWill bool) Due {
	s.conn.online, s.conn.congested = false, false
	s.forgetAliases()
	l := &s.life
	if !keepWill {
		s.takeWill()
	}
	if l.expirySeconds == 0 {
		return Due{Will: s.takeWill(), End: true}
	}
	if l.expirySeconds != ExpiryNever {
		l.endsAt = now.Add(time.Duration(l.expirySeconds) * time.Second)
	}
	if l.will == nil {
		return Due{}
	}
	if l.will.DelaySeconds == 0 {
		return Due{Will: s.takeWill()}
	}
	// The will is sent when its delay has passed or the session ends, whichever
	// is first [§3.1.3.2.2]; Tick sends both at the end.
	l.willAt = now.Add(time.Duration(l.will.DelaySeconds) * time.Second)
	return Due{}
}

// Deadline is when Tick next wants to run; the zero time means never.
func (s *Session) Deadline() time.Time {
	w, e := s.life.willAt, s.life.endsAt
	if e.IsZero() || (!w.IsZero() && w.Before(e)) {
		return w
	}
	return e
}

// Tick answers what has become due [MQTT-4.1.0-2]. It does nothing while online
// [MQTT-4.1.0-1].
func (s *Session) Tick(now time.Time) Due {
	l := &s.life
	if s.conn.online {
		return Due{}
	}
	if !l.endsAt.IsZero() && !now.Before(l.endsAt) {
		return Due{Will: s.takeWill(), End: true}
	}
	if !l.willAt.IsZero() && !now.Before(l.willAt) {
		return Due{Will: s.takeWill()}
	}
	return Due{}
}

// End takes what is due when the session is ended from outside: by Clean Start,
// by a kick or by an operator.
func (s *Session) End() Due { return Due{Will: s.takeWill(), End: true} }

// DropWill disarms the will: it is never sent.
func (s *Session) DropWill() { s.takeWill() }

// takeWill disarms the will and answers it.
func (s *Session) takeWill() *mqtt.Will {
	w := s.life.will
	s.life.will, s.life.willAt = nil, time.Time{}
	if w != nil {
		s.out.queue.account.add(-WillBytes(w))
	}
	return w
}

// SetExpiry changes the Session Expiry Interval by DISCONNECT. It may not turn
// a session that ends with its connection into one that does not
// [§3.14.2.2.2].
func (s *Session) SetExpiry(seconds uint32) error {
	if s.life.expirySeconds == 0 && seconds != 0 {
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§3.14.2.2.2", Detail: "Session Expiry Interval was 0 and cannot be raised"}
	}
	s.life.expirySeconds = seconds
	return nil
}

// ExpirySeconds is the Session Expiry Interval in force.
func (s *Session) ExpirySeconds() uint32 { return s.life.expirySeconds }

// HasWill tells whether a will is armed.
func (s *Session) HasWill() bool { return s.life.will != nil }
