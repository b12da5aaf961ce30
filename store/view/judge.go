package view

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// Outcome is what became of a record.
type Outcome uint8

const (
	// Applied: it counts.
	Applied Outcome = iota
	// Fenced: its session belongs to somebody newer, or is gone.
	Fenced
	// Refused: it says something that cannot be so, or that this version does not know.
	Refused
)

// String is the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Applied:
		return "Applied"
	case Fenced:
		return "Fenced"
	case Refused:
		return "Refused"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Item is one record and what became of it. It is valid during the call only.
type Item struct {
	Record  *store.Record
	Outcome Outcome
	Message *fact.Message // of Message, Retain and Unretain, and of a ShareAck that has one; nil if the body is none
}

// Sink hears of what was applied, in the order of the log, once for each of its batches
// and before the rows follow. It is called in the goroutine that applies: what it does
// is time that nothing is applied in.
type Sink interface {
	Applied(first store.Seq, items []Item)
}

// scratchMax is the largest batch whose room is kept, in records.
const scratchMax = 4096

// judge decides what becomes of records. It is a value: it does no I/O, and what it
// answers follows from the records it was given. It belongs to one goroutine.
type judge struct {
	before func(*store.SID) (epoch uint64, there bool) // of the sessions of what written was last told of
	since  map[store.SID]uint64                        // of those that were claimed, or are gone (0), since then
	groups *groups
	at     position
	max    sizes // of parts
	alarm  func(string, error)
	warned [256]bool // by kind

	// The answer to the last batch, used again for the next.
	items    []Item
	messages []fact.Message
	marks    []position // after each record

	bodies  bodies
	touched []touched
	sums    summer
}

// bodies are what other records are decoded into, only to see that they can be.
type bodies struct {
	claim   fact.Claim
	release fact.Release
	sub     fact.Subscription
	unsub   fact.Unsubscription
	outbox  fact.Outbox
	packet  fact.PacketID
	will    fact.Will
	value   fact.Value
	mark    fact.Mark
	join    fact.Join
	leave   fact.Leave
	take    fact.Take
	delay   fact.Delay
	end     fact.DelayEnd
}

func newJudge(before func(*store.SID) (epoch uint64, there bool), groups *groups, at position, max sizes, alarm func(string, error)) judge {
	return judge{before: before, since: make(map[store.SID]uint64), groups: groups, at: at, max: max, alarm: alarm}
}

// epoch is that of a session, if there is one.
func (j *judge) epoch(sid *store.SID) (epoch uint64, there bool) {
	if epoch, said := j.since[*sid]; said {
		return epoch, epoch != 0
	}
	return j.before(sid)
}

// sinceMax is how many sessions are remembered in a table that is used again: to empty one
// takes as long as it was ever large.
const sinceMax = 256

// written says that before knows by now of all that was judged.
func (j *judge) written() {
	switch n := len(j.since); {
	case n > sinceMax:
		j.since = make(map[store.SID]uint64)
	case n > 0:
		clear(j.since)
	}
}

// batch judges records in their order. What it answers is valid until the next call.
func (j *judge) batch(first store.Seq, recs []store.Record) []Item {
	n := len(recs)
	if cap(j.items) > scratchMax && n <= scratchMax { // one large batch is not paid for ever
		j.items, j.messages, j.marks = nil, nil, nil
	}
	if cap(j.items) < n {
		j.items, j.messages, j.marks = make([]Item, n), make([]fact.Message, n), make([]position, n)
	}
	j.items, j.marks = j.items[:n], j.marks[:n]
	j.groups.mu.Lock()
	defer j.groups.mu.Unlock()
	for i := range recs {
		r, item := &recs[i], &j.items[i]
		*item = Item{Record: r}
		seq := first + store.Seq(i) //nolint:gosec // a length
		item.Outcome = j.record(seq, r, item, &j.messages[:n][i])
		j.sums.step(&j.at, seq, r, item.Outcome)
		j.at.part.step(seq, len(r.Body), j.max)
		j.marks[i] = j.at
	}
	return j.items
}

// record judges one. A record of a session says whose epoch it was written in: an older
// one is fenced, so that a node that was cut off cannot write into a session that has
// moved on, and one newer than the session cannot be. The caller holds the groups' mu.
func (j *judge) record(seq store.Seq, r *store.Record, item *Item, m *fact.Message) Outcome {
	if isMessage(r.Kind) {
		is, err := decodeMessage(r, m)
		if err != nil {
			j.warn(r.Kind, err)
			return Refused
		}
		if is {
			item.Message = m
		}
	}
	ofSession := r.SID != store.SID{} && r.Epoch != 0
	if ofSession && r.Kind != store.Claim {
		switch epoch, ok := j.epoch(&r.SID); {
		case !ok || r.Epoch < epoch:
			return Fenced
		case r.Epoch > epoch:
			return Refused
		}
	}
	if needsSession(r.Kind) && !ofSession {
		j.warn(r.Kind, fmt.Errorf("it names no session or no epoch"))
		return Refused
	}
	if err := j.bodies.check(r); err != nil {
		j.warn(r.Kind, err)
		return Refused
	}
	switch r.Kind {
	case store.Claim:
		c := &j.bodies.claim
		epoch, _ := j.epoch(&r.SID) // 0 if there is no session
		if r.Epoch <= epoch || c.Sure && c.From != epoch || c.Moves && epoch == 0 {
			return Fenced
		}
		j.since[r.SID] = r.Epoch
	case store.Expire:
		j.since[r.SID] = 0
	}
	if ofGroups(r.Kind) && !j.groups.idle(r) {
		if o := j.groups.judge(r, &j.bodies); o != Applied {
			return o
		}
		j.touched = j.groups.apply(seq, r, &j.bodies, j.touched[:0])
	}
	return Applied
}

