package auth

import "fmt"

// Grant puts one allow rule for one user before the rules in force: all on
// filter. It is a rule like any other, in memory only: Rules lists it, a denial
// beyond it names the rule that denies, and the next Swap leaves it out.
func (a *Authorizer) Grant(user, filter string) error {
	one, err := Compile([]RuleSpec{{
		ID: grantID(user), Allow: true, Publish: true, Subscribe: true,
		Users: []string{user}, Topics: []TopicSpec{{Filter: filter}},
	}})
	if err != nil {
		return err
	}
	for {
		old := a.current.Load()
		next, err := old.with(user, &one.rules[0])
		if err != nil {
			return err
		}
		if a.current.CompareAndSwap(old, next) {
			return nil
		}
	}
}

// Revoke takes back what Grant gave a user, if the rules in force still have it.
// Whoever calls it closes what the user has open first.
func (a *Authorizer) Revoke(user string) {
	for {
		old := a.current.Load()
		next := old.without(grantID(user))
		if next == nil || a.current.CompareAndSwap(old, next) {
			return
		}
	}
}

// grantID names the rule of a grant. A rule of a file has a file, and so cannot be
// taken for one whatever its id is.
func grantID(user string) string { return "temporary grant for " + user }

// with is p with one more rule, for one user, before the others.
func (p *Policy) with(user string, r *Rule) (*Policy, error) {
	var rules []Rule
	if p != nil {
		rules = p.rules
	}
	if len(rules) >= RulesMax {
		return nil, fmt.Errorf("there are %d rules already, which is the most one policy holds", len(rules))
	}
	next := &Policy{rules: append([]Rule{*r}, rules...), epoch: p.Epoch() + 1}
	for i := range next.index {
		next.index[i].user = map[string][]int32{}
		if p != nil {
			p.index[i].moved(&next.index[i], func(rule int32) (int32, bool) { return rule + 1, true })
		}
		next.index[i].user[user] = append([]int32{0}, next.index[i].user[user]...)
	}
	return next, nil
}

// without is p without the grant of that id, nil if it has none.
func (p *Policy) without(id string) *Policy {
	if p == nil {
		return nil
	}
	for at := range p.rules {
		if p.rules[at].File != "" || p.rules[at].ID != id {
			continue
		}
		next := &Policy{rules: append(append([]Rule{}, p.rules[:at]...), p.rules[at+1:]...), epoch: p.epoch + 1}
		for i := range next.index {
			next.index[i].user = map[string][]int32{}
			p.index[i].moved(&next.index[i], func(rule int32) (int32, bool) {
				if rule > int32(at) {
					return rule - 1, true
				}
				return rule, rule != int32(at)
			})
		}
		return next
	}
	return nil
}

// moved fills to with the rules of x under the numbers to gives them.
func (x *index) moved(to *index, number func(int32) (int32, bool)) {
	renumber := func(rules []int32) (out []int32) {
		for _, r := range rules {
			if n, kept := number(r); kept {
				out = append(out, n)
			}
		}
		return out
	}
	to.anyone = renumber(x.anyone)
	for user, rules := range x.user {
		if own := renumber(rules); len(own) > 0 {
			to.user[user] = own
		}
	}
}
