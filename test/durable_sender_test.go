package test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// flight is one message that is not settled.
type flight struct {
	id       uint16
	seq      uint32
	received bool // PUBREC came: the message is the broker's, the identifier still ours
}

// sender is a publisher. It keeps a window of unacknowledged messages, and after a
// loss of its connection sends them again in their order, before anything new
// [MQTT-4.4.0-1].
type sender struct {
	link
	no     uint16 // in the payload
	topic  string
	qos    mqtt.QoS
	window int
	last   uint32          // sequence number to stop after; 0: none
	enough <-chan struct{} // closed: nothing new

	begun time.Time     // of the whole load
	acked *atomic.Int64 // of all senders

	// Owned by run; read when it has ended.
	flights []flight // in their order
	seq     uint32   // of the newest
	lastID  uint16
	at      []stamp // when each was acknowledged, by sequence number - 1; 0: was not
	again   map[uint32]int
	refused []string
	settled bool // everything sent has been settled
}

// run publishes until it has published enough and everything is settled.
func (s *sender) run(ctx context.Context) { s.live(ctx, s.serve) }

func (s *sender) serve(present bool) (over bool, err error) {
	s.resume(present)
	for {
		if s.fill(); len(s.flights) == 0 {
			s.settled = true
			return true, nil
		}
		p, err := s.next()
		if err != nil {
			return false, err
		}
		if err := s.handle(p); err != nil {
			return false, err
		}
	}
}

// resume repeats what an earlier connection left. A broker that has forgotten the
// session knows no identifier of it: what it had taken over stays acknowledged, and
// what it had not begins anew.
func (s *sender) resume(present bool) {
	if !present {
		s.flights = slices.DeleteFunc(s.flights, func(f flight) bool { return f.received })
	}
	for _, f := range s.flights {
		if f.received {
			s.say(mqtt.PUBREL, f.id, mqtt.Success)
		} else {
			s.again[f.seq]++
			s.publish(f, present)
		}
	}
}

// fill publishes new messages while the window has room.
func (s *sender) fill() {
	for len(s.flights) < min(s.window, int(s.granted)) && !s.done() {
		s.seq++
		f := flight{id: s.newID(), seq: s.seq}
		s.flights, s.at = append(s.flights, f), append(s.at, 0)
		s.publish(f, false)
	}
}

func (s *sender) done() bool {
	if s.last > 0 && s.seq >= s.last {
		return true
	}
	select {
	case <-s.enough:
		return true
	default:
		return false
	}
}

func (s *sender) publish(f flight, dup bool) {
	var payload [payloadBytes]byte
	m := mqtt.Publish{Topic: []byte(s.topic), Payload: appendPayload(payload[:0], s.no, f.seq), QoS: s.qos, PacketID: f.id, Dup: dup}
	s.out = m.Append(s.out, s.version)
}

func (s *sender) newID() uint16 {
	for {
		if s.lastID++; s.lastID != 0 && s.find(s.lastID) < 0 {
			return s.lastID
		}
	}
}

func (s *sender) find(id uint16) int {
	return slices.IndexFunc(s.flights, func(f flight) bool { return f.id == id })
}

func (s *sender) handle(p packet) error {
	switch p.Type {
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
	case mqtt.DISCONNECT:
		return s.farewell(p)
	default:
		return nil
	}
	a, err := s.ack(p)
	if err != nil {
		return err
	}
	i := s.find(a.PacketID)
	if i < 0 {
		return nil // of a connection before, twice
	}
	s.known = s.known || !a.Reason.Failed()
	f := &s.flights[i]
	switch {
	case p.Type != mqtt.PUBCOMP && a.Reason.Failed():
		s.refused = append(s.refused, fmt.Sprintf("%d: %v %v", f.seq, p.Type, a.Reason))
	case p.Type == mqtt.PUBREC:
		s.owned(f.seq)
		f.received = true
		s.say(mqtt.PUBREL, f.id, mqtt.Success)
		return nil
	case p.Type == mqtt.PUBACK:
		s.owned(f.seq)
	}
	s.flights = slices.Delete(s.flights, i, i+1)
	return nil
}

// owned notes the promise: from here on the message may not be lost.
func (s *sender) owned(seq uint32) {
	if s.at[seq-1] == 0 {
		s.at[seq-1] = stampOf(s.begun)
		s.acked.Add(1)
	}
}
