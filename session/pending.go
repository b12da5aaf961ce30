package session

import "github.com/redoubtmq/redoubt/mqtt"

// Pending is an incoming PUBLISH that is not settled: either it was routed and
// its acknowledgement waits, or it waits behind such a one and has not been
// looked at. The ring of them is the publisher's order: acknowledgements leave in
// it [MQTT-4.6.0-2]. A later publish is routed while earlier ones wait for nothing
// but the log, which keeps their order itself; behind one that bars the way it
// joins the ring unrouted. Its length is bounded by what one read of the socket
// brings, by PendingMax and by PendingMaxBytes, because past any the connection is not read.
type Pending struct {
	Frame  *mqtt.Frame // nil once routed
	Ticket uint64      // of the commit that a WaitLog or WaitRetain waits for
	Delay  uint32      // seconds until it is to be routed, of a delayed publish
	ID     uint16
	QoS    mqtt.QoS
	Wait   Wait            // of one that was routed
	Reason mqtt.ReasonCode // of a WaitTurn: its answer
	Size   Size
	Denial uint32 // an audit.Ref, where that is Not authorized
}

// Wait says what a routed publish waits for.
type Wait uint8

// What there is to wait for.
const (
	WaitLane   Wait = iota // another home takes nothing now
	WaitLog                // the record is not applied yet
	WaitRetain             // the same, and subscribers get it only then: nothing may pass it
	WaitTurn               // its answer is known; others before it wait
)

// PendingMax is how many publishes of one client may wait for the log. A client of
// v5 keeps to its Receive Maximum; one of v3 knows no bound.
const PendingMax = 256

// PendingMaxBytes is how many bytes of them may, and one message more. All publishers
// share one way to the disk, whose queue takes four times that: whoever fills it waits
// himself, and what others say does not wait behind all that he has to say.
const PendingMaxBytes = 2 << 20

// Size is how large a message is, in steps of 256 bytes so that it costs a Pending no
// room; all over PendingMaxBytes are alike.
type Size uint16

const sizeStep = 256

// SizeOf is the size of a message of so many bytes.
func SizeOf(bytes int) Size {
	return Size((min(bytes, PendingMaxBytes) + sizeStep - 1) / sizeStep) //nolint:gosec // at most 8192
}

// bars tells whether later publishes must wait behind p unrouted.
func (p *Pending) bars() bool { return p.Frame != nil || p.Wait == WaitLane || p.Wait == WaitRetain }

// Busy tells whether anything is pending: then an answer must wait for its turn.
func (s *Session) Busy() bool { return s.in != nil && s.in.pending.len() > 0 }

// Barred tells whether something is pending that a new publish must not pass: then
// it must Defer.
func (s *Session) Barred() bool { return s.in != nil && s.in.barred > 0 }

// PendingFull tells whether the client is to be read no further for now.
func (s *Session) PendingFull() bool {
	return s.in != nil && (s.in.pending.len() >= PendingMax || s.in.size >= PendingMaxBytes/sizeStep)
}

// Await adds a message that was routed and waits for a lane.
func (s *Session) Await(q mqtt.QoS, id uint16) { s.pend(Pending{ID: id, QoS: q}) }

// AwaitMore adds a message that was routed and waits for what p says.
func (s *Session) AwaitMore(p Pending) { s.pend(p) }

// Defer adds a message nobody has looked at yet, with its Frame, of which it takes
// over one reference.
func (s *Session) Defer(p Pending) { s.pend(p) }

func (s *Session) pend(p Pending) {
	in := s.receiving()
	in.unsettled[p.QoS]++
	in.size += uint32(p.Size)
	if p.bars() {
		in.barred++
	}
	in.pending.push(p)
}

// Duplicate tells whether an identifier is already pending at QoS 2: a repeated
// PUBLISH then needs no answer of its own.
func (s *Session) Duplicate(id uint16) bool {
	if s.in == nil || s.in.unsettled[2] == 0 {
		return false
	}
	for i := range s.in.pending.len() {
		if p := s.in.pending.at(i); p.QoS == 2 && p.ID == id {
			return true
		}
	}
	return false
}

