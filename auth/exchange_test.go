package auth

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// steps is a mechanism that gives fixed answers, one or more for each step.
type steps struct {
	answers
	method string
	turns  [][]Result
}

func (s *steps) Method() string          { return s.method }
func (s *steps) Begin(*Request) Exchange { return &run{s: s} }
func (r *run) Step(_ []byte, d func(Result)) {
	r.n++
	for _, x := range r.s.turns[r.n-1] {
		d(x)
	}
}

type run struct {
	s *steps
	n int
}

func TestExchangeGoesToTheMechanismOfThatName(t *testing.T) {
	alice := Principal{Identity: "alice", Username: "alice"}
	plain := link(Result{Outcome: Deny})
	m := &steps{method: "M", turns: [][]Result{
		{{Outcome: Continue, Data: []byte("more")}, {Outcome: Allow, Principal: alice}}, // the second is not heard
		{{Outcome: Allow, Principal: alice, Data: []byte("proof")}},
	}}
	m.name = "m"
	c := NewChain(plain, m)
	if _, ok := c.Begin("N", &Request{}); ok {
		t.Fatal("an exchange of a method nobody has")
	}
	e, ok := c.Begin("M", &Request{ClientID: "c1", Listener: "mqtts"})
	if !ok {
		t.Fatal("no exchange")
	}
	var got []Result
	hear := func(r Result) { got = append(got, r) }
	e.Step(nil, hear)
	e.Step([]byte("data"), hear)
	if len(got) != 2 || got[0].Outcome != Continue || string(got[0].Data) != "more" || got[0].Reason != mqtt.ContinueAuthentication || got[0].Principal.Identity != "" {
		t.Fatalf("%+v", got)
	}
	if r := got[1]; r.Outcome != Allow || string(r.Data) != "proof" || r.Principal.ClientID != "c1" || r.Principal.Method != "m" || r.Principal.Listener != "mqtts" {
		t.Fatalf("%+v", r)
	}
	if plain.seen != 0 {
		t.Error("an authenticator without the method was asked")
	}
}

// Whatever is not a whole Allow is a refusal, and a refusal says nothing.
func TestExchangeFailsClosed(t *testing.T) {
	for _, bad := range []Result{{Outcome: Ignore}, {Outcome: Allow}, {Outcome: Deny, Data: []byte("x")}, {Outcome: Unavailable}, {Outcome: 99}} {
		m := &steps{method: "M", turns: [][]Result{{bad}}}
		e, _ := NewChain(m).Begin("M", &Request{})
		e.Step(nil, func(r Result) {
			if r.Outcome == Allow || r.Outcome == Continue || r.Reason < 0x80 || r.Data != nil || r.Principal.Identity != "" {
				t.Errorf("%+v became %+v", bad, r)
			}
		})
	}
}
