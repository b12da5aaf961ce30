package auth

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// answers is an authenticator that gives fixed answers, all of them.
type answers struct {
	name string
	give []Result
	seen int
	late chan func() // not nil: answers wait here
}

func (a *answers) Name() string { return a.name }

func (a *answers) Authenticate(_ *Request, done func(Result)) {
	a.seen++
	for _, r := range a.give {
		if a.late != nil {
			a.late <- func() { done(r) }
			continue
		}
		done(r)
	}
}

func link(rs ...Result) *answers { return &answers{name: "link", give: rs} }

func ask(t *testing.T, c *Chain) Result {
	t.Helper()
	var got []Result
	c.Authenticate(&Request{ClientID: "c1", Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.7")}, func(r Result) { got = append(got, r) })
	if len(got) != 1 {
		t.Fatalf("done was called %d times", len(got))
	}
	return got[0]
}

// A103: whatever is not a clean Allow is a refusal with a code that says so.
func TestChainFailsClosed(t *testing.T) {
	ok := Result{Outcome: Allow, Principal: Principal{Identity: "alice", Username: "alice"}}
	ignore := Result{}
	for name, c := range map[string]struct {
		links []Authenticator
		want  Outcome
		code  mqtt.ReasonCode
	}{
		"empty":               {nil, Deny, mqtt.BadUserNameOrPassword},
		"all ignore":          {[]Authenticator{link(ignore), link(ignore)}, Deny, mqtt.BadUserNameOrPassword},
		"ignore, allow":       {[]Authenticator{link(ignore), link(ok)}, Allow, mqtt.Success},
		"deny, allow":         {[]Authenticator{link(Result{Outcome: Deny}), link(ok)}, Deny, mqtt.NotAuthorized},
		"deny with success":   {[]Authenticator{link(Result{Outcome: Deny, Reason: mqtt.Success})}, Deny, mqtt.NotAuthorized},
		"deny with code":      {[]Authenticator{link(Result{Outcome: Deny, Reason: mqtt.BadUserNameOrPassword})}, Deny, mqtt.BadUserNameOrPassword},
		"deny with identity":  {[]Authenticator{link(Result{Outcome: Deny, Principal: ok.Principal})}, Deny, mqtt.NotAuthorized},
		"unavailable, allow":  {[]Authenticator{link(Result{Outcome: Unavailable}), link(ok)}, Unavailable, mqtt.ServerUnavailable},
		"busy":                {[]Authenticator{link(Result{Outcome: Unavailable, Reason: mqtt.ServerBusy})}, Unavailable, mqtt.ServerBusy},
		"allow, no identity":  {[]Authenticator{link(Result{Outcome: Allow}), link(ok)}, Deny, mqtt.NotAuthorized},
		"no such outcome":     {[]Authenticator{link(Result{Outcome: 9, Principal: ok.Principal})}, Deny, mqtt.NotAuthorized},
		"deny and then allow": {[]Authenticator{link(Result{Outcome: Deny}, ok)}, Deny, mqtt.NotAuthorized},
		"twice ignore":        {[]Authenticator{link(ignore, ignore), link(ok)}, Allow, mqtt.Success},
		"allow with a code":   {[]Authenticator{link(Result{Outcome: Allow, Reason: mqtt.Banned, Principal: ok.Principal})}, Allow, mqtt.Success},
	} {
		got := ask(t, NewChain(c.links...))
		if got.Outcome != c.want || got.Reason != c.code {
			t.Errorf("%s: %v %v, want %v %v", name, got.Outcome, got.Reason, c.want, c.code)
		}
		if got.Outcome != Allow && (got.Principal != Principal{}) {
			t.Errorf("%s: a refusal carries a principal", name)
		}
		if got.Outcome == Allow && (got.Principal.Method != "link" || got.Principal.ClientID != "c1" || got.Principal.Listener != "mqtts" || !got.Principal.Addr.IsValid()) {
			t.Errorf("%s: the principal is not complete: %+v", name, got.Principal)
		}
	}
}

func TestChainStopsAtTheFirstAnswerAndWaitsForIt(t *testing.T) {
	late := &answers{name: "late", give: []Result{{Outcome: Ignore}}, late: make(chan func(), 1)}
	last := link(Result{Outcome: Allow, Principal: Principal{Identity: "x", Method: "own"}})
	never := link(Result{Outcome: Allow, Principal: Principal{Identity: "y"}})
	var got []Result
	c := NewChain(late, last, never)
	c.Authenticate(&Request{}, func(r Result) { got = append(got, r) })
	if len(got) != 0 || last.seen != 0 {
		t.Fatal("the chain went on before the answer came")
	}
	answer := <-late.late
	answer()
	answer() // a back end that answers twice
	if len(got) != 1 || got[0].Principal.Identity != "x" || got[0].Principal.Method != "own" || last.seen != 1 || never.seen != 0 {
		t.Errorf("%+v, asked %d and %d", got, last.seen, never.seen)
	}
	if names := c.Names(); len(names) != 3 || names[0] != "late" {
		t.Error(names)
	}
}

// A condition says whom an authenticator is asked about; one that cannot be judged keeps
// everybody out, also from what comes after it.
func TestChainConditions(t *testing.T) {
	ok := link(Result{Outcome: Allow, Principal: Principal{Identity: "alice"}})
	says := func(yes bool, err error) func(*Request) (bool, error) {
		return func(*Request) (bool, error) { return yes, err }
	}
	for name, c := range map[string]struct {
		first, second func(*Request) (bool, error)
		want          Outcome
		seen          int
	}{
		"none":           {nil, nil, Deny, 0},
		"no, yes":        {says(false, nil), says(true, nil), Allow, 1},
		"no, no":         {says(false, nil), says(false, nil), Deny, 0},
		"yes, not asked": {says(true, nil), says(true, nil), Deny, 0},
		"error":          {says(true, errors.New("no such key")), nil, Deny, 0},
		"no, error":      {says(false, nil), says(true, errors.New("no such key")), Deny, 0},
	} {
		ok.seen = 0
		chain := NewChainOf(Link{link(Result{Outcome: Deny}), c.first}, Link{ok, c.second})
		if r := ask(t, chain); r.Outcome != c.want || ok.seen != c.seen {
			t.Errorf("%s: %v (%s), asked %d times", name, r.Outcome, r.Detail, ok.seen)
		}
	}
}

// Who observes a chain sees what each authenticator said, as the chain took it, in order.
func TestChainObserved(t *testing.T) {
	var seen []string
	clk := clock.NewManual(time.Unix(0, 0))
	c := NewChain(link(Result{}), link(Result{Outcome: Allow})).Observed(clk, func(by string, r Result, _ time.Duration) {
		seen = append(seen, by+" "+r.Outcome.String())
	})
	if r := ask(t, c); r.Outcome != Deny || !slices.Equal(seen, []string{"link ignore", "link deny"}) {
		t.Error(r.Outcome, seen)
	}
}
