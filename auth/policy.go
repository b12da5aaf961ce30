package auth

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/mqtt"
)

// RulesMax bounds the rules of one policy, because an uncached judgement may walk
// them all. Per-user grants are written with ${username}, not one by one.
const RulesMax = 10_000

// ListMax bounds each list of one rule.
const ListMax = 1_000

// TopicSpec is one topic filter of a rule as written. With Eq the subscription's
// own text must be the filter: {Filter: "#", Eq: true} is a subscription to "#"
// itself and no other.
type TopicSpec struct {
	Filter string
	Eq     bool
}

// RuleSpec is a rule as written. A nil list means any; Topics must not be empty.
type RuleSpec struct {
	File               string
	Line               int
	ID                 string // "": its number is used
	Allow              bool
	Publish, Subscribe bool
	Users, Clients     []string
	// UsersMatch and ClientsMatch are regular expressions (RE2) that the whole name must
	// match; beside Users and Clients, one of both is enough.
	UsersMatch, ClientsMatch []string
	Addresses                []netip.Prefix
	Listeners                []string
	CommonNames              []string // of the client's certificate
	When                     Condition
	Topics                   []TopicSpec
	QoS                      []mqtt.QoS
	Retain                   *bool
}

// RuleError says which part of which rule cannot be compiled.
type RuleError struct {
	Rule   int    // index into the rules given
	Key    string // topics, users, ...
	Item   int    // index into that list
	Value  string // as written, shortened
	Reason string // what is wrong and what to write instead
}

// Error names the key, the value and the remedy.
func (e *RuleError) Error() string {
	return fmt.Sprintf("rule %d: %s: %s", e.Rule+1, e.Key, e.Problem())
}

// Problem is Error without the place, for callers that know file and line.
func (e *RuleError) Problem() string {
	if e.Value == "" {
		return e.Reason
	}
	return fmt.Sprintf("%q %s", e.Value, e.Reason)
}

// Policy is an ordered list of rules, compiled. The first rule that matches
// decides; after the last one everything is denied. It is immutable and safe for
// concurrent use; a nil Policy denies everything.
type Policy struct {
	parts []part
	epoch uint64
}

// Compile checks and compiles rules. It keeps nothing of the caller's slices. The
// error is a *RuleError.
func Compile(specs []RuleSpec) (*Policy, error) { return CompileInPieces(specs, func() {}) }

// CompileInPieces is Compile for who lets others go first in the middle of it: rest is called again and again.
func CompileInPieces(specs []RuleSpec, rest func()) (*Policy, error) {
	if len(specs) > RulesMax {
		return nil, &RuleError{Rule: RulesMax, Key: "rules", Reason: fmt.Sprintf("%d rules; at most %d are allowed, use ${username} instead of a rule per user", len(specs), RulesMax)}
	}
	rules := make([]Rule, len(specs))
	for i := range specs {
		rest()
		if err := compileRule(&rules[i], &specs[i], i); err != nil {
			err.Rule = i
			return nil, err
		}
	}
	return &Policy{parts: []part{{set: setOfRules(rules, specs, rest)}}}, nil
}

