package auth

import (
	"fmt"
	"strings"
)

// GrantsMax bounds the temporary grants that are there at the same time.
const GrantsMax = 1_000

// Grant puts one allow rule for one user before the rules in force: all on
// filter. It is a rule like any other, in memory only: Rules lists it, a denial
// beyond it names the rule that denies, and the next Swap leaves it out.
func (a *Authorizer) Grant(user, filter string) error {
	one := RuleSpec{
		ID: grantID(user), Allow: true, Publish: true, Subscribe: true,
		Users: []string{user}, Topics: []TopicSpec{{Filter: filter}},
	}
	for {
		old := a.current.Load()
		next, err := old.with(&one)
		if err != nil {
			return err
		}
		if a.current.CompareAndSwap(old, next) {
			return nil
		}
	}
}

// Revoke takes back what Grant gave a user, if the rules in force still have it; had tells
// whether they did. What the user has open is judged by the rules without it from then on.
func (a *Authorizer) Revoke(user string) (had bool) {
	for {
		old := a.current.Load()
		next := old.without(grantID(user))
		if next == nil {
			return false
		}
		if a.current.CompareAndSwap(old, next) {
			return true
		}
	}
}

// grantID names the rule of a grant. A rule of a file has a file, and so cannot be
// taken for one whatever its id is.
func grantID(user string) string { return grantPrefix + user }

const grantPrefix = "temporary grant for "

// Temporary tells whether the rule is one that Grant has made, which is nobody's policy.
func (r *Rule) Temporary() bool {
	return r.File == "" && r.Source == "" && strings.HasPrefix(r.ID, grantPrefix)
}

// with is p with one more rule, for one user, before the others.
func (p *Policy) with(spec *RuleSpec) (*Policy, error) {
	next := &Policy{epoch: p.Epoch() + 1}
	var specs []RuleSpec
	if p != nil {
		next.parts = p.parts
		if len(p.parts) > 0 && p.parts[0].grants != nil {
			specs, next.parts = p.parts[0].grants, p.parts[1:]
		}
	}
	if len(specs) >= GrantsMax {
		return nil, fmt.Errorf("there are %d temporary grants already, which is the most there can be", len(specs))
	}
	return next.granting(append([]RuleSpec{*spec}, specs...))
}

// granting puts grants before the parts of p, which is nobody else's yet.
func (p *Policy) granting(specs []RuleSpec) (*Policy, error) {
	if len(specs) == 0 {
		return p, nil
	}
	grants, err := Compile(specs)
	if err != nil {
		return nil, err
	}
	grants.parts[0].grants = specs
	p.parts = append(grants.parts, p.parts...)
	return p, nil
}

// without is p without the grant of that id, nil if it has none.
func (p *Policy) without(id string) *Policy {
	if p == nil || len(p.parts) == 0 {
		return nil
	}
	var left []RuleSpec
	for _, g := range p.parts[0].grants {
		if g.ID != id {
			left = append(left, g)
		}
	}
	if len(left) == len(p.parts[0].grants) {
		return nil
	}
	next, err := (&Policy{parts: p.parts[1:], epoch: p.epoch + 1}).granting(left)
	if err != nil {
		panic("BUG: auth: a grant that was compiled before: " + err.Error())
	}
	return next
}
