package harden

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// ChainTrial is what the chain of a listener, as it is in force, did about a client who does
// not exist, with stand-ins in the places of its authenticators.
type ChainTrial struct {
	Listener       string
	Authenticators []string // in the order they are asked
	Cases          []ChainCase
}

// ChainCase is one of them; see auth.Canary, which it is.
type ChainCase struct {
	Down    string   // who could not tell
	Knows   string   // who knew the client; with neither, nobody did
	Forced  bool     // all conditions were taken as met
	Reached bool     // Down was asked
	Asked   []string // in that order
	Result  string   // allow, deny, unavailable; ignore: no answer
	Answers int
}

// judgeChains has the running broker try its chains where no client can: at their end, and
// with a back end that is down. eps are the entrances whose chains there must be.
func (e *Env) judgeChains(ctx context.Context, eps []endpoint) Result {
	q := e.inquire("chains")
	const what = "the chains in force, on a client who does not exist"
	all, err := e.Broker.Chains(ctx)
	if err != nil {
		q.see(FaultInjection, what, "the broker tries them", shortened(err.Error()), Unknown)
		return q.result(Behavioural, "")
	}
	for i := range eps { // by socket, so that none is forgotten
		if eps[i].name != "" && !slices.ContainsFunc(all, func(t ChainTrial) bool { return t.Listener == eps[i].name }) &&
			!slices.ContainsFunc(q.obs, func(o Observation) bool { return o.What == "the chain of listener "+eps[i].name }) {
			q.see(FaultInjection, "the chain of listener "+eps[i].name, "the broker tries it", "it says nothing of it", Unknown)
		}
	}
	for i := range all {
		q.chain(&all[i])
	}
	if len(q.obs) == 0 {
		q.see(FaultInjection, what, "the broker tries them", "it says nothing of any", Unknown)
	}
	return q.result(Behavioural, "let nobody in at their end, nor past an authenticator that cannot tell")
}

// chain judges one chain: its end, then each authenticator that is down.
func (q *inquiry) chain(t *ChainTrial) {
	mark := len(q.obs)
	var control *ChainCase
	ended, down := false, map[string]bool{}
	for i := range t.Cases {
		c := &t.Cases[i]
		switch {
		case c.Knows != "":
			control = c
		case c.Down == "":
			ended = ended || slices.Equal(c.Asked, t.Authenticators)
			q.chainCase(t, c, "nobody of the chain knows the client", "deny", "deny")
		case c.Reached:
			down[c.Down] = true
			q.chainCase(t, c, c.Down+" cannot tell, as with a back end that is down", "refused, and nobody behind it is asked", "unavailable", "deny")
		}
	}
	missing := func(what string) {
		q.seen(t, what, "the broker tries it", "not tried", Unknown)
	}
	if !ended {
		missing("its end, behind all of its authenticators")
	}
	for _, name := range t.Authenticators {
		if !down[name] {
			missing(name + " cannot tell, as with a back end that is down")
		}
	}
	if len(t.Authenticators) == 0 {
		return // it denies everybody: nobody can be known to it
	}
	if control == nil {
		missing("its last authenticator knows the client (positive control)")
	} else {
		q.seen(t, control.Knows+" knows the client (positive control)", "allow", control.words(), passIf(control.Result == "allow" && control.Answers == 1, Unknown))
	}
	if q.obs[len(q.obs)-1].State != Pass {
		q.doubt(mark)
	}
}

// chainCase adds what became of one fault; results are those that refuse as they should.
func (q *inquiry) chainCase(t *ChainTrial, c *ChainCase, what, want string, results ...string) {
	if c.Forced {
		what += ", all conditions taken as met"
	}
	state := Unknown // also where it was answered never, or twice
	switch {
	case c.Result == "allow", c.Down != "" && c.Asked[len(c.Asked)-1] != c.Down:
		state = Fail
	case c.Answers == 1 && slices.Contains(results, c.Result):
		state = Pass
	}
	q.seen(t, what, want, c.words(), state)
}

func (q *inquiry) seen(t *ChainTrial, what, want, actual string, state State) {
	q.see(FaultInjection, "listener "+t.Listener+": "+what, want, actual, state)
	q.source("administration socket, GET /api/v5/probe/chains: the chain in force, with stand-ins in the places of " + people(t.Authenticators))
}

// words are what a chain did.
func (c *ChainCase) words() string {
	text := c.Result
	if c.Answers != 1 {
		text = fmt.Sprintf("%s, %d answers", text, c.Answers)
	}
	return text + "; asked: " + people(c.Asked)
}

// people are names on one line.
func people(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