// Oldest is the oldest pending message; nil if there is none.
func (s *Session) Oldest() *Pending {
	if !s.Busy() {
		return nil
	}
	return s.in.pending.front()
}

// Settle ends the oldest pending message with reason and appends its
// acknowledgement to out.
func (s *Session) Settle(reason mqtt.ReasonCode, out []Out) []Out {
	p := *s.in.pending.front()
	s.Unpend()
	return s.Acknowledge(p.QoS, p.ID, reason, out)
}

// Deferred is the oldest message that has not been routed, if nothing before it
// bars its way; else nil. After routing it the caller calls RoutedAs.
func (s *Session) Deferred() *Pending {
	if !s.Barred() {
		return nil
	}
	for i := range s.in.pending.len() {
		switch p := s.in.pending.at(i); {
		case p.Frame != nil:
			return p
		case p.bars():
			return nil
		}
	}
	return nil
}

// Unrouted tells whether anything in the ring has not been routed: then the client is
// not read, because what it sends would only wait here.
func (s *Session) Unrouted() bool {
	for i := 0; s.Barred() && i < s.in.pending.len(); i++ {
		if s.in.pending.at(i).Frame != nil {
			return true
		}
	}
	return false
}

// Routed says that the message Deferred answered waits for a lane.
func (s *Session) Routed() { s.RoutedAs(s.Deferred(), Pending{}) }

// RoutedAs says what a message, so far deferred, waits for: Wait, Ticket and Reason
// of as.
func (s *Session) RoutedAs(p *Pending, as Pending) {
	p.Frame.Release()
	p.Frame, p.Wait, p.Ticket, p.Reason, p.Denial = nil, as.Wait, as.Ticket, as.Reason, as.Denial
	if !p.bars() {
		s.in.barred--
	}
}

// Prolong lets a retained message that waited for one ticket wait for another: who
// wants it now is known and the log must hear of that, too. It answers false if nothing
// waits.
func (s *Session) Prolong(ticket, more uint64) bool {
	for i := range s.got().pending.len() {
		if p := s.in.pending.at(i); p.Frame == nil && p.Wait == WaitRetain && p.Ticket == ticket {
			p.Wait, p.Ticket = WaitLog, more
			s.in.barred--
			return true
		}
	}
	return false
}

// Fail says that the log did not take what was said at a ticket: reason is the answer
// to whatever waits for it.
func (s *Session) Fail(ticket uint64, reason mqtt.ReasonCode) {
	for i := range s.got().pending.len() {
		p := s.in.pending.at(i)
		if p.Frame != nil || p.Ticket != ticket {
			continue
		}
		p.Ticket, p.Reason = 0, reason
		if p.Wait == WaitRetain {
			s.in.barred--
		}
		if p.Wait != WaitLane {
			p.Wait = WaitTurn
		}
	}
}

// rewind prepares the ring for the next connection, on which the client sends
// again what it got no answer for [MQTT-4.4.0-1 of the client]. A message nobody
// has looked at is forgotten: it comes again, and twice would be too often. QoS 1
// that was routed needs no answer any more: a PUBACK now could meet a later
// message under the same identifier. QoS 2 that was routed stays, so that its
// repetition is known. QoS 0 does not come again, and stays.
func (i *inbound) rewind() {
	if i == nil {
		return
	}
	i.unsettled, i.barred, i.size = [3]uint32{}, 0, 0
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
		i.size += uint32(p.Size)
		if p.bars() {
			i.barred++
		}
		i.pending.push(p)
	}
}

func (i *inbound) discard() {
	if i == nil {
		return
	}
	for i.pending.len() > 0 {
		if p := i.pending.pop(); p.Frame != nil {
			p.Frame.Release()
		}
	}
	i.barred, i.size = 0, 0
}

// Unpend takes the oldest pending message out without an answer: the caller
// acknowledges it, or closes.
func (s *Session) Unpend() {
	p := s.in.pending.pop()
	s.in.unsettled[p.QoS]--
	s.in.size -= uint32(p.Size)
	if p.bars() {
		s.in.barred--
	}
	if p.Frame != nil {
		p.Frame.Release()
	}
}
