package session

import (
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// life is when the session ends, and its will.
type life struct {
	will          *mqtt.Will // [MQTT-3.1.2-7]
	left          instant    // when the connection ended, if conn.gone
	expirySeconds uint32
	wildcards     int32 // filters that hold one, which have room here
}

// due is when something happens to a session whose client is away.
type due struct {
	will time.Time // zero: not due
	end  time.Time // zero: never
}

// when is what is due. It follows from when the client left, which is eight bytes of every session
// that is away, where the times themselves would be forty-eight. A will that is still armed then
// waits for its delay: another was sent at once.
func (s *Session) when() (d due) {
	if !s.conn.gone {
		return d
	}
	left := s.lim.Account.time(s.left)
	if s.expirySeconds != ExpiryNever {
		d.end = left.Add(time.Duration(s.expirySeconds) * time.Second)
	}
	if s.will != nil {
		d.will = left.Add(time.Duration(s.will.DelaySeconds) * time.Second)
	}
	return d
}

// leave says that the client is away since then.
func (s *Session) leave(at time.Time) {
	s.conn.online, s.conn.congested, s.conn.gone = false, false, true
	s.left = s.lim.Account.instant(at)
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
	s.will, s.expirySeconds = a.Will, a.ExpirySeconds
	if a.Will != nil {
		s.lim.Account.add(WillBytes(a.Will))
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
	s.leave(now)
	s.forgetAliases()
	s.out.narrow()
	s.rest()
	l := &s.life
	if !keepWill {
		s.takeWill()
	}
	if l.expirySeconds == 0 {
		return Due{Will: s.takeWill(), End: true}
	}
	if l.will != nil && l.will.DelaySeconds > 0 {
		// The will is sent when its delay has passed or the session ends, whichever
		// is first [§3.1.3.2.2]; Tick sends both at the end.
		return Due{}
	}
	return Due{Will: s.takeWill()}
}

// Deadline is when Tick next wants to run; the zero time means never.
func (s *Session) Deadline() time.Time {
	d := s.when()
	w, e := d.will, d.end
	if e.IsZero() || (!w.IsZero() && w.Before(e)) {
		return w
	}
	return e
}

// Tick answers what has become due [MQTT-4.1.0-2]. It does nothing while online
// [MQTT-4.1.0-1].
func (s *Session) Tick(now time.Time) Due {
	d := s.when()
	if s.conn.online {
		return Due{}
	}
	if !d.end.IsZero() && !now.Before(d.end) {
		return Due{Will: s.takeWill(), End: true}
	}
	if !d.will.IsZero() && !now.Before(d.will) {
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
	w := s.will
	s.will = nil
	if w != nil {
		s.lim.Account.add(-WillBytes(w))
	}
	return w
}

// SetExpiry changes the Session Expiry Interval by DISCONNECT. It may not turn
// a session that ends with its connection into one that does not
// [§3.14.2.2.2].
func (s *Session) SetExpiry(seconds uint32) error {
	if s.expirySeconds == 0 && seconds != 0 {
		return &mqtt.Error{Reason: mqtt.ProtocolError, Rule: "§3.14.2.2.2", Detail: "Session Expiry Interval was 0 and cannot be raised"}
	}
	s.expirySeconds = seconds
	return nil
}

// ExpirySeconds is the Session Expiry Interval in force.
func (s *Session) ExpirySeconds() uint32 { return s.expirySeconds }

// HasWill tells whether a will is armed.
func (s *Session) HasWill() bool { return s.will != nil }
