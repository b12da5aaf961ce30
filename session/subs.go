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

// subscriptions are few for nearly every client, so they are a list; a map
// beside it comes only with many.
type subscriptions struct {
	list      []Sub
	index     map[string]int // filter to position, from indexFrom entries on
	wildcards int
	seenMax   uint64 // the largest RetainedSeen
}

const indexFrom = 17

func (t *subscriptions) find(filter string) int {
	if t.index != nil {
		if i, ok := t.index[filter]; ok {
			return i
		}
		return -1
	}
	for i := range t.list {
		if t.list[i].Filter == filter {
			return i
		}
	}
	return -1
}

// Subscribed answers the subscription with exactly this filter, compared
// character by character [MQTT-3.10.4-1].
func (s *Session) Subscribed(filter string) (Sub, bool) {
	if i := s.subs.find(filter); i >= 0 {
		return s.subs.list[i], true
	}
	return Sub{}, false
}

// Subscribe adds sub or replaces the one with the same filter [MQTT-3.8.4-3].
func (s *Session) Subscribe(sub Sub) {
	t := &s.subs
	t.seenMax = max(t.seenMax, sub.RetainedSeen)
	if i := t.find(sub.Filter); i >= 0 {
		t.list[i] = sub
		return
	}
	if topic.HasWildcard(sub.Real) {
		t.wildcards++
	}
	t.list = append(t.list, sub)
	switch {
	case t.index != nil:
		t.index[sub.Filter] = len(t.list) - 1
	case len(t.list) >= indexFrom:
		t.index = make(map[string]int, 2*indexFrom)
		for i := range t.list {
			t.index[t.list[i].Filter] = i
		}
	}
}

// Unsubscribe removes the subscription with exactly this filter.
func (s *Session) Unsubscribe(filter string) (existed bool) {
	t := &s.subs
	i := t.find(filter)
	if i < 0 {
		return false
	}
	if topic.HasWildcard(t.list[i].Real) {
		t.wildcards--
	}
	last := len(t.list) - 1
	t.list[i] = t.list[last]
	t.list[last] = Sub{}
	t.list = t.list[:last]
	if t.index != nil {
		delete(t.index, filter)
		if i != last {
			t.index[t.list[i].Filter] = i
		}
	}
	if last == 0 {
		*t = subscriptions{}
	}
	return true
}

// Subscriptions are all of them, in no order; the caller must not change them
// and must not keep the slice over a call to Subscribe or Unsubscribe.
func (s *Session) Subscriptions() []Sub { return s.subs.list }

// Wildcards is how many filters hold a wildcard.
func (s *Session) Wildcards() int { return s.subs.wildcards }

// SeenRetained tells whether a live message of this retained version reached
// the session already, as a retained message for every subscription that wants
// it. A subscriber is first inserted, then reads the retained store up to a
// version, then drops what comes live up to that version; so it gets each
// message once, and no stale value can come last.
func (s *Session) SeenRetained(name []byte, version uint64) bool {
	if version == 0 || version > s.subs.seenMax {
		return false
	}
	for i := range s.subs.list {
		b := &s.subs.list[i]
		if version > b.RetainedSeen && b.Group == (Group{}) && topic.Match(b.Real, name) {
			return false
		}
	}
	return true
}
