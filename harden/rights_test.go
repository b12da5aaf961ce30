package harden

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// Access implements Broker.
func (f *fake) Access(_ context.Context, q AccessQuestion) (AccessAnswer, error) {
	if f.access != nil {
		if a := f.access(q); a != (AccessAnswer{}) {
			return a, nil
		}
	}
	if f.has(cannotDeny) {
		return AccessAnswer{}, errors.New("there is no such operation")
	}
	return AccessAnswer{Allow: f.may(q.User, q.Topic), Rule: "deny: all (the last rule of every policy)"}, nil
}

// Rules implements Broker.
func (f *fake) Rules(context.Context) ([]string, error) {
	return append([]string{`allow: all, users: ["probe-1"], topics: ["x/#"] (temporary grant for probe-1)`}, f.rules...), nil
}

// What the rules let everybody is found, also where no entrance that can be reached from here
// shows it; who is named is listed, and no finding.
func TestGrantsForEverybodyAreFound(t *testing.T) {
	t.Parallel()
	rule := func(when func(q AccessQuestion) bool) func(AccessQuestion) AccessAnswer {
		return func(q AccessQuestion) AccessAnswer {
			if when(q) {
				return AccessAnswer{Allow: true, Rule: "allow: all (rules.yaml:7)"}
			}
			return AccessAnswer{}
		}
	}
	for name, c := range map[string]struct {
		fake  fakeChain
		flaws flaws
		state State
		want  string
	}{
		"good":                                  {fakeChain{rules: []string{`allow: all, users: ["boss"], topics: ["#"] (rules.yaml:3)`, `allow: publish, topics: ["#"] (rules.yaml:4)`}}, nil, Pass, `users: ["boss"]`},
		"# for everybody":                       {fakeChain{access: rule(func(q AccessQuestion) bool { return !q.Publish && q.Topic == "#" })}, nil, Fail, "subscribe to # by allow: all (rules.yaml:7)"},
		"the broker's own topics for everybody": {fakeChain{access: rule(func(q AccessQuestion) bool { return q.Topic == "$SYS/#" })}, nil, Fail, "subscribe to $SYS/#"},
		"publishes everywhere":                  {fakeChain{access: rule(func(q AccessQuestion) bool { return q.Publish })}, nil, Fail, "publish to any topic"},
		"for who has no name":                   {fakeChain{access: rule(func(q AccessQuestion) bool { return q.User == "" && q.Topic == "#" })}, nil, Fail, "a client without a name"},
		// These try to fool: nothing of it is seen from here.
		"from the internet only": {fakeChain{access: rule(func(q AccessQuestion) bool { return strings.HasPrefix(q.Address, "203.0.113.") && q.Topic == "#" })}, nil, Fail, "from 203.0.113."},
		"by IPv6 only":           {fakeChain{access: rule(func(q AccessQuestion) bool { return strings.HasPrefix(q.Address, "2001:") && q.Topic == "#" })}, nil, Fail, "from 2001:db8::"},
		"in other words":         {fakeChain{access: rule(func(q AccessQuestion) bool { return q.Topic == "+/+/#" })}, nil, Fail, "subscribe to +/+/#"},
		"in a group only":        {fakeChain{access: rule(func(q AccessQuestion) bool { return q.Topic == "$share/g/+/#" })}, nil, Fail, "subscribe to $share/g/+/#"},
		"denies all it is asked": {fakeChain{access: func(AccessQuestion) AccessAnswer { return AccessAnswer{Rule: "deny"} }}, nil, Unknown, "positive control"},
		"cannot be asked":        {fakeChain{}, flaws{cannotDeny}, Unknown, "no such operation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P4.2", "rules: "+name, c.state)
			f := newFake(t, c.flaws)
			f.fakeChain = c.fake
			e := &Env{Clock: f.env().Clock, Config: &config.Config{}, Broker: f, Step: time.Second}
			one, err := f.AddProbe(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			r := e.judgeGrants(t.Context(), &one)
			if r.State != c.state || !strings.Contains(observed(&r), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", r.State, c.state, c.want, observed(&r))
			}
		})
	}
}

// A rule on one line is broad if it lets somebody read everything.
func TestBroadRules(t *testing.T) {
	for rule, want := range map[string]bool{
		`allow: all, topics: ["#"] (a:1)`:                            true,
		`allow: subscribe, users: ["a]b"], topics: ["x", "+/#"] (a)`: true,
		`allow: subscribe, topics: [{eq: "#"}] (a:1)`:                true,
		`allow: publish, topics: ["#"] (a:1)`:                        false,
		`deny: all, topics: ["#"] (a:1)`:                             false,
		`allow: all, topics: ["a/#"] (a:1)`:                          false,
		`allow: all, users: ["#"], topics: ["a"] (a:1)`:              false,
	} {
		if broad(rule) != want {
			t.Errorf("%s: broad %v", rule, !want)
		}
	}
}
