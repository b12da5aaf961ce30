package session

import (
	"hash/maphash"

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

// Subscriptions are few for nearly every client, so they are a list; an index beside it
// comes only with many.
const indexFrom = 17

// veryMany is from where on the list and its index grow in large steps, and so seldom: to move a hundred thousand
// takes milliseconds, in which others wait (D-07). Only a raised limits.subscriptions allows them.
const veryMany = 4096

// index finds entries of a list by their filters: cells that are probed one after another
// from where the hash of a filter says, each a position and one. It takes 5 to 10 bytes for
// each, where a map with the filter in it takes 50.
type index struct {
	cells   []uint32
	seenMax uint64 // the largest seen of the list
}

// filterSeed is not known to clients, who choose the filters.
var filterSeed = maphash.MakeSeed()

func (x *index) home(filter string) int {
	return int(maphash.String(filterSeed, filter) >> 32 * uint64(len(x.cells)) >> 32) //nolint:gosec // less than len
}

func (x *index) after(i int) int {
	if i++; i == len(x.cells) {
		return 0
	}
	return i
}

// cell is where the filter is, or would be put.
func (x *index) cell(list []entry, filter string) int {
	i := x.home(filter)
	for x.cells[i] != 0 && list[x.cells[i]-1].filter != filter {
		i = x.after(i)
	}
	return i
}

// add says that the last of the list is new.
func (x *index) add(list []entry) {
	if len(list)*5 > len(x.cells)*4 { // full at four fifths
		room := len(list) * 15 / 8
		if len(list) >= veryMany {
			room = len(list) * 4
		}
		x.cells = make([]uint32, room)
		for i := range list[:len(list)-1] {
			x.cells[x.cell(list, list[i].filter)] = uint32(i) + 1 //nolint:gosec // of subscriptions
		}
	}
	last := len(list) - 1
	x.cells[x.cell(list, list[last].filter)] = uint32(last) + 1 //nolint:gosec // the same
}

// drop frees the cell of a filter, and moves back those after it that would not be found
// any more.
func (x *index) drop(list []entry, filter string) {
	free := x.cell(list, filter)
	for i := x.after(free); x.cells[i] != 0; i = x.after(i) {
		away := i - x.home(list[x.cells[i]-1].filter)
		if away < 0 {
			away += len(x.cells)
		}
		gap := i - free
		if gap < 0 {
			gap += len(x.cells)
		}
		if away >= gap {
			x.cells[free] = x.cells[i]
			free = i
		}
	}
	x.cells[free] = 0
}

func (s *Session) find(filter string) int {
	if s.many != nil {
		return int(s.many.cells[s.many.cell(s.subs, filter)]) - 1
	}
	for i := range s.subs {
		if s.subs[i].filter == filter {
			return i
		}
	}
	return -1
}

// Subscribed answers the subscription with exactly this filter, compared
// character by character [MQTT-3.10.4-1].
func (s *Session) Subscribed(filter string) (Sub, bool) {
	if i := s.find(filter); i >= 0 {
		return s.subs[i].sub(), true
	}
	return Sub{}, false
}

// Subscribe adds sub or replaces the one with the same filter [MQTT-3.8.4-3].
func (s *Session) Subscribe(sub Sub) {
	e := entryOf(&sub)
	if s.many != nil {
		s.many.seenMax = max(s.many.seenMax, e.seen)
	}
	if i := s.find(sub.Filter); i >= 0 {
		s.subs[i] = e
		return
	}
	if topic.HasWildcard(sub.Real) {
		s.wildcards++
	}
	if n := len(s.subs); n == cap(s.subs) { // by an eighth only: what is added beyond stays for the life of most
		room := n + 1 + n/8
		if n >= veryMany {
			room = 2 * n
		}
		s.subs = append(make([]entry, 0, room), s.subs...)
	}
	s.subs = append(s.subs, e)
	switch {
	case s.many != nil:
		s.many.add(s.subs)
	case len(s.subs) >= indexFrom:
		s.many = new(index)
		for i := range s.subs {
			s.many.seenMax = max(s.many.seenMax, s.subs[i].seen)
			s.many.add(s.subs[:i+1])
		}
	}
}

// Unsubscribe removes the subscription with exactly this filter.
func (s *Session) Unsubscribe(filter string) (existed bool) {
	i := s.find(filter)
	if i < 0 {
		return false
	}
	if topic.HasWildcard(s.subs[i].real()) {
		s.wildcards--
	}
	last := len(s.subs) - 1
	if s.many != nil {
		s.many.drop(s.subs, filter)
		if i != last {
			s.many.cells[s.many.cell(s.subs, s.subs[last].filter)] = uint32(i) + 1 //nolint:gosec // of subscriptions
		}
	}
	s.subs[i] = s.subs[last]
	s.subs[last] = entry{}
	s.subs = s.subs[:last]
	if last == 0 {
		s.subs, s.many = nil, nil
	}
	return true
}

// Subscriptions is how many there are.
func (s *Session) Subscriptions() int { return len(s.subs) }

// Subscription is one of them, in no order. Subscribe keeps the places of those that are
// there; Unsubscribe gives the place of the one that goes to the last.
func (s *Session) Subscription(i int) Sub { return s.subs[i].sub() }

// Had is what a session was subscribed to when it ended.
type Had struct{ list []entry }

// Leave ends all subscriptions, and answers them.
func (s *Session) Leave() Had {
	had := Had{s.subs}
	s.subs, s.many, s.wildcards = nil, nil, 0
	return had
}

// Len is how many are left.
func (h *Had) Len() int { return len(h.list) }

// Shared tells whether somebody else could have the place of the i-th, or its messages: it is in a group, or exclusive.
func (h *Had) Shared(i int) bool {
	e := &h.list[i]
	return e.opts&optExclusive != 0 || e.more != nil && e.more.group != (Group{})
}

// At is the i-th.
func (h *Had) At(i int) Sub { return h.list[i].sub() }

// Take removes the last, of which there must be one.
func (h *Had) Take() Sub {
	last := len(h.list) - 1
	sub := h.list[last].sub()
	h.list[last] = entry{}
	h.list = h.list[:last]
	return sub
}

// Wildcards is how many filters hold a wildcard.
func (s *Session) Wildcards() int { return int(s.wildcards) }

// seenMax is the largest version that a subscription has seen.
func (s *Session) seenMax() (most uint64) {
	if s.many != nil {
		return s.many.seenMax
	}
	for i := range s.subs {
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
	for i := range s.subs {
		b := &s.subs[i]
		if version > b.seen && b.group() == (Group{}) && topic.Match(b.real(), name) {
			return false
		}
	}
	return true
}
