package session

import (
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Sub is one subscription of a session.
type Sub struct {
	Filter            string // as the client wrote it; it unsubscribes with the same
	Real              string // what is matched: rewritten, mounted, without $share or $exclusive
	RetainedSeen      uint64 // version of the retained store when its messages were read for this subscription; 0: not read
	ID                uint32 // Subscription Identifier; 0: none
	QoS               mqtt.QoS
	NoLocal           bool
	RetainAsPublished bool
	Check             bool // a deny rule overlaps the filter: each delivery is judged
	Exclusive         bool // nobody else may have it
	Group             Group
}

// entry is a subscription as it is kept: in 40 bytes, where a Sub has 64.
type entry struct {
	filter string
	more   *unlike // nil: nothing
	seen   uint64
	id     uint32
	opts   opts
}

// unlike is what most subscriptions have nothing of.
type unlike struct {
	real  string // where it is not the filter itself
	group Group
}

type opts uint8

const (
	optQoS               opts = 3
	optNoLocal           opts = 1 << 2
	optRetainAsPublished opts = 1 << 3
	optCheck             opts = 1 << 4
	optExclusive         opts = 1 << 5
)

func (o opts) with(bit opts, set bool) opts {
	if set {
		return o | bit
	}
	return o
}

func entryOf(sub *Sub) entry {
	o := opts(sub.QoS).with(optNoLocal, sub.NoLocal).with(optRetainAsPublished, sub.RetainAsPublished).with(optCheck, sub.Check).with(optExclusive, sub.Exclusive)
	e := entry{filter: sub.Filter, seen: sub.RetainedSeen, id: sub.ID, opts: o}
	if sub.Real != sub.Filter || sub.Group != (Group{}) {
		e.more = &unlike{real: sub.Real, group: sub.Group}
	}
	return e
}

func (e *entry) sub() Sub {
	return Sub{
		Filter: e.filter, Real: e.real(), RetainedSeen: e.seen, ID: e.id, QoS: mqtt.QoS(e.opts & optQoS),
		NoLocal: e.opts&optNoLocal != 0, RetainAsPublished: e.opts&optRetainAsPublished != 0,
		Check: e.opts&optCheck != 0, Exclusive: e.opts&optExclusive != 0, Group: e.group(),
	}
}

func (e *entry) real() string {
	if e.more == nil {
		return e.filter
	}
	return e.more.real
}

func (e *entry) group() Group {
	if e.more == nil {
		return Group{}
	}
	return e.more.group
}

// Subscribed answers the subscription with exactly this filter, compared
// character by character [MQTT-3.10.4-1].
func (s *Session) Subscribed(filter string) (Sub, bool) {
	if i, _ := s.find(filter); i >= 0 {
		return s.nth(i).sub(), true
	}
	return Sub{}, false
}

// Subscribe adds sub or replaces the one with the same filter [MQTT-3.8.4-3].
func (s *Session) Subscribe(sub Sub) {
	e := entryOf(&sub)
	if x := s.many(); x != nil {
		x.seenMax = max(x.seenMax, e.seen)
	}
	i, hash := s.find(sub.Filter)
	if i >= 0 {
		*s.nth(i) = e
		return
	}
	if topic.HasWildcard(sub.Real) {
		s.wildcards++
	}
	s.push(e, hash)
}

// Unsubscribe removes the subscription with exactly this filter.
func (s *Session) Unsubscribe(filter string) (existed bool) {
	i, hash := s.find(filter)
	if i < 0 {
		return false
	}
	if topic.HasWildcard(s.nth(i).real()) {
		s.wildcards--
	}
	s.unlist(i, hash)
	return true
}

// Subscription is one of them, in no order. Subscribe keeps the places of those that are
// there; Unsubscribe gives the place of the one that goes to the last.
func (s *Session) Subscription(i int) Sub { return s.nth(i).sub() }

// Had is what a session was subscribed to when it ended.
type Had struct {
	first []entry
	rest  [][]entry
	n     int
}

// Leave ends all subscriptions, and answers them.
func (s *Session) Leave() Had {
	had := Had{first: s.subs, n: s.Subscriptions()}
	if x := s.many(); x != nil && x.more != nil {
		had.rest = x.more.rest
	}
	s.unsubscribed()
	s.wildcards = 0
	return had
}

// Len is how many are left.
func (h *Had) Len() int { return h.n }

func (h *Had) at(i int) *entry {
	if i < len(h.first) {
		return &h.first[i]
	}
	i -= len(h.first)
	return &h.rest[i/pieceMax][i%pieceMax]
}

// Shared tells whether somebody else could have the place of the i-th, or its messages: it is in a group, or exclusive.
func (h *Had) Shared(i int) bool {
	e := h.at(i)
	return e.opts&optExclusive != 0 || e.more != nil && e.more.group != (Group{})
}

// At is the i-th.
func (h *Had) At(i int) Sub { return h.at(i).sub() }

// Take removes the last, of which there must be one. A piece of which nothing is left goes.
func (h *Had) Take() Sub {
	h.n--
	e := h.at(h.n)
	sub := e.sub()
	*e = entry{}
	if last := h.n - len(h.first); last >= 0 && last%pieceMax == 0 {
		h.rest[last/pieceMax] = nil
	}
	return sub
}

// Wildcards is how many filters hold a wildcard.
func (s *Session) Wildcards() int { return int(s.wildcards) }

// seenMax is the largest version that a subscription has seen.
func (s *Session) seenMax() (most uint64) {
	if x := s.many(); x != nil {
		return x.seenMax
	}
	for i := range s.subs { // there are no others
		most = max(most, s.subs[i].seen)
	}
	return most
}

// SeenRetained tells whether a live message of this retained version reached
// the session already, as a retained message for every subscription that wants
// it. A subscriber is first inserted, then reads the retained store up to a
// version, then drops what comes live up to that version; so it gets each
// message once, and no stale value can come last.
func (s *Session) SeenRetained(name []byte, version uint64) bool {
	if version == 0 || version > s.seenMax() {
		return false
	}
	for i := range s.Subscriptions() {
		b := s.nth(i)
		if version > b.seen && b.group() == (Group{}) && topic.Match(b.real(), name) {
			return false
		}
	}
	return true
}
