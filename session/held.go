package session

import "unsafe"

// Held is what a session keeps in memory for its client, in bytes. Messages count with
// all of their bytes, although several sessions may share them; the rest is the size of
// what it is kept in, about, without the allocator's slack.
type Held struct {
	Queue         int64 // messages that wait
	Inflight      int64 // messages sent and not acknowledged
	Pending       int64 // publishes received and not settled
	Subscriptions int64 // filters and their places, here and in the index
	Names         int64 // topic aliases in both directions, identifiers of QoS 2
	Will          int64
	Base          int64 // the session itself
}

// Sum is all of it.
func (h Held) Sum() int64 {
	return h.Queue + h.Inflight + h.Pending + h.Subscriptions + h.Names + h.Will + h.Base
}

// What one of each takes beside its bytes.
const (
	deliveryBytes = int64(unsafe.Sizeof(Delivery{}))
	inflightBytes = int64(unsafe.Sizeof(inflightEntry{}))
	pendingBytes  = int64(unsafe.Sizeof(Pending{}))
	// subBytes: its place here, and about 250 bytes in the index (limits.subscriptions_total).
	subBytes = int64(unsafe.Sizeof(entry{})) + 250
	// nameBytes is a slice and its place in a table.
	nameBytes = 48
	// baseBytes is the session, and what its home keeps of it: who it is, its rates, its name.
	baseBytes = int64(unsafe.Sizeof(Session{})) + 400
)

// Backlog is the part of Held that grows while the client does not keep up, bytes.
func (s *Session) Backlog() int64 {
	bytes := s.out.queue.bytes + int64(s.out.queue.q0.room()+s.out.queue.q12.room())*deliveryBytes
	return bytes + s.inflightHeld() + s.pendingHeld()
}

func (s *Session) inflightHeld() int64 {
	bytes := int64(max(cap(s.out.inflight), len(s.out.room))) * inflightBytes
	for i := range s.out.inflight {
		if f := s.out.inflight[i].frame; f != nil {
			bytes += int64(f.Size())
		}
	}
	return bytes
}

func (s *Session) pendingHeld() int64 {
	bytes := int64(s.got().pending.room()) * pendingBytes
	for i := range s.got().pending.len() {
		if f := s.in.pending.at(i).Frame; f != nil {
			bytes += int64(f.Size())
		}
	}
	return bytes
}

// Held adds it up.
func (s *Session) Held() Held {
	h := Held{
		Queue:    s.out.queue.bytes + int64(s.out.queue.q0.room()+s.out.queue.q12.room())*deliveryBytes,
		Inflight: s.inflightHeld(), Pending: s.pendingHeld(), Base: baseBytes,
		Names: int64(len(s.got().aliases)+len(s.told()))*nameBytes + 2*int64(cap(s.got().awaitingRel)),
	}
	for i := range s.Subscriptions() {
		e := s.nth(i)
		h.Subscriptions += subBytes + int64(len(e.filter)+len(e.real()))
	}
	for _, n := range s.got().aliases {
		h.Names += int64(len(n))
	}
	for _, n := range s.told() {
		h.Names += int64(len(n))
	}
	if s.will != nil {
		h.Will = WillBytes(s.will)
	}
	return h
}
