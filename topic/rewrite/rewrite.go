// Package rewrite gives topics other names: what old devices publish and subscribe
// to becomes what the rest of a fleet calls it. Rules are compiled once and then
// are a value; applying them opens nothing, locks nothing and remembers nothing.
//
// It grants nothing. The result is judged like any other topic, after the
// rewriting (A114). A rule that cannot be applied to a client is an error, and the
// caller refuses what the client asked for: the topic as it was is not what the
// operator wanted, and half a result would be somebody else's (A094).
//
// As in EMQX the last rule whose source matches decides, whether its regular
// expression matches or not, so a later rule is the exception to an earlier one.
// Unlike there, a placeholder without a value is an error and not its own text.
package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/redoubtmq/redoubt/topic"
	"github.com/redoubtmq/redoubt/topic/template"
)

// RulesMax is how many rules there may be. Every topic is held against the source
// of each, so they are paid for with every message. The number is EMQX's.
const RulesMax = 20

// Action is what a rule is about.
type Action string

// The actions.
const (
	Publish   Action = "publish"
	Subscribe Action = "subscribe" // and to unsubscribe
	All       Action = "all"       // both
)

// Rule is one rule as the operator wrote it.
type Rule struct {
	Action Action
	// Source is a topic filter. The rule is about names that it matches and about
	// filters that it covers.
	Source string
	// RE is a regular expression (RE2: linear in the length of a topic whatever it
	// says). It is not anchored; what it does not match stays as it is.
	RE string
	// Dest takes the place of the whole topic. It may hold $1 to $9, groups of RE,
	// and ${clientid}, ${username} or ${listener}.
	Dest string
}

// Rules are rules that were understood. They never change; nil has none.
type Rules struct {
	publish, subscribe []rule // in the order in which they are asked
}

type rule struct {
	source string
	re     *regexp.Regexp
	dest   template.Template
}

// RuleError says which rule is refused and why.
type RuleError struct {
	Rule   int    // index
	Key    string // action, source, re or dest; "" for the rules together
	Reason string // a clause about the value of Key
}

func (e *RuleError) Error() string {
	if e.Key == "" {
		return "rewrite rules: " + e.Reason
	}
	return fmt.Sprintf("rewrite rule %d: %s %s", e.Rule+1, e.Key, e.Reason)
}

// ErrNamespace is what a rule cannot be applied for, besides the errors of package
// template and of a topic that is not valid.
var ErrNamespace = errors.New("the result would begin with a $ that neither the topic nor the rule begins with")

// Compile reads rules. The error is a *RuleError.
func Compile(rules []Rule) (*Rules, error) {
	if len(rules) > RulesMax {
		return nil, &RuleError{Reason: fmt.Sprintf("are %d; at most %d are allowed, because every topic is held against each", len(rules), RulesMax)}
	}
	out := &Rules{}
	for i := len(rules) - 1; i >= 0; i-- {
		r, key, err := compile(&rules[i])
		if err != nil {
			return nil, &RuleError{i, key, err.Error()}
		}
		if rules[i].Action != Subscribe {
			out.publish = append(out.publish, r)
		}
		if rules[i].Action != Publish {
			out.subscribe = append(out.subscribe, r)
		}
	}
	return out, nil
}

func compile(in *Rule) (out rule, key string, err error) {
	switch in.Action {
	case Publish, Subscribe, All:
	default:
		return rule{}, "action", fmt.Errorf("is %q; there are publish, subscribe and all", in.Action)
	}
	if err := topic.ValidFilter(in.Source); err != nil {
		return rule{}, "source", fmt.Errorf("is no topic filter: %w", err)
	}
	for _, wrapper := range []string{"$share/", "$exclusive/"} {
		if strings.HasPrefix(in.Source, wrapper) {
			return rule{}, "source", fmt.Errorf("begins with %s, which is taken off before rules are asked. Write the filter behind it", wrapper)
		}
		if strings.HasPrefix(in.Dest, wrapper) {
			return rule{}, "dest", fmt.Errorf("begins with %s, which a rule cannot make of a topic", wrapper)
		}
	}
	out.source = strings.Clone(in.Source)
	if out.re, err = regexp.Compile(in.RE); err != nil {
		return rule{}, "re", fmt.Errorf("is no regular expression of RE2: %w", err)
	}
	if in.Dest == "" {
		return rule{}, "dest", errors.New("is empty, and a topic has at least one character [MQTT-4.7.3-1]")
	}
	if out.dest, err = template.ParseGroups(in.Dest, out.re.NumSubexp()); err != nil {
		return rule{}, "dest", err
	}
	if err := out.plausible(in.Action); err != nil {
		return rule{}, "dest", fmt.Errorf("makes no topic: %w", err)
	}
	return out, "", nil
}

