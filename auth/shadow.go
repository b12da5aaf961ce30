package auth

import (
	"maps"
	"slices"
	"strings"
)

// Cover is how surely one rule decides everything that another one could.
type Cover uint8

// The answers, from the least to the most.
const (
	NoCover      Cover = iota // the later rule is reached
	PerhapsCover              // it is not, if a condition holds; or for all topics but those with $
	SureCover                 // it never is
)

// Shadows tells whether r, which is asked before later, decides everything that the topic
// filter number i of later could. of is whose list later is in, of a Book; else Everybody.
// Nothing is said for one client: names, networks and filters are compared as sets, so that
// SureCover holds for every client and every topic.
func (r *Rule) Shadows(later *Rule, i int, of Subject) Cover {
	if !r.actsAs(later) {
		return NoCover
	}
	who := r.who.shadows(r.allow, later, of)
	if who == NoCover {
		return NoCover
	}
	best := NoCover
	for j := range r.topics {
		best = max(best, r.topics[j].shadows(r.allow, later, &later.topics[i], of))
	}
	return min(who, best)
}

// ShadowsFor is Shadows where both rules are about one client, as Effective says: only what
// they are about is compared.
func (r *Rule) ShadowsFor(later *Rule, i int) Cover {
	if !r.actsAs(later) {
		return NoCover
	}
	best := NoCover
	for j := range r.topics {
		best = max(best, r.topics[j].shadows(r.allow, later, &later.topics[i], Everybody()))
	}
	return best
}

// actsAs compares actions and qualifiers.
func (r *Rule) actsAs(o *Rule) bool {
	switch {
	case o.publish && !r.publish, o.subscribe && !r.subscribe:
		return false
	case r.qos != 0 && (o.qos == 0 || o.qos&^r.qos != 0):
		return false
	}
	return r.retain == retainAny || r.retain == o.retain
}

// namesOf are the users or the clients that a rule names, with those of the list it is in.
func (o *Rule) namesOf(of Subject, users bool) (list map[string]struct{}, matches []string) {
	if users && of.IsUser() || !users && of.IsClient() {
		return map[string]struct{}{of.Name(): {}}, nil
	}
	if o.who == nil {
		return nil, nil
	}
	if list = o.who.clients; users {
		list = o.who.users
	}
	res := o.who.clientsMatch
	if users {
		res = o.who.usersMatch
	}
	for _, re := range res {
		matches = append(matches, re.String())
	}
	return list, matches
}

// shadows tells whether every client that later is about is one of w.
func (w *whoIs) shadows(allow bool, later *Rule, of Subject) Cover {
	if w == nil {
		return SureCover
	}
	o := later.who
	if o == nil {
		o = &whoIs{}
	}
	for _, users := range []bool{true, false} {
		list, res := w.clients, w.clientsMatch
		if users {
			list, res = w.users, w.usersMatch
		}
		if list == nil && res == nil {
			continue
		}
		names, matches := later.namesOf(of, users)
		if names == nil && matches == nil {
			return NoCover
		}
		for name := range names {
			if !among(name, list, res) {
				return NoCover
			}
		}
		for _, m := range matches {
			same := false
			for _, re := range res {
				same = same || re.String() == m
			}
			if !same {
				return NoCover
			}
		}
	}
	if !subset(o.listeners, w.listeners) || !subset(o.certCommonNames, w.certCommonNames) || !w.networks(o) {
		return NoCover
	}
	if w.when == nil || o.when != nil && o.when.String() == w.when.String() && (!allow || later.allow) {
		return SureCover
	}
	return PerhapsCover
}

// subset tells whether a is in b, where nil is everything.
func subset(a, b map[string]struct{}) bool {
	if b == nil {
		return true
	}
	for name := range a {
		if _, in := b[name]; !in {
			return false
		}
	}
	return a != nil
}

func (w *whoIs) networks(o *whoIs) bool {
	if w.addresses == nil {
		return true
	}
	for _, p := range o.addresses {
		in := false
		for _, q := range w.addresses {
			in = in || q.Bits() <= p.Bits() && q.Contains(p.Addr())
		}
		if !in {
			return false
		}
	}
	return o.addresses != nil
}

