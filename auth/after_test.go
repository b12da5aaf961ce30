package auth

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// faulty is an authenticator, and a source of rules, with a bug.
type faulty struct{}

func (faulty) Name() string                        { return "faulty" }
func (faulty) Authenticate(*Request, func(Result)) { panic("BUG: on purpose") }
func (faulty) Spend(*Request, func(*Result))       { panic("BUG: on purpose") }
func (faulty) Load(*Principal, func(Own, error))   { panic("BUG: on purpose") }
func (faulty) Method() string                      { return "F" }
func (faulty) Begin(*Request) Exchange             { return faulty{} }
func (faulty) Step(data []byte, done func(Result)) {
	done(Result{Outcome: Allow, Principal: Principal{Identity: "ann"}})
}

// A bug in what follows an answer that comes from somebody else's goroutine refuses the client
// at once, ends nothing else, and is told.
func TestABugAfterAnAnswerRefuses(t *testing.T) {
	late := func(r Result) *answers {
		a := link(r)
		a.late = make(chan func(), 1)
		return a
	}
	ok := Result{Outcome: Allow, Principal: Principal{Identity: "ann"}}
	wrong := Result{Outcome: Deny, Reason: mqtt.BadUserNameOrPassword}
	spends := keeps(wrong)
	spends.late = make(chan func(), 1)
	ignores, allows := late(Result{}), late(ok)
	for name, c := range map[string]struct {
		chain *Chain
		first chan func()
	}{
		"in the next authenticator":    {NewChain(ignores, faulty{}), ignores.late},
		"in a source of rules":         {NewChain(allows).Sourced(faulty{}), allows.late},
		"in what a refusal is to cost": {NewChain(spends, faulty{}), spends.late},
		"after a mechanism":            {NewChain(faulty{}).Sourced(faulty{}), nil},
	} {
		var got []Result
		caught := 0
		done := func(r Result) { got = append(got, r) }
		chain := c.chain.Caught(func(any) { caught++ })
		if c.first == nil {
			e, _ := chain.Begin("F", &Request{})
			e.Step(nil, done)
		} else {
			chain.Authenticate(&Request{}, done)
			(<-c.first)()
		}
		if len(got) != 1 || got[0].Outcome != Unavailable || got[0].Reason != mqtt.ServerUnavailable || !strings.HasPrefix(got[0].Detail, "BUG: ") || caught != 1 {
			t.Errorf("%s: %d bugs are told, answers %+v", name, caught, got)
		}
	}
}
