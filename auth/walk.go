package auth

// part is one stretch of a policy: the rules of a source, or one of the three kinds
// that a Book has.
type part struct {
	source string
	set    *ruleSet // the same for all clients; nil: see below
	branch *branch  // of a Book
	by     subjectKind
	grants []RuleSpec // what set was compiled from, where the rules are temporary grants
	// must: a client whose Claims have no rules of this source has not been asked about,
	// and is denied whatever no earlier source has decided.
	must bool
}

// walk visits the rules that can concern an access, in their order.
type walk struct {
	parts  []part
	action Action
	super  bool
	merge  merge
	own    []Rule // one after the other, without an index
}

// walk begins one. A nil p has no rules.
func (p *Policy) walk(a Action, by *Principal) walk {
	w := walk{action: a, super: by.Claims != nil && by.Claims.Superuser}
	if p != nil {
		w.parts = p.parts
	}
	return w
}

// next answers nil after the last rule. Who asks and for which topic is given each time:
// a walk that held it would have it allocated.
func (w *walk) next(s *subject, topic *stems) *Rule {
	if w.super {
		w.super = false
		return superuser
	}
	for {
		if r := w.merge.next(); r != nil {
			return r
		}
		for len(w.own) > 0 {
			r := &w.own[0]
			w.own = w.own[1:]
			if r.takes(w.action) {
				return r
			}
		}
		if len(w.parts) == 0 {
			return nil
		}
		p := &w.parts[0]
		w.parts = w.parts[1:]
		if r := w.enter(p, s, topic); r != nil {
			return r
		}
	}
}

// enter goes on with the rules of a part; a rule it answers stands for the part.
func (w *walk) enter(p *part, s *subject, topic *stems) *Rule {
	by := s.by
	switch {
	case p.set != nil:
		w.merge.begin(p.set.rules, &p.set.index[w.action], by, topic)
	case p.branch != nil:
		name := by.ClientID
		if p.by == ofUsers {
			name = by.Username
		}
		if name != "" {
			w.own = p.branch.of(name)
		}
	default:
		own, asked := by.Claims.own(p.source)
		if by.Claims.Unsure() && (p.must || !s.claimless()) {
			s.unsure = true
		}
		if !asked && p.must {
			return unasked
		}
		w.own = own
	}
	return nil
}

// own are the rules of a source; asked is false if there is nothing of it.
func (c *Claims) own(source string) (rules []Rule, asked bool) {
	if c == nil {
		return nil, false
	}
	for i := range c.Rules {
		if c.Rules[i].Source == source {
			return c.Rules[i].Rules, true
		}
	}
	return nil, false
}

// takes tells whether the rule is about an action.
func (r *Rule) takes(a Action) bool {
	if a == Publish {
		return r.publish
	}
	return r.subscribe
}

// The rules that nobody writes.
var (
	// last is the rule no file can remove.
	last = &Rule{ID: "default", Text: "deny: all (the last rule of every policy)"}
	// superuser stands before all sources. As any rule it reaches no $ namespace that it
	// does not spell out: those are for the rules to give.
	superuser = fixed("superuser", true)
	// unasked stands for the rules of a source that has not answered for a client.
	unasked = fixed("unasked", false)
)

func fixed(id string, allow bool) *Rule {
	r := &Rule{}
	spec := RuleSpec{ID: id, Allow: allow, Publish: true, Subscribe: true, Topics: []TopicSpec{{Filter: "#"}}}
	if err := compileRule(r, &spec, 0); err != nil {
		panic("BUG: auth: " + err.Error())
	}
	if !allow {
		r.Text = "deny: all (a source of rules has not answered for this client)"
	}
	return r
}