// shadows tells whether p matches every topic that q, of the rule later, matches. allow is
// whether p is of an allow rule: those do not reach $ names by a leading wildcard.
func (p *pattern) shadows(allow bool, later *Rule, q *pattern, of Subject) Cover {
	if !later.allow && later.needs != 0 && (allow || p.text != q.text || p.eq != q.eq) {
		return NoCover // where its placeholder stands for nothing, it denies everything
	}
	switch {
	case p.text == q.text && p.eq == q.eq:
		if allow && !later.allow && !p.eq && q.levels[0].kind != literal {
			return PerhapsCover
		}
		return SureCover
	case p.eq:
		return NoCover
	case p.share || q.share:
		if !allow && p.text == "#" {
			return SureCover
		}
		return NoCover
	case q.text == "#" && p.text == "+/#":
		if allow && !later.allow {
			return PerhapsCover
		}
		return SureCover
	}
	return levelsShadow(p.spelt(), q.spelt(), allow, later, of)
}

func levelsShadow(pl, ql []level, allow bool, later *Rule, of Subject) Cover {
	c := SureCover
	if first := &ql[0]; allow && pl[0].kind != literal {
		switch {
		case first.kind == literal && strings.HasPrefix(first.before, "$"):
			return NoCover
		case first.kind != literal && !later.allow: // as a deny it reaches names with $, too
			c = PerhapsCover
		}
	}
	for i := range pl {
		l := &pl[i]
		switch {
		case l.kind == anyLevels:
			return c
		case i >= len(ql), ql[i].kind == anyLevels:
			return NoCover
		case l.kind == anyLevel:
		case ql[i] == *l:
		case ql[i].kind != literal || l.kind == literal || !standsFor(l, ql[i].before, later, of):
			return NoCover
		}
	}
	if len(pl) != len(ql) {
		return NoCover
	}
	return c
}

// standsFor tells whether a placeholder is this text for everybody that a rule is about.
func standsFor(l *level, text string, later *Rule, of Subject) bool {
	if l.kind != ofUser && l.kind != ofClient {
		return false
	}
	names, matches := later.namesOf(of, l.kind == ofUser)
	for name := range names {
		if !Expandable(name) || l.before+name+l.after != text {
			return false
		}
	}
	return len(names) > 0 && len(matches) == 0
}

// Stem is the literal levels that topic filter number i begins with, at most three: what
// covers it begins with some of them, or with none.
func (r *Rule) Stem(i int) []string {
	var out []string
	for _, l := range r.topics[i].levels[:min(indexLevels, len(r.topics[i].levels))] {
		if l.kind != literal || r.topics[i].share {
			break
		}
		out = append(out, l.before)
	}
	return out
}

// Placeheld tells whether topic filter number i holds a placeholder, and which is of the
// client identifier.
func (r *Rule) Placeheld(i int) (any, client bool) {
	for _, l := range r.topics[i].levels {
		any = any || l.kind >= ofUser
		client = client || l.kind == ofClient
	}
	return any, client
}

// Anybody tells whether the rule is for everybody: it names no user, client, certificate or
// network, and has no condition.
func (r *Rule) Anybody() bool {
	w := r.who
	return w == nil || w.users == nil && w.clients == nil && w.usersMatch == nil && w.clientsMatch == nil && w.certCommonNames == nil && w.addresses == nil && w.when == nil
}

// Names are the users, clients and common names that the rule lists, by the key that does.
func (r *Rule) Names() map[string][]string {
	if r.who == nil {
		return nil
	}
	out := map[string][]string{}
	for key, set := range map[string]map[string]struct{}{"users": r.who.users, "clients": r.who.clients, "cert_common_names": r.who.certCommonNames} {
		if len(set) > 0 {
			out[key] = slices.Sorted(maps.Keys(set))
		}
	}
	return out
}

// Listeners are those the rule names, in no order; none: it is for all.
func (r *Rule) Listeners() (names []string) {
	if r.who != nil {
		for name := range r.who.listeners {
			names = append(names, name)
		}
	}
	return names
}

// Condition is that of the rule; nil: it has none.
func (r *Rule) Condition() Condition {
	if r.who == nil {
		return nil
	}
	return r.who.when
}
