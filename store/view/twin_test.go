package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// twin is the view as maps, too plain to be wrong: it is made by applying all records
// again, and has no index, no blocks and no memory of what it wrote.
type twin struct {
	sessions map[store.SID]*Session
	retained map[string]twinRetained
	values   map[store.Kind]map[string]string
	postings map[fact.FilterID][]Posting
	delayed  []Delayed // by due time and number
	alive    int64
	hash     uint32
	outcomes map[store.Seq]Outcome
	groups   *groups // applied from the first record on, and never a row
	bodies   bodies
}

type twinRetained struct {
	seq     store.Seq
	at      int64
	body    string
	expires int64
}

// numbered is a record and its number.
type numbered struct {
	seq store.Seq
	rec store.Record
}

func newTwin(history []numbered) *twin {
	t := &twin{
		sessions: make(map[store.SID]*Session), retained: make(map[string]twinRetained), values: make(map[store.Kind]map[string]string),
		postings: make(map[fact.FilterID][]Posting), outcomes: make(map[store.Seq]Outcome), groups: newGroups(),
	}
	before := store.Seq(0)
	for i := range history {
		seq, r := history[i].seq, &history[i].rec
		t.hash = twinHash(t.hash, seq, r)
		o := t.judge(r)
		if o == Applied && ofGroups(r.Kind) {
			t.groups.before = nil
			if s := t.sessions[r.SID]; s != nil && r.Kind == store.ShareJoin {
				var said shares
				said.hear(&s.Out)
				t.groups.before = map[store.SID]shares{r.SID: said}
			}
			_ = t.bodies.check(r)
			if o = t.groups.judge(r, &t.bodies); o == Applied {
				t.groups.apply(seq, r, &t.bodies, nil)
			}
		}
		t.outcomes[seq] = o
		if o == Applied {
			t.alive = max(t.alive, r.At)
			if before/64 != seq/64 && r.At != 0 {
				t.expire(r.At)
			}
			t.apply(seq, r)
		}
		before = seq
	}
	for _, s := range t.sessions {
		for i := range s.Subs {
			if s.Subs[i].Owed <= s.Out.Heard {
				s.Subs[i].Owed = 0
			}
		}
	}
	return t
}

// expire removes what has expired, the first 256.
func (t *twin) expire(at int64) {
	var due []string
	for key, m := range t.retained {
		if m.expires != 0 && m.expires <= at {
			due = append(due, key)
		}
	}
	slices.SortFunc(due, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.retained[a].expires, t.retained[b].expires), strings.Compare(a, b))
	})
	for _, key := range due[:min(len(due), 256)] {
		delete(t.retained, key)
	}
}

// twinHash says in one line for each field what the hash is of.
func twinHash(hash uint32, seq store.Seq, r *store.Record) uint32 {
	var b []byte
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, r.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At))
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Body)))
	b = append(b, r.SID[:]...)
	b = append(b, byte(r.Kind))
	b = append(b, r.Body...)
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(hash, table, binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, table)))
}

// twinBody is an empty body of a kind; nil if it has none, or the kind is unused.
func twinBody(k store.Kind) interface{ Decode([]byte) error } {
	switch k {
	case store.Message, store.Retain, store.Unretain:
		return new(fact.Message)
	case store.Claim:
		return new(fact.Claim)
	case store.Release:
		return new(fact.Release)
	case store.Subscribe:
		return new(fact.Subscription)
	case store.Unsubscribe:
		return new(fact.Unsubscription)
	case store.Inflight, store.Ack:
		return new(fact.Outbox)
	case store.QoS2In, store.QoS2Rel:
		return new(fact.PacketID)
	case store.Will:
		return new(fact.Will)
	case store.Config, store.User, store.Rule, store.Ban, store.Key:
		return new(fact.Value)
	case store.Hash:
		return new(fact.Mark)
	case store.ShareJoin:
		return new(fact.Join)
	case store.ShareLeave:
		return new(fact.Leave)
	case store.ShareAck:
		return new(twinTake)
	case store.Delay:
		return new(fact.Delay)
	case store.DelayEnd:
		return new(fact.DelayEnd)
	}
	return nil
}

// twinTake is a take and the message in it.
type twinTake struct{ fact.Take }

func (t *twinTake) Decode(b []byte) error {
	if err := t.Take.Decode(b); err != nil || t.Member == 0 {
		return err
	}
	var m fact.Message
	if err := m.Decode(t.Body); err != nil {
		return err
	}
	if m.Broad || len(m.Filters) != 1 || m.Filters[0] != t.Member {
		return fact.ErrFact
	}
	return nil
}