func compileRule(r *Rule, s *RuleSpec, i int) *RuleError {
	*r = Rule{File: s.File, Line: s.Line, ID: s.ID, Text: describe(s), allow: s.Allow, publish: s.Publish, subscribe: s.Subscribe}
	if r.ID == "" {
		r.ID = fmt.Sprintf("rule %d", i+1)
	}
	switch {
	case !s.Publish && !s.Subscribe:
		return &RuleError{Key: "action", Reason: "is missing; write publish, subscribe or all"}
	case len(s.Topics) == 0:
		return &RuleError{Key: "topics", Reason: `is missing or empty; write the topic filters, "#" for all`}
	case s.Retain != nil && s.Subscribe:
		return &RuleError{Key: "retain", Reason: "is about publishing only; write `publish` instead of `all` or `subscribe`, or a rule of its own"}
	}
	for _, l := range []struct {
		key string
		n   int
	}{{"users", len(s.Users)}, {"clients", len(s.Clients)}, {"addresses", len(s.Addresses)}, {"listeners", len(s.Listeners)}, {"cert_common_names", len(s.CommonNames)}, {"topics", len(s.Topics)}, {"qos", len(s.QoS)}} {
		if l.n > ListMax {
			return &RuleError{Key: l.key, Item: ListMax, Reason: fmt.Sprintf("%d entries; at most %d are allowed, split the rule", l.n, ListMax)}
		}
	}
	if err := compileWho(r, s); err != nil {
		return err
	}
	for j, q := range s.QoS {
		if q > 2 {
			return &RuleError{Key: "qos", Item: j, Value: fmt.Sprint(uint8(q)), Reason: "is not a QoS; write 0, 1 or 2"}
		}
		r.qos |= 1 << q
	}
	if s.Retain != nil {
		r.retain = retainFalse
		if *s.Retain {
			r.retain = retainTrue
		}
	}
	r.topics = make([]pattern, 0, len(s.Topics))
	for j, t := range s.Topics {
		pat, err := compilePattern(t, s.Allow, s.Publish, s.Subscribe)
		if err != nil {
			return &RuleError{Key: "topics", Item: j, Value: shorten(t.Filter), Reason: err.Error()}
		}
		for _, l := range pat.levels {
			r.needs |= needOf[l.kind]
		}
		r.topics = append(r.topics, pat)
	}
	return nil
}

// plainPrefix turns an IPv4 network written in its IPv6 form into IPv4, the form
// in which client addresses are compared.
func plainPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, fmt.Errorf("is not a network; write for example 10.0.0.0/8 or 2001:db8::/32")
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("mixes IPv4 and IPv6; write the two networks apart")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("has bits set behind its mask; write %s, or /%d for one address", p.Masked(), p.Addr().BitLen())
	}
	return p, nil
}

// shorten keeps a value of a file short enough for a message.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// Epoch numbers the policies an Authorizer has served; 0 before it served this
// one. Whoever keeps a verdict keeps the epoch with it.
func (p *Policy) Epoch() uint64 {
	if p == nil {
		return 0
	}
	return p.epoch
}

// Rules lists the rules that are the same for all clients, in the order they are judged,
// the one that nobody can remove last. Those of one user or client are asked for by name.
func (p *Policy) Rules() []*Rule {
	var out []*Rule
	if p != nil {
		for i := range p.parts {
			if set := p.parts[i].set; set != nil {
				for j := range set.rules {
					out = append(out, &set.rules[j])
				}
			}
		}
	}
	return append(out, last)
}

// Authorizer holds the policy in force. The zero Authorizer denies everything. It
// is safe for concurrent use.
type Authorizer struct{ current atomic.Pointer[Policy] }

// NewAuthorizer serves p at epoch 1.
func NewAuthorizer(p *Policy) *Authorizer {
	a := &Authorizer{}
	a.Swap(p)
	return a
}

// Policy is the policy in force; nil, which denies everything, before the first
// Swap.
func (a *Authorizer) Policy() *Policy { return a.current.Load() }

// Clear takes the policy away: Policy is nil again.
func (a *Authorizer) Clear() { a.current.Store(nil) }

// Renew puts the policy in force again, under the next epoch: what was remembered of its
// verdicts is judged anew.
func (a *Authorizer) Renew() {
	for {
		old := a.current.Load()
		if old == nil {
			return
		}
		next := *old
		next.epoch++
		if a.current.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Swap puts p in force under the next epoch; nil puts "deny everything" in force.
// Verdicts already given stand until their holders see the new epoch.
func (a *Authorizer) Swap(p *Policy) {
	for {
		old := a.current.Load()
		next := &Policy{}
		if p != nil {
			*next = *p // the compiled parts are immutable and shared
		}
		next.epoch = old.Epoch() + 1
		if a.current.CompareAndSwap(old, next) {
			return
		}
	}
}
