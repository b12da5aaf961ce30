package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/topic"
)

// FilterBytesMax bounds one topic filter of a rule, placeholders unexpanded. It
// is the default of limits.topic_bytes: a longer one could not match anything.
const FilterBytesMax = 1024

// FilterLevelsMax bounds the levels of one topic filter of a rule, which is what
// each judgement walks; the same ceiling as the topics themselves have.
const FilterLevelsMax = 128

// kind is what one level of a rule's filter matches.
type kind uint8

const (
	literal   kind = iota
	anyLevel       // +
	anyLevels      // #, always last
	ofUser         // before + user name + after
	ofClient       // before + client id + after
	ofHost         // before + address + after
	ofCert         // before + common name of the certificate + after
	ofAttr         // before + client attribute + after
)

// level is one level of a rule's filter. A placeholder is inserted as text into
// its level and is never looked at again, so that it cannot bring a wildcard or
// a level separator with it (A094, A095).
type level struct {
	kind          kind
	before, after string // before alone is the whole text of a literal
	attr          string // name of the client attribute
}

// pattern is one topic filter of a rule.
type pattern struct {
	text   string
	levels []level
	eq     bool // compare the filter's text and not what it matches
	share  bool // a deny on $share/GROUP/FILTER, compared with the whole shared filter
}

// compilePattern reads one filter. Errors say what is wrong and what to write.
func compilePattern(t TopicSpec, allow, publish, subscribe bool) (pattern, error) {
	p := pattern{text: t.Filter, eq: t.Eq}
	if len(t.Filter) > FilterBytesMax {
		return p, fmt.Errorf("has %d bytes; at most %d are allowed", len(t.Filter), FilterBytesMax)
	}
	if err := topic.ValidFilter(t.Filter); err != nil {
		return p, fmt.Errorf("is not a topic filter: %w", err)
	}
	levels := strings.Split(t.Filter, "/")
	if len(levels) > FilterLevelsMax {
		return p, fmt.Errorf("has %d levels; at most %d are allowed", len(levels), FilterLevelsMax)
	}
	p.levels = make([]level, 0, len(levels))
	for _, text := range levels {
		l, err := compileLevel(text)
		if err != nil {
			return p, err
		}
		p.levels = append(p.levels, l)
	}
	first := p.levels[0]
	if !strings.HasPrefix(first.before, "$") { // "${username}" does not: its text is empty
		return p, nil
	}
	if first.kind != literal {
		return p, errors.New("holds a placeholder in a first level that starts with $; spell the namespace out")
	}
	if ns := grantable(first.before); allow && (publish && !ns.publish || subscribe && !ns.subscribe) {
		return p, fmt.Errorf("cannot be granted: %s", ns.why)
	}
	if p.share = first.before == "$share"; p.share && len(levels) < 3 && levels[len(levels)-1] != "#" {
		return p, errors.New("is not a shared subscription; write $share/GROUP/FILTER")
	}
	return p, nil
}

func compileLevel(text string) (level, error) {
	switch text {
	case "+":
		return level{kind: anyLevel}, nil
	case "#":
		return level{kind: anyLevels}, nil
	}
	before, rest, found := strings.Cut(text, "${")
	if !found {
		return level{kind: literal, before: text}, nil
	}
	name, after, closed := strings.Cut(rest, "}")
	if !closed {
		return level{}, errors.New("holds ${ without its }")
	}
	k, attr, err := placeholder(name)
	if err != nil {
		return level{}, err
	}
	if strings.Contains(after, "${") {
		// alice + b-c and alice-b + c would meet in ${username}-${clientid}, and a
		// client chooses its client id.
		return level{}, errors.New("holds two placeholders in one level, which lets two clients mean the same topic; give each a level of its own")
	}
	return level{kind: k, before: before, after: after, attr: attr}, nil
}

// is tells whether one level of a name is what l stands for. hide keeps wildcards
// away from a first level that starts with $ [MQTT-4.7.2-1].
func (l *level) is(s *subject, text []byte, hide bool) bool {
	switch l.kind {
	case literal:
		return string(text) == l.before
	case anyLevel:
		return !hide || !dollar(text)
	case ofHost:
		return s.isHost(l, text)
	case ofUser, ofClient, ofCert, ofAttr:
		v, ok := s.value(l)
		if !ok || len(text) != len(l.before)+len(v)+len(l.after) {
			return false
		}
		end := len(text) - len(l.after)
		return string(text[:len(l.before)]) == l.before && string(text[len(l.before):end]) == v && string(text[end:]) == l.after
	}
	return false
}