func (t *twin) judge(r *store.Record) Outcome {
	body := twinBody(r.Kind)
	badBody := body == nil && (r.Kind != store.WillFire && r.Kind != store.Expire || len(r.Body) > 0) || body != nil && body.Decode(r.Body) != nil
	message, isMessage := body.(*fact.Message)
	if _, take := body.(*twinTake); take && badBody {
		return Refused
	}
	if isMessage && (badBody || r.Kind != store.Message && bytes.Contains(message.Topic, []byte{0})) {
		return Refused
	}
	owned := r.SID != store.SID{} && r.Epoch != 0
	s := t.sessions[r.SID]
	if owned && r.Kind != store.Claim {
		if s == nil || r.Epoch < s.Epoch {
			return Fenced
		}
		if r.Epoch > s.Epoch {
			return Refused
		}
	}
	aboutSession := slices.Contains([]store.Kind{store.Claim, store.Release, store.Subscribe, store.Unsubscribe, store.Inflight, store.Ack, store.QoS2In, store.QoS2Rel, store.Will, store.WillFire, store.Expire, store.ShareJoin, store.ShareLeave}, r.Kind)
	if badBody || aboutSession && !owned {
		return Refused
	}
	if c, claim := body.(*fact.Claim); claim {
		epoch := uint64(0)
		if s != nil {
			epoch = s.Epoch
		}
		if r.Epoch <= epoch || c.Moves && s == nil || c.Sure && c.From != epoch {
			return Fenced
		}
	}
	return Applied
}

func (t *twin) apply(seq store.Seq, r *store.Record) {
	s, raw := t.sessions[r.SID], bytes.Clone(r.Body)
	body := twinBody(r.Kind)
	if body != nil {
		_ = body.Decode(raw)
	}
	switch b := body.(type) {
	case *fact.Message:
		ids := slices.Clone(b.Filters)
		if b.Broad {
			ids = append(ids, 0)
		}
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			t.postings[id] = append(t.postings[id], Posting{seq, uint32(len(raw))})
		}
		switch key := strings.ReplaceAll(string(b.Topic), "/", "\x00"); r.Kind {
		case store.Retain:
			t.retained[key] = twinRetained{seq, r.At, string(raw), b.ExpiresAt}
		case store.Unretain:
			if b.Only == 0 || b.Only == t.retained[key].seq {
				delete(t.retained, key)
			}
		}
	case *fact.Claim:
		if b.Moves {
			s.Epoch, s.Node = r.Epoch, b.Node
			if s.LeftAt == 0 {
				s.LeftAt = r.At
			}
			break
		}
		if s == nil || b.Clean {
			s = &Session{SID: r.SID, CreatedAt: r.At}
			t.sessions[r.SID] = s
		}
		s.Epoch, s.Owner, s.Node, s.Version, s.ExpirySeconds = r.Epoch, b.Owner, b.Node, b.Version, b.ExpirySeconds
		s.LeftAt, s.Will = 0, nil
	case *fact.Release:
		s.LeftAt, s.ExpirySeconds = r.At, b.ExpirySeconds
		if !b.KeepWill {
			s.Will = nil
		}
	case *fact.Will:
		s.Will = b
	case *fact.Subscription:
		sub := Sub{Subscription: *b, Start: seq}
		if b.Owed {
			sub.Owed = seq
		}
		s.Subs = slices.DeleteFunc(s.Subs, func(old Sub) bool {
			if old.Filter == b.Filter && !b.Owed {
				sub.Owed = old.Owed
			}
			if old.Filter == b.Filter && old.Real == b.Real {
				sub.Start = old.Start
			}
			return old.Filter == b.Filter
		})
		s.Subs = append(s.Subs, sub)
		slices.SortFunc(s.Subs, func(a, b Sub) int { return strings.Compare(a.Filter, b.Filter) })
	case *fact.Unsubscription:
		s.Subs = slices.DeleteFunc(s.Subs, func(old Sub) bool { return old.Filter == b.Filter })
	case *fact.Outbox:
		s.Out = *b
	case *fact.PacketID:
		s.Received = slices.DeleteFunc(s.Received, func(id uint16) bool { return id == b.ID })
		if r.Kind == store.QoS2In {
			s.Received = append(s.Received, b.ID)
			slices.Sort(s.Received)
		}
	case *twinTake:
		if b.Member != 0 {
			t.postings[b.Member] = append(t.postings[b.Member], Posting{seq, uint32(len(raw))})
		}
	case *fact.Delay:
		t.delayed = append(t.delayed, Delayed{seq, r.SID, r.At, *b})
		slices.SortStableFunc(t.delayed, func(a, b Delayed) int { return int(a.Due - b.Due) })
	case *fact.DelayEnd:
		t.delayed = slices.DeleteFunc(t.delayed, func(d Delayed) bool { return d.Seq == b.Seq && d.Due == b.Due })
	case *fact.Value:
		if t.values[r.Kind] == nil {
			t.values[r.Kind] = make(map[string]string)
		}
		t.values[r.Kind][b.Name] = string(b.Content)
		if b.Gone {
			delete(t.values[r.Kind], b.Name)
		}
	}
	switch r.Kind {
	case store.WillFire:
		s.Will = nil
	case store.Expire:
		delete(t.sessions, r.SID)
	}
}

// pending is Pending, message by message.
func (t *twin) pending(q *Query) []Posting {
	found := make(map[store.Seq]Posting)
	take := func(id fact.FilterID, after store.Seq) {
		for _, p := range t.postings[id] {
			if p.Seq > after {
				found[p.Seq] = p
			}
		}
	}
	if q.Broad {
		take(0, q.After)
	}
	for _, f := range q.Filters {
		take(f.ID, max(f.Start, q.After))
	}
	list := make([]Posting, 0, len(found))
	for _, seq := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[seq])
	}
	return list
}
