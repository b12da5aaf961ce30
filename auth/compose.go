package auth

import "slices"

// The names of authz.order that are not the operator's.
const (
	SourceRules   = "rules_file"
	SourceBuiltin = "builtin"
	// SourceClaims is the rules that came with authentication. They are judged only where
	// the order names them: who may say who a client is may not therefore say what it may.
	SourceClaims = "claims"
)

// Source is one place where rules come from. Rules, Book or neither is set: with neither
// the rules are those of each client alone, which its Claims have under the name.
type Source struct {
	Name  string
	Rules *Policy // the same for all
	Book  *Book
}

// Compose is the policy of several sources, judged in this order: the first rule that
// matches decides, whatever a later source says. A client that a source was not asked
// about (its Claims have nothing of that name) is denied from there on, but for
// SourceClaims, which only some authenticators fill.
func Compose(order ...Source) *Policy {
	p := &Policy{}
	for _, s := range order {
		switch {
		case s.Rules != nil:
			for _, q := range s.Rules.parts {
				if q.source == "" && q.set != nil && q.grants == nil {
					q = part{source: s.Name, set: q.set.named(s.Name)}
				}
				p.parts = append(p.parts, q)
			}
		case s.Book != nil || s.Name == SourceBuiltin:
			p.parts = append(p.parts, s.Book.parts()...)
		default:
			p.parts = append(p.parts, part{source: s.Name, must: s.Name != SourceClaims})
		}
	}
	return p
}

// named is s with the name of its source in each rule.
func (s *ruleSet) named(source string) *ruleSet {
	out := &ruleSet{rules: slices.Clone(s.rules), index: s.index}
	for i := range out.rules {
		out.rules[i].Source = source
	}
	return out
}

// parts are clients, users and everybody, in this order as EMQX has it.
func (b *Book) parts() []part {
	if b == nil {
		b = &Book{}
	}
	all := b.all
	if all == nil {
		all = &ruleSet{}
	}
	return []part{
		{source: SourceBuiltin, branch: &b.clients, by: ofClients},
		{source: SourceBuiltin, branch: &b.users, by: ofUsers},
		{source: SourceBuiltin, set: all},
	}
}

// SetBook puts other built-in rules in force at their place in the order, under the next
// epoch, and leaves all else as it is, temporary grants too. Without a place for them it
// changes nothing.
func (a *Authorizer) SetBook(b *Book) {
	for {
		old := a.current.Load()
		if old == nil {
			return
		}
		next := &Policy{epoch: old.epoch + 1}
		fresh := b.parts()
		for _, p := range old.parts {
			if p.source == SourceBuiltin {
				if len(fresh) == 0 {
					continue
				}
				p, fresh = fresh[0], fresh[1:]
			}
			next.parts = append(next.parts, p)
		}
		if len(fresh) > 0 {
			return
		}
		if a.current.CompareAndSwap(old, next) {
			return
		}
	}
}

// Sources are the names of the order, as the policy has it.
func (p *Policy) Sources() (names []string) {
	if p == nil {
		return nil
	}
	for i := range p.parts {
		if n := p.parts[i].source; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
