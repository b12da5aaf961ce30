package auth

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// answering says one thing.
type answering struct {
	name string
	r    Result
}

func (s answering) Name() string                               { return s.name }
func (s answering) Authenticate(_ *Request, done func(Result)) { done(s.r) }

// kept is a source of rules.
type kept struct {
	name string
	own  Own
	err  error
}

func (k kept) Name() string                             { return k.name }
func (k kept) Load(_ *Principal, done func(Own, error)) { done(k.own, k.err) }
func never(*Request) (bool, error)                      { return false, nil }
func unclear(*Request) (bool, error)                    { return false, errors.New("no such key") }

// A trial says what each link has said, who was passed over and who was not asked, and ends
// as the chain does.
func TestTryIsTheChainWithItsSteps(t *testing.T) {
	yes := Result{Outcome: Allow, Principal: Principal{Identity: "alice"}, Cached: true}
	no := Result{Outcome: Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "wrong password"}
	rules := ownOf(t, "db", allow("a"), allow("b"))
	rules.Read = FreshAt(time.Unix(1, 0))
	for name, c := range map[string]struct {
		links   []Link
		sources []Loader
		want    string
	}{
		"nobody":      {nil, nil, "deny"},
		"let in":      {[]Link{{answering{"a", yes}, never}, {answering{"b", Result{}}, nil}, {answering{"c", yes}, nil}, {answering{"d", no}, nil}}, nil, "allow a:skipped b:ignored c:allowed(cached) d:not_asked"},
		"refused":     {[]Link{{answering{"a", no}, nil}, {answering{"b", yes}, nil}}, []Loader{kept{"db", rules, nil}}, "deny a:denied b:not_asked db:not_asked"},
		"unclear":     {[]Link{{answering{"a", yes}, unclear}, {answering{"b", yes}, nil}}, nil, "deny a:denied b:not_asked"},
		"half":        {[]Link{{answering{"a", Result{Outcome: Allow}}, nil}}, nil, "deny a:denied"},
		"down":        {[]Link{{answering{"a", Result{Outcome: Unavailable, Detail: "down"}}, nil}}, nil, "unavailable a:unavailable"},
		"with rules":  {[]Link{{answering{"a", yes}, nil}}, []Loader{kept{"db", rules, nil}}, "allow a:allowed(cached) db:rules=2"},
		"rules gone":  {[]Link{{answering{"a", yes}, nil}}, []Loader{kept{"x", rules, nil}, kept{"db", Own{}, errors.New("down")}}, "unavailable a:allowed(cached) x:rules=2 db:unavailable"},
		"says why":    {[]Link{{answering{"a", Result{Detail: "no token"}}, nil}, {answering{"b", no}, never}, {answering{"c", no}, nil}}, nil, "deny a:ignored<no token> b:skipped<its condition does not hold> c:denied<wrong password>"},
		"end of list": {[]Link{{answering{"a", Result{}}, nil}}, nil, "deny a:ignored"},
	} {
		chain := NewChainOf(c.links...).Sourced(c.sources...)
		got, times := "", 0
		chain.Try(clock.NewManual(time.Unix(0, 0)), &Request{}, func(r Result, steps []Step) {
			times++
			got = r.Outcome.String()
			for _, s := range steps {
				got += " " + s.Name + ":" + s.State.String()
				if s.Cached {
					got += "(cached)"
				}
				if name == "says why" {
					got += "<" + s.Detail + ">"
				}
				if s.Rules > 0 {
					got += fmt.Sprintf("=%d", s.Rules)
				}
			}
		})
		if got != c.want || times != 1 {
			t.Errorf("%s: %q, %d times; want %q", name, got, times, c.want)
		}
		var plain Result
		chain.Authenticate(&Request{}, func(r Result) { plain = r })
		if plain.Outcome.String() != got[:len(plain.Outcome.String())] {
			t.Errorf("%s: the chain itself says %v", name, plain.Outcome)
		}
	}
}
