package auth

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// untouched is an authenticator that must not be asked.
type untouched struct {
	name string
	t    *testing.T
}

func (u untouched) Name() string { return u.name }

func (u untouched) Authenticate(*Request, func(Result)) { u.t.Errorf("%s was asked", u.name) }

// The chain there is denies where nobody knows a client and where one cannot tell, asks nobody
// behind that one, and asks none of its true authenticators for it.
func TestCanariesOfTheChain(t *testing.T) {
	never := func(*Request) (bool, error) { return false, nil }
	unjudged := func(*Request) (bool, error) { return false, errors.New("no such field") }
	for name, c := range map[string]struct {
		when func(*Request) (bool, error)
		want string
	}{
		"no conditions": {nil, "[a as is: [a] unavailable][b as is: [a b] unavailable][c as is: [a b c] unavailable][ as is: [a b c] deny][ as is, known to c: [a b c] allow]"},
		"b is not about the client": {never, "[a as is: [a] unavailable][b as is: [a c] allow][c as is: [a c] unavailable][ as is: [a c] deny]" +
			"[a forced: [a] unavailable][b forced: [a b] unavailable][c forced: [a b c] unavailable][ forced: [a b c] deny][ forced, known to c: [a b c] allow]"},
		"b cannot be judged": {unjudged, "[a as is: [a] unavailable][b as is: [a] deny][c as is: [a] deny][ as is: [a] deny]" +
			"[a forced: [a] unavailable][b forced: [a b] unavailable][c forced: [a b c] unavailable][ forced: [a b c] deny][ forced, known to c: [a b c] allow]"},
	} {
		t.Run(name, func(t *testing.T) {
			links := []Link{{Authenticator: untouched{"a", t}}, {Authenticator: untouched{"b", t}, When: c.when}, {Authenticator: untouched{"c", t}}}
			chain := NewChainOf(links...).Sourced(untouchedSource{t}).Observed(clock.System{}, func(by string, _ Result, _ time.Duration) { t.Errorf("somebody was told of %s", by) })
			if got := words(chain.Canary(&Request{ClientID: "canary"})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if got := words(NewChain().Canary(&Request{})); got != "[ as is: [] deny]" {
		t.Errorf("an empty chain: %s", got)
	}
}

// Chains that let in are seen as such: what the canaries prove is of the chain that answers.
func TestCanariesOfBadChains(t *testing.T) {
	links := []Link{{Authenticator: untouched{"a", t}}, {Authenticator: untouched{"b", t}}}
	for name, c := range map[string]struct {
		chain func([]Link) asker
		want  string
	}{
		"allows at its end":         {func(l []Link) asker { return badChain{l, true, false} }, "[a as is: [a] unavailable][b as is: [a b] unavailable][ as is: [a b] allow][ as is, known to b: [a b] allow]"},
		"skips who cannot tell":     {func(l []Link) asker { return badChain{l, false, true} }, "[a as is: [a b] allow][b as is: [a b] deny][ as is: [a b] deny][ as is, known to b: [a b] allow]"},
		"answers nobody":            {func([]Link) asker { return silent{} }, "[a as is: [] ignore][b as is: [] ignore][ as is: [] ignore][ as is, known to b: [] ignore]"},
		"denies first, allows then": {func([]Link) asker { return twice{} }, "[a as is: [] allow][b as is: [] allow][ as is: [] allow][ as is, known to b: [] allow]"},
	} {
		if got := words(canaries(links, &Request{}, c.chain)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

func words(all []Canary) (text string) {
	for i := range all {
		c := &all[i]
		how := "as is"
		if c.Forced {
			how = "forced"
		}
		if c.Knows != "" {
			how += ", known to " + c.Knows
		}
		text += fmt.Sprintf("[%s %s: %v %s]", c.Down, how, c.Asked, c.Outcome)
	}
	return text
}

// badChain is a chain as others have had it.
type badChain struct {
	links          []Link
	opens, skipped bool // lets in at its end; goes on where one cannot tell
}

func (b badChain) Authenticate(req *Request, done func(Result)) {
	for _, l := range b.links {
		var r Result
		l.Authenticate(req, func(said Result) { r = said })
		if r.Outcome == Ignore || r.Outcome == Unavailable && b.skipped {
			continue
		}
		done(r)
		return
	}
	if b.opens {
		done(Result{Outcome: Allow})
		return
	}
	done(Result{Outcome: Deny})
}

type silent struct{}

func (silent) Authenticate(*Request, func(Result)) {}

type twice struct{}

func (twice) Authenticate(_ *Request, done func(Result)) {
	done(Result{Outcome: Deny})
	done(Result{Outcome: Allow})
}

type untouchedSource struct{ t *testing.T }

func (untouchedSource) Name() string { return "source" }

func (u untouchedSource) Load(*Principal, func(Own, error)) { u.t.Error("a source of rules was asked") }
