package session

import "github.com/redoubtmq/redoubt/mqtt"

// Pending is an incoming PUBLISH that is not settled: either it was routed and
// its acknowledgement waits, or it waits behind such a one and has not been
// looked at. The ring of them is the publisher's order: while it is not empty,
// later publishes of any QoS join it, and acknowledgements leave in its order
// [MQTT-4.6.0-2]. Its length is bounded by what one read of the socket brings,
// because a connection with a pending ring is not read.
type Pending struct {
	Frame *mqtt.Frame // nil once routed
	Delay uint32      // seconds until it is to be routed, of a delayed publish
	ID    uint16
	QoS   mqtt.QoS
}

// Busy tells whether anything is pending: then a new publish must Defer.
func (s *Session) Busy() bool { return s.in.pending.len() > 0 }

// Await adds a message that was routed and will be settled later.
func (s *Session) Await(q mqtt.QoS, id uint16) { s.pend(Pending{ID: id, QoS: q}) }

// Defer adds a message nobody has looked at yet, with its Frame, of which it takes
// over one reference.
func (s *Session) Defer(p Pending) { s.pend(p) }

func (s *Session) pend(p Pending) {
	s.in.unsettled[p.QoS]++
	s.in.pending.push(p)
}

// Duplicate tells whether an identifier is already pending at QoS 2: a repeated
// PUBLISH then needs no answer of its own.
func (s *Session) Duplicate(id uint16) bool {
	if s.in.unsettled[2] == 0 {
		return false
	}
	for i := range s.in.pending.len() {
		if p := s.in.pending.at(i); p.QoS == 2 && p.ID == id {
			return true
		}
	}
	return false
}

// Settle ends the oldest pending message with reason and appends its
// acknowledgement to out.
func (s *Session) Settle(reason mqtt.ReasonCode, out []Out) []Out {
	p := *s.in.pending.front()
	s.Unpend()
	return s.Acknowledge(p.QoS, p.ID, reason, out)
}

// Deferred is the oldest pending message if it has not been routed, else nil.
// After routing it the caller calls Routed or Settle.
func (s *Session) Deferred() *Pending {
	if s.in.pending.len() == 0 || s.in.pending.front().Frame == nil {
		return nil
	}
	return s.in.pending.front()
}

// Routed says that the oldest pending message, so far deferred, now only waits
// to be settled.
func (s *Session) Routed() {
	p := s.in.pending.front()
	p.Frame.Release()
	p.Frame = nil
}

// rewind prepares the ring for the next connection, on which the client sends
// again what it got no answer for [MQTT-4.4.0-1 of the client]. A message nobody
// has looked at is forgotten: it comes again, and twice would be too often. QoS 1
// that was routed needs no answer any more: a PUBACK now could meet a later
// message under the same identifier. QoS 2 that was routed stays, so that its
// repetition is known. QoS 0 does not come again, and stays.
func (i *inbound) rewind() {
	i.unsettled = [3]int{}
	for n := i.pending.len(); n > 0; n-- {
		p := i.pending.pop()
		switch {
		case p.QoS > 0 && p.Frame != nil:
			p.Frame.Release()
			continue
		case p.QoS == 1:
			p.QoS = 0
		}
		i.unsettled[p.QoS]++
		i.pending.push(p)
	}
}

func (i *inbound) discard() {
	for i.pending.len() > 0 {
		if p := i.pending.pop(); p.Frame != nil {
			p.Frame.Release()
		}
	}
}

// Unpend takes the oldest pending message out without an answer: the caller
// acknowledges it, or closes.
func (s *Session) Unpend() {
	p := s.in.pending.pop()
	s.in.unsettled[p.QoS]--
	if p.Frame != nil {
		p.Frame.Release()
	}
}