// warn says once for each kind that records are refused: a program with a mistake would
// say so for ever.
func (j *judge) warn(k store.Kind, err error) {
	if !j.warned[k] {
		j.warned[k] = true
		j.alarm("record refused", fmt.Errorf("view: a %v record is not applied, and no other like it: %w", k, err))
	}
}

// isMessage tells which kinds have a Message as their body, or in it.
func isMessage(k store.Kind) bool {
	return k == store.Message || k == store.Retain || k == store.Unretain || k == store.ShareAck
}

// decodeMessage decodes the message of a record of those kinds; is tells whether it has
// one. A retained message needs a topic that has a key of its own, and what a member
// takes is for that member.
func decodeMessage(r *store.Record, m *fact.Message) (is bool, err error) {
	body := r.Body
	var t fact.Take
	if r.Kind == store.ShareAck {
		if err := t.Decode(body); err != nil || t.Member == 0 {
			return false, err
		}
		body = t.Body
	}
	if err := m.Decode(body); err != nil {
		return false, err
	}
	switch {
	case (r.Kind == store.Retain || r.Kind == store.Unretain) && !retainable(m.Topic):
		return false, fmt.Errorf("%w: the topic of a retained message has a 0x00", fact.ErrFact)
	case r.Kind == store.ShareAck && (m.Broad || len(m.Filters) != 1 || m.Filters[0] != t.Member):
		return false, fmt.Errorf("%w: what a member takes is for somebody else", fact.ErrFact)
	}
	return true, nil
}

// needsSession tells which kinds are about one session.
func needsSession(k store.Kind) bool {
	switch k {
	case store.Claim, store.Release, store.Subscribe, store.Unsubscribe, store.Inflight, store.Ack, store.QoS2In, store.QoS2Rel,
		store.Will, store.WillFire, store.Expire, store.ShareJoin, store.ShareLeave:
		return true
	}
	return false
}

// check tells whether the body is what its kind says.
func (b *bodies) check(r *store.Record) error {
	switch r.Kind {
	case store.Message, store.Retain, store.Unretain:
		return nil // was decoded
	case store.Claim:
		return b.claim.Decode(r.Body)
	case store.Release:
		return b.release.Decode(r.Body)
	case store.Subscribe:
		return b.sub.Decode(r.Body)
	case store.Unsubscribe:
		return b.unsub.Decode(r.Body)
	case store.Inflight, store.Ack:
		return b.outbox.Decode(r.Body)
	case store.QoS2In, store.QoS2Rel:
		return b.packet.Decode(r.Body)
	case store.Will:
		return b.will.Decode(r.Body)
	case store.WillFire, store.Expire:
		if len(r.Body) > 0 {
			return fmt.Errorf("%w: a body where there is none", fact.ErrFact)
		}
		return nil
	case store.Config, store.User, store.Rule, store.Ban, store.Key:
		return b.value.Decode(r.Body)
	case store.Hash:
		return b.mark.Decode(r.Body)
	case store.ShareJoin:
		return b.join.Decode(r.Body)
	case store.ShareLeave:
		return b.leave.Decode(r.Body)
	case store.ShareAck:
		return b.take.Decode(r.Body)
	case store.Delay:
		return b.delay.Decode(r.Body)
	case store.DelayEnd:
		return b.end.Decode(r.Body)
	}
	// Rescue and Audit come with the parts of the broker
	// that write them.
	return fmt.Errorf("%w: nobody writes these yet", fact.ErrFact)
}

// castagnoli is CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summer makes checksums of records; it is the room for what is not the body.
type summer struct{ head [49]byte }

// record is the CRC-32C of a record and its number.
func (s *summer) record(seq store.Seq, r *store.Record) uint32 {
	h := s.head[:]
	binary.BigEndian.PutUint64(h[0:], uint64(seq))
	binary.BigEndian.PutUint64(h[8:], r.Epoch)
	binary.BigEndian.PutUint64(h[16:], uint64(r.At)) //nolint:gosec // as bits
	binary.BigEndian.PutUint64(h[24:], uint64(len(r.Body)))
	copy(h[32:48], r.SID[:])
	h[48] = byte(r.Kind)
	return crc32.Update(crc32.Checksum(h, castagnoli), castagnoli, r.Body)
}

// step goes on to the next record. The hash is of all records, applied or not: it tells
// whether two logs are equal, too.
func (s *summer) step(p *position, seq store.Seq, r *store.Record, o Outcome) {
	p.seq, p.last = seq, s.record(seq, r)
	binary.BigEndian.PutUint32(s.head[:], p.last)
	p.hash = crc32.Update(p.hash, castagnoli, s.head[:4])
	if o == Applied {
		p.alive = max(p.alive, r.At)
	}
}