// spelt writes "/#" as the equal "/+/#", as package topic does: the parent that its
// '#' would match is the name without characters, which does not exist
// [MQTT-4.7.3-1].
func spelt(filter []byte) []byte {
	if string(filter) == "/#" {
		return []byte("/+/#")
	}
	return filter
}

// spelt is the same of a rule's filter.
func (p *pattern) spelt() []level {
	if p.text == "/#" {
		return speltRoot
	}
	return p.levels
}

var speltRoot = []level{{kind: literal}, {kind: anyLevel}, {kind: anyLevels}}

func dollar(text []byte) bool { return len(text) > 0 && text[0] == '$' }

// cut takes the first level off a topic.
func cut(t []byte) (level, rest []byte, more bool) {
	if i := bytes.IndexByte(t, '/'); i >= 0 {
		return t[:i], t[i+1:], true
	}
	return t, nil, false
}

// matches tells whether p matches a topic name. With hide false a leading
// wildcard reaches $ names too: that is how deny rules read, since a deny of
// everything that left out $SYS would be a hole.
func (p *pattern) matches(s *subject, name []byte, hide bool) bool {
	rest, more := name, true
	for i := range p.levels {
		l := &p.levels[i]
		if l.kind == anyLevels {
			return i > 0 || !hide || !dollar(name)
		}
		if !more {
			return false
		}
		var text []byte
		text, rest, more = cut(rest)
		if !l.is(s, text, hide && i == 0) {
			return false
		}
	}
	return !more
}

// covers tells whether p matches every topic name that filter matches.
func (p *pattern) covers(s *subject, filter []byte, hide bool) bool {
	if string(filter) == "#" && len(p.levels) == 2 && p.levels[0].kind == anyLevel && p.levels[1].kind == anyLevels {
		return true // every name has a first level, so +/# is # in other words
	}
	rest, more := spelt(filter), true
	levels := p.spelt()
	for i := range levels {
		l := &levels[i]
		if l.kind == anyLevels {
			return i > 0 || !hide || !dollar(filter)
		}
		if !more {
			return false
		}
		var text []byte
		text, rest, more = cut(rest)
		switch string(text) {
		case "#":
			return false
		case "+":
			if l.kind != anyLevel {
				return false
			}
		default:
			if !l.is(s, text, hide && i == 0) {
				return false
			}
		}
	}
	return !more
}

// overlaps tells whether some topic name is matched by both p and filter. The
// filter is a subscription, so its own leading wildcard never reaches $ names.
func (p *pattern) overlaps(s *subject, filter []byte, hide bool) bool {
	rest, more := spelt(filter), true
	levels := p.spelt()
	for i := range levels {
		l := &levels[i]
		if l.kind == anyLevels {
			return i > 0 || !hide || !dollar(filter)
		}
		if !more {
			return false
		}
		var text []byte
		text, rest, more = cut(rest)
		switch string(text) {
		case "#":
			return i > 0 || !p.namesDollar()
		case "+":
			if i == 0 && p.namesDollar() {
				return false
			}
		default:
			if !l.is(s, text, hide && i == 0) {
				return false
			}
		}
	}
	return !more || string(rest) == "#"
}

// namesDollar tells whether p spells out a $ namespace.
func (p *pattern) namesDollar() bool {
	return p.levels[0].kind == literal && strings.HasPrefix(p.levels[0].before, "$")
}

// equals tells whether filter is p's own text with the placeholders filled in.
func (p *pattern) equals(s *subject, filter []byte) bool {
	rest, more := filter, true
	for i := range p.levels {
		if !more {
			return false
		}
		l := &p.levels[i]
		var text []byte
		text, rest, more = cut(rest)
		switch l.kind {
		case anyLevel:
			if string(text) != "+" {
				return false
			}
		case anyLevels:
			if string(text) != "#" {
				return false
			}
		default:
			if !l.is(s, text, false) {
				return false
			}
		}
	}
	return !more
}
