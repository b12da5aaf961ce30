package auth

import (
	"errors"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// sourceOfRules answers when it is told to.
type sourceOfRules struct {
	name string
	err  error
	wait []func()
	hold bool
	seen *Principal
}

func (s *sourceOfRules) Name() string { return s.name }

func (s *sourceOfRules) Load(by *Principal, done func(Own, error)) {
	s.seen = by
	answer := func() { done(Own{Source: s.name}, s.err) }
	if s.hold {
		s.wait = append(s.wait, answer)
		return
	}
	answer()
}

// says is an authenticator with one answer.
type saying struct{ r Result }

func (saying) Name() string                                 { return "saying" }
func (s saying) Authenticate(_ *Request, done func(Result)) { done(s.r) }

func TestSourcesAreAskedAboutThoseWhoAreLetIn(t *testing.T) {
	a, b := &sourceOfRules{name: "a"}, &sourceOfRules{name: "b", hold: true}
	claims := &Claims{TokenID: "x", Rules: []Own{{Source: "claims"}}}
	chain := NewChain(saying{Result{Outcome: Allow, Principal: Principal{Identity: "ann", Claims: claims}}}).Sourced(a, b)
	var got []Result
	ask := func() { chain.Authenticate(&Request{ClientID: "c1"}, func(r Result) { got = append(got, r) }) }
	ask()
	if len(got) != 0 || b.seen == nil || b.seen.ClientID != "c1" {
		t.Fatal("let in before every source has answered: ", got)
	}
	b.wait[0]()
	if len(got) != 1 || got[0].Outcome != Allow {
		t.Fatal(got)
	}
	c := got[0].Principal.Claims
	if len(c.Rules) != 3 || c.Rules[1].Source != "a" || c.Rules[2].Source != "b" || c.TokenID != "x" || len(claims.Rules) != 1 {
		t.Errorf("%+v, of %+v", c, claims)
	}
	a.err = errors.New("connection refused")
	ask()
	b.wait[1]()
	if r := got[1]; r.Outcome != Unavailable || r.Reason != mqtt.ServerUnavailable || r.Principal.Identity != "" || r.Proven == nil || r.Proven.Identity != "ann" || r.By != "a" {
		t.Errorf("a source that cannot be asked: %+v", r)
	}
	a.seen = nil
	NewChain(saying{Result{Outcome: Deny}}).Sourced(a).Authenticate(&Request{}, func(r Result) { got = append(got, r) })
	if a.seen != nil || got[2].Outcome != Deny {
		t.Errorf("asked about somebody who is refused: %+v", got[2])
	}
}
