package router

import (
	"bytes"
	"hash/maphash"
)

// MatchNodesMax is how many nodes of the trie one match visits, the two roots
// included. Every level of a topic name leads to two nodes below each node before
// it, the literal and '+', so depth is what an attacker can multiply (A037). A
// name of 13 levels can lead to exactly this many: such a name is never cut short,
// and no name at all costs more than about two milliseconds. Operators allow 10
// levels unless they say otherwise.
const MatchNodesMax = 1 << 14

// Matches is the result of one Match and the memory it needs. Keep one per loop
// and use it again: after a few matches it has grown to what the traffic needs
// and nothing is allocated any more. It is not safe for concurrent use.
type Matches struct {
	// Subs are the subscribers of all filters that match, in no order. A session
	// that subscribed with several of them is there several times. They are valid
	// until the next Match or Reset.
	Subs []Subscriber
	// Filters counts the filters that match.
	Filters int
	// Truncated says that MatchNodesMax was reached and subscribers may be missing.
	// The caller counts it; it must not be silent.
	Truncated bool

	levels []span  // levels of the topic that were looked at so far
	stack  []visit // nodes still to visit
}

// span is one level of the topic being matched: topic[from:to].
type span struct {
	from, to int
	tag      uint32
}

// visit is a node to look at, reached by so many levels of the topic.
type visit struct {
	n     *node
	depth int
}

// Reset empties m and keeps its memory.
func (m *Matches) Reset() {
	m.Subs = m.Subs[:0]
	m.Filters = 0
	m.Truncated = false
}

// Match puts the subscribers of every filter that matches topic into m, in place
// of what was there. Subscribe and Unsubscribe that returned before are honoured;
// of those that run meanwhile each is seen or not, as a whole. topic must be a
// valid topic name.
func (x *Index) Match(topic []byte, m *Matches) {
	m.Reset()
	if len(topic) == 0 {
		return
	}
	h := maphash.Bytes(x.seed, topic)
	if e := x.exactOf(h).get(uint32(h), topic); e != nil {
		set := e.set()
		m.hit(&set)
	}
	m.levels = m.levels[:0]
	m.nextLevel(x.seed, topic)
	work := 0
	m.walk(x.seed, &x.wildOf(m.levels[0].tag).root, topic, &work)
	if topic[0] != '$' { // [MQTT-4.7.2-1]
		m.walk(x.seed, &x.leading.root, topic, &work)
	}
}

func (m *Matches) hit(s *set) {
	m.Subs = s.appendTo(m.Subs)
	m.Filters++
}

// nextLevel finds one level more of topic.
func (m *Matches) nextLevel(seed maphash.Seed, topic []byte) {
	from := 0
	if n := len(m.levels); n > 0 {
		from = m.levels[n-1].to + 1
	}
	to := len(topic)
	if i := bytes.IndexByte(topic[from:], '/'); i >= 0 {
		to = from + i
	}
	m.levels = append(m.levels, span{from, to, uint32(maphash.Bytes(seed, topic[from:to]))})
}

// walk visits every node below root that leads to a match. It goes down along
// literals and keeps the '+' branches for later. Levels of the topic are looked at
// only as deep as filters go.
func (m *Matches) walk(seed maphash.Seed, root *node, topic []byte, work *int) {
	n, depth := root, 0
	for {
		if *work++; *work > MatchNodesMax {
			m.Truncated = true
			break
		}
		if s := n.below.Load(); s != nil { // "a/#" matches "a" and all below it
			m.hit(s)
		}
		var next *node
		if depth > 0 && m.levels[depth-1].to == len(topic) {
			if s := n.here.Load(); s != nil {
				m.hit(s)
			}
		} else {
			if p := n.plus.Load(); p != nil {
				m.stack = append(m.stack, visit{p, depth + 1})
			}
			if depth == len(m.levels) {
				m.nextLevel(seed, topic)
			}
			l := m.levels[depth]
			next = n.get(l.tag, topic[l.from:l.to])
		}
		if next != nil {
			n, depth = next, depth+1
			continue
		}
		last := len(m.stack) - 1
		if last < 0 {
			return
		}
		n, depth = m.stack[last].n, m.stack[last].depth
		m.stack[last] = visit{} // or it would keep a node alive that was freed since
		m.stack = m.stack[:last]
	}
	clear(m.stack)
	m.stack = m.stack[:0]
}
