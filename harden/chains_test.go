package harden

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// Chains implements Broker: each listener has the chain [first, second], and second has a
// condition that does not hold for clients nobody knows.
func (f *fake) Chains(context.Context) ([]ChainTrial, error) {
	if f.has(cannotDeny) {
		return nil, errors.New("there is no such operation")
	}
	both := []string{"first", "second"}
	var all []ChainTrial
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		all = append(all, ChainTrial{l.Name, both, []ChainCase{
			{Down: "first", Reached: true, Asked: both[:1], Result: "unavailable", Answers: 1},
			{Down: "second", Asked: both[:1], Result: "deny", Answers: 1},
			{Asked: both[:1], Result: "deny", Answers: 1},
			{Down: "first", Forced: true, Reached: true, Asked: both[:1], Result: "unavailable", Answers: 1},
			{Down: "second", Forced: true, Reached: true, Asked: both, Result: "unavailable", Answers: 1},
			{Forced: true, Asked: both, Result: "deny", Answers: 1},
			{Knows: "second", Forced: true, Asked: both, Result: "allow", Answers: 1},
		}})
	}
	if f.chains != nil {
		all = f.chains(all)
	}
	return all, nil
}

// Chains that let in at their end, or past an authenticator that cannot tell, are found; what
// was not tried, or proves nothing, is not taken for good.
func TestChainsThatLetIn(t *testing.T) {
	t.Parallel()
	change := func(i int, with ChainCase) func([]ChainTrial) []ChainTrial {
		return func(all []ChainTrial) []ChainTrial { all[1].Cases[i] = with; return all }
	}
	without := func(i int) func([]ChainTrial) []ChainTrial {
		return func(all []ChainTrial) []ChainTrial {
			all[1].Cases = slices.Delete(all[1].Cases, i, i+1)
			return all
		}
	}
	both := []string{"first", "second"}
	for name, c := range map[string]struct {
		chains func([]ChainTrial) []ChainTrial
		flaws  flaws
		state  State
		want   string
	}{
		"good": {nil, nil, Pass, "listener b: second cannot tell, as with a back end that is down, all conditions taken as met: unavailable; asked: first, second"},
		"denies instead of saying that it cannot tell": {change(0, ChainCase{Down: "first", Reached: true, Asked: both[:1], Result: "deny", Answers: 1}), nil, Pass, ""},
		"a chain of nobody": {func(all []ChainTrial) []ChainTrial {
			all[1] = ChainTrial{"b", nil, []ChainCase{{Result: "deny", Answers: 1}}}
			return all
		}, nil, Pass, "deny; asked: nobody"},
		"lets in at its end":            {change(5, ChainCase{Forced: true, Asked: both, Result: "allow", Answers: 1}), nil, Fail, "listener b: nobody of the chain knows the client, all conditions taken as met: allow"},
		"goes on past one that is down": {change(0, ChainCase{Down: "first", Reached: true, Asked: both, Result: "allow", Answers: 1}), nil, Fail, "listener b: first cannot tell, as with a back end that is down: allow; asked: first, second"},
		// These try to fool.
		"asks on and refuses":                    {change(3, ChainCase{Down: "first", Forced: true, Reached: true, Asked: both, Result: "unavailable", Answers: 1}), nil, Fail, "asked: first, second"},
		"lets in where its conditions hold none": {change(2, ChainCase{Asked: both[:1], Result: "allow", Answers: 1}), nil, Fail, "listener b: nobody of the chain knows the client: allow"},
		"answers never":                          {change(5, ChainCase{Forced: true, Asked: both, Result: "ignore"}), nil, Unknown, "ignore, 0 answers"},
		"answers twice":                          {change(0, ChainCase{Down: "first", Reached: true, Asked: both[:1], Result: "unavailable", Answers: 2}), nil, Unknown, "unavailable, 2 answers"},
		"does not try its end":                   {without(5), nil, Unknown, "its end, behind all of its authenticators: not tried"},
		"does not try one that is down":          {without(4), nil, Unknown, "listener b: second cannot tell, as with a back end that is down: not tried"},
		"denies everybody":                       {change(6, ChainCase{Knows: "second", Forced: true, Asked: both, Result: "deny", Answers: 1}), nil, Unknown, "proves nothing: the positive control failed"},
		"has no control":                         {without(6), nil, Unknown, "(positive control): not tried"},
		"forgets a listener":                     {func(all []ChainTrial) []ChainTrial { return all[:1] }, nil, Unknown, "the chain of listener b: it says nothing of it"},
		"cannot be asked":                        {nil, flaws{cannotDeny}, Unknown, "no such operation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P4.1", "a chain: "+name, c.state)
			f := newFake(t, c.flaws)
			f.chains = c.chains
			f.listeners = []ListenerReport{{"a", "127.0.0.1:1", "mqtt"}, {"b", "127.0.0.1:2", "mqtt"}}
			e := &Env{Clock: f.env().Clock, Config: &config.Config{}, Broker: f, Step: time.Second}
			r := e.judgeChains(t.Context(), []endpoint{{name: "a"}, {name: "b"}, {name: "b"}})
			if r.State != c.state || !strings.Contains(observed(&r), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", r.State, c.state, c.want, observed(&r))
			}
			for _, o := range r.Observations {
				if o.Method != FaultInjection || o.Expected == "" || c.want == "" && o.Source == "" {
					t.Errorf("%+v", o)
				}
			}
		})
	}
}
