package auth

import "strings"

// Effect is what a rule can do about one client.
type Effect uint8

// The effects.
const (
	// Decides: the rule decides where it matches.
	Decides Effect = iota
	// NeverMatches: an allow rule that grants this client nothing, because something it
	// looks at is not known of it.
	NeverMatches
	// DeniesAll: a deny rule that denies this client everything, because a placeholder stands
	// for nothing and what it protects is not known, or because a source has not answered.
	DeniesAll
	// NotSure: the client has proved nothing since the process began, and what it proves
	// when it comes back could decide whether the rule is about it.
	NotSure
)

var effectNames = [...]string{"decides", "never_matches", "denies_everything", "not_sure"}

// String is the word of the API.
func (e Effect) String() string { return effectNames[e] }

// Standing is one rule as it stands for one client.
type Standing struct {
	Rule    *Rule
	Source  string   // of authz.order; "" for a temporary grant and what nobody writes
	Filters []string // its topic filters with the placeholders filled in, as far as they stand for something
	Effect  Effect
	Why     string // what is to know of the effect; empty: nothing
}

// Effective calls fn for the rules that are about a client, in the order they are asked, and
// at last for the one that nobody can remove, until fn answers false. Rules for others, and
// those whose condition does not hold for it, are passed over. It walks all rules, which
// takes milliseconds where there are very many: it answers operators, and is not for a loop.
func (p *Policy) Effective(by *Principal, fn func(Standing) bool) {
	s := subjectOf(by)
	if by.Claims != nil && by.Claims.Superuser && !fn(Standing{Rule: superuser, Filters: superuser.Filters()}) {
		return
	}
	if p != nil {
		for i := range p.parts {
			if !p.parts[i].effective(&s, fn) {
				return
			}
		}
	}
	fn(Standing{Rule: last})
}

// effective is Effective for one part.
func (p *part) effective(s *subject, fn func(Standing) bool) (more bool) {
	rules, asked := p.of(s.by)
	if !asked {
		st := Standing{Rule: unasked, Source: p.source, Filters: unasked.Filters(), Effect: DeniesAll, Why: "the source " + p.source + " has not answered for this client"}
		if s.by.Claims.Unsure() {
			st.Effect, st.Why = NotSure, "the rules of "+p.source+" are read when the client comes back"
		}
		return fn(st)
	}
	for i := range rules {
		st, about := rules[i].standing(s)
		if st.Source = p.source; about && !fn(st) {
			return false
		}
	}
	return true
}

// of are the rules of the part that are looked at for a client; asked is false where its
// source has not answered.
func (p *part) of(by *Principal) (rules []Rule, asked bool) {
	switch {
	case p.set != nil:
		return p.set.rules, true
	case p.branch != nil && p.by == ofUsers:
		return p.branch.of(by.Username), true
	case p.branch != nil:
		return p.branch.of(by.ClientID), true
	}
	rules, asked = by.Claims.own(p.source)
	return rules, asked || !p.must
}

// standing tells how the rule stands for a client, and whether it is about it at all.
func (r *Rule) standing(s *subject) (st Standing, about bool) {
	if !r.concerns(s) {
		return st, false
	}
	st = Standing{Rule: r, Filters: make([]string, len(r.topics))}
	empty := 0 // filters with a placeholder that stands for nothing
	for i := range r.topics {
		text, whole := r.topics[i].filled(s)
		if st.Filters[i] = text; !whole {
			empty++
		}
	}
	const nothing = "a placeholder stands for nothing: the client has no such name, or one that holds + # or /, or starts with $"
	state, why := r.condition(s)
	switch {
	case state == isNot:
		return st, false
	case state == isUnsure || empty > 0 && s.by.Claims.Unsure() && r.needs&(needCert|needAttr) != 0:
		st.Effect, st.Why = NotSure, "what it looks at is known when the client comes back"
	case state == isUnknown && r.allow:
		st.Effect, st.Why = NeverMatches, why
	case empty > 0 && !r.allow:
		st.Effect, st.Why = DeniesAll, nothing
	case state == isUnknown:
		st.Why = why + "; it is taken to hold"
	case empty == len(r.topics):
		st.Effect, st.Why = NeverMatches, nothing
	case empty > 0:
		st.Why = "some of its filters never match: " + nothing
	}
	return st, true
}

// unconditional tells whether nothing but names, listeners and addresses is asked.
func (w *whoIs) unconditional() bool {
	return w == nil || w.when == nil && w.certCommonNames == nil
}

// holding is whether what a rule asks for beside names and addresses is so.
type holding uint8

const (
	isSo holding = iota
	isNot
	isUnknown
	isUnsure
)

// condition is what holds asks, with the reason.
func (r *Rule) condition(s *subject) (holding, string) {
	w := r.who
	if w.unconditional() {
		return isSo, ""
	}
	if s.by.Claims.Unsure() {
		return isUnsure, ""
	}
	if w.certCommonNames != nil {
		if _, ok := w.certCommonNames[s.by.commonName()]; !ok {
			return isNot, ""
		}
	}
	if w.when == nil {
		return isSo, ""
	}
	ok, err := w.when.Holds(s.by)
	switch {
	case err != nil:
		return isUnknown, "its condition cannot be judged for this client: " + err.Error()
	case !ok:
		return isNot, ""
	}
	return isSo, ""
}

// filled is the filter with what its placeholders stand for; those that stand for nothing
// are left as they are, and it is not whole.
func (p *pattern) filled(s *subject) (text string, whole bool) {
	texts := strings.Split(p.text, "/")
	whole = true
	for i := range p.levels {
		l := &p.levels[i]
		if l.kind < ofUser {
			continue
		}
		v, ok := s.value(l)
		if l.kind == ofHost {
			v, ok = s.by.Addr.Unmap().WithZone("").String(), s.by.Addr.IsValid()
		}
		if ok {
			texts[i] = l.before + v + l.after
		}
		whole = whole && ok
	}
	return strings.Join(texts, "/"), whole
}

// When is the condition of the rule as it was written; empty: it has none.
func (r *Rule) When() string {
	if r.who == nil || r.who.when == nil {
		return ""
	}
	return r.who.when.String()
}