// plausible tells whether short names and groups of one letter make a topic.
func (u *rule) plausible(a Action) error {
	at := make([]int, 2*(template.GroupsMax+1))
	for i := range at {
		at[i] = i % 2
	}
	b, err := u.dest.AppendGroups(nil, template.Values{ClientID: "c", Username: "u", Listener: "l"}, []byte("g"), at)
	if err == nil && a == Subscribe {
		return topic.ValidFilter(string(b))
	}
	if err == nil {
		return topic.ValidName(b)
	}
	return err
}

// Publish answers what a topic name is called: name itself if no rule changes it,
// or the result appended to dst. It allocates nothing where no source matches.
// name is a valid topic name, and so is the result; how long and how deep the
// operator lets it be is the caller's question.
func (r *Rules) Publish(dst, name []byte, v template.Values) (out []byte, changed bool, err error) {
	if r == nil {
		return name, false, nil
	}
	for i := range r.publish {
		u := &r.publish[i]
		if !topic.Match(u.source, name) {
			continue
		}
		out, changed, err = u.apply(dst, name, v)
		if err == nil && changed {
			err = topic.ValidName(out[len(dst):])
		}
		if err != nil {
			return nil, false, err
		}
		if !changed {
			return name, false, nil
		}
		return out, true, nil
	}
	return name, false, nil
}

// Subscribe answers what a topic filter is called, for SUBSCRIBE and UNSUBSCRIBE:
// filter itself if no rule changes it. filter is valid and without $share/ and
// $exclusive/, and the result is. A filter that a source does not cover whole is
// not changed, whatever else it matches.
func (r *Rules) Subscribe(filter string, v template.Values) (out string, changed bool, err error) {
	if r == nil {
		return filter, false, nil
	}
	for i := range r.subscribe {
		u := &r.subscribe[i]
		if !topic.Covers(u.source, filter) {
			continue
		}
		b, changed, err := u.apply(nil, []byte(filter), v)
		if err != nil || !changed {
			return filter, false, err
		}
		if err := topic.ValidFilter(string(b)); err != nil {
			return filter, false, err
		}
		return string(b), true, nil
	}
	return filter, false, nil
}

// apply appends what the rule makes of src. changed is false if the regular
// expression does not match.
func (u *rule) apply(dst, src []byte, v template.Values) (out []byte, changed bool, err error) {
	at := u.re.FindSubmatchIndex(src)
	if at == nil {
		return dst, false, nil
	}
	out, err = u.dest.AppendGroups(dst, v, src, at)
	if err != nil {
		return dst, false, err
	}
	if !u.mayName(out[len(dst):], src) {
		return dst, false, ErrNamespace
	}
	return out, true, nil
}

// mayName tells whether the result may begin as it does. The namespaces that begin
// with $ mean something to the broker: only the operator, or a topic that was in
// one already, may lead there.
func (u *rule) mayName(result, src []byte) bool {
	if len(result) == 0 || result[0] != '$' {
		return true // what is empty is refused as a topic
	}
	first, _, _ := strings.Cut(string(result), "/")
	begins := u.dest.Begins()
	if begins == u.dest.String() {
		return true // the operator wrote every character of it
	}
	if level, _, whole := strings.Cut(begins, "/"); whole && level == first {
		return true
	}
	before, _, _ := strings.Cut(string(src), "/")
	return before == first
}
