package auth

import (
	"bytes"
	"strings"
)

// indexLevels is how many first levels of a topic find the rules of everybody. Ten
// thousand rules for everybody that differ in none of these are walked one by one.
const indexLevels = 3

// ruleSet is a list of rules with the way to those that can concern an access.
type ruleSet struct {
	rules []Rule
	index [2]index // by Action
}

// index finds the rules of one action that can concern a client and a topic. Each
// list holds the numbers of rules in their order.
type index struct {
	user   map[string][]int32 // rules that name the user
	client map[string][]int32 // rules that name the client, and no user
	open   []int32            // for everybody, and about topics whose first level can be any
	topic  map[string][]int32 // for everybody, by up to indexLevels literal first levels
	depths [indexLevels + 1]bool
	deep   []int32 // deny rules that are under topic: a wildcard can reach any of them
}

// set compiles the lists for rules that specs describe.
func setOfRules(rules []Rule, specs []RuleSpec, rest func()) *ruleSet {
	s := &ruleSet{rules: rules}
	for i := range s.index {
		s.index[i] = index{user: map[string][]int32{}, client: map[string][]int32{}, topic: map[string][]int32{}}
	}
	for i := range rules {
		rest()
		if specs[i].Publish {
			s.index[Publish].add(int32(i), &rules[i], &specs[i])
		}
		if specs[i].Subscribe {
			s.index[Subscribe].add(int32(i), &rules[i], &specs[i])
		}
	}
	return s
}

func (x *index) add(n int32, r *Rule, s *RuleSpec) {
	switch {
	case len(s.Users) > 0 && len(s.UsersMatch) == 0:
		each(x.user, s.Users, n)
	case len(s.Clients) > 0 && len(s.ClientsMatch) == 0:
		each(x.client, s.Clients, n)
	default:
		x.addOpen(n, r)
	}
}

// each lists a rule under names; one listed twice counts once.
func each(by map[string][]int32, names []string, n int32) {
	for _, name := range names {
		list := by[name]
		if len(list) == 0 || list[len(list)-1] != n {
			by[name] = append(list, n)
		}
	}
}

func (x *index) addOpen(n int32, r *Rule) {
	var under []string
	for i := range r.topics {
		text, depth := r.topics[i].stem()
		// What a deny rule protects is not known where a placeholder does not expand: it
		// denies all.
		if depth == 0 || !r.allow && r.needs != 0 {
			x.open = append(x.open, n)
			return
		}
		under = append(under, text)
	}
	each(x.topic, under, n)
	for _, u := range under {
		x.depths[strings.Count(u, "/")+1] = true
	}
	if !r.allow {
		x.deep = append(x.deep, n)
	}
}

// stem is the literal levels that a pattern begins with, at most indexLevels. One on
// $share is compared with another text, and has none.
func (p *pattern) stem() (text string, depth int) {
	if p.share {
		return "", 0
	}
	var b strings.Builder
	for depth < len(p.levels) && depth < indexLevels && p.levels[depth].kind == literal {
		if depth > 0 {
			b.WriteByte('/')
		}
		b.WriteString(p.levels[depth].before)
		depth++
	}
	return b.String(), depth
}

// stems are the literal levels that a topic name or filter begins with.
type stems struct {
	topic []byte
	ends  [indexLevels]int // where the first, the first two, ... end
	n     int
	wide  bool // a wildcard follows, which can reach rules of more levels
}

func stemsOf(topic []byte) (s stems) {
	s.topic = topic
	for at := 0; s.n < indexLevels; {
		end := bytes.IndexByte(topic[at:], '/')
		last := end < 0
		if end += at; last {
			end = len(topic)
		}
		if text := topic[at:end]; string(text) == "+" || string(text) == "#" {
			s.wide = true
			return s
		}
		s.ends[s.n] = end
		s.n++
		if last {
			return s
		}
		at = end + 1
	}
	return s
}

// merge yields the rules of some lists of numbers in their order, each once.
type merge struct {
	rules []Rule
	lists [indexLevels + 4][]int32 // none of the first n is empty
	n     int
}

func (m *merge) take(list []int32) {
	if len(list) > 0 {
		m.lists[m.n] = list
		m.n++
	}
}

// begin takes the lists of x that can concern by and the topic.
func (m *merge) begin(rules []Rule, x *index, by *Principal, s *stems) {
	m.rules, m.n = rules, 0
	if by.Username != "" {
		m.take(x.user[by.Username])
	}
	m.take(x.client[by.ClientID])
	m.take(x.open)
	for i := range s.n {
		if x.depths[i+1] {
			m.take(x.topic[string(s.topic[:s.ends[i]])])
		}
	}
	if s.wide {
		m.take(x.deep)
	}
}

// next answers nil after the last.
func (m *merge) next() *Rule {
	switch m.n {
	case 0:
		return nil
	case 1: // as it is most of the time
		l := m.lists[0]
		if m.lists[0] = l[1:]; len(l) == 1 {
			m.n = 0
		}
		return &m.rules[l[0]]
	}
	first := m.lists[0][0]
	for _, l := range m.lists[1:m.n] {
		first = min(first, l[0])
	}
	for i := 0; i < m.n; {
		if l := m.lists[i]; l[0] == first {
			if m.lists[i] = l[1:]; len(l) == 1 {
				m.n--
				m.lists[i] = m.lists[m.n]
				continue
			}
		}
		i++
	}
	return &m.rules[first]
}
