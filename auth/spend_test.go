package auth

import (
	"errors"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// keeper is an authenticator with users and what hashing a password costs.
type keeper struct {
	answers
	hashes int
	busy   bool
}

func (k *keeper) Authenticate(req *Request, done func(Result)) {
	k.hashes++
	k.answers.Authenticate(req, done)
}

func (k *keeper) Spend(_ *Request, done func(*Result)) {
	if k.busy {
		done(&Result{Outcome: Unavailable, Reason: mqtt.ServerBusy, Detail: "busy"})
		return
	}
	k.hashes++
	done(nil)
}

func keeps(r Result) *keeper { return &keeper{answers: answers{name: "keeper", give: []Result{r}}} }

// Whoever is refused has cost as much as somebody whom nobody knows, wherever in the chain
// that was, and is told the same.
func TestAChainDoesNotTellWhoExists(t *testing.T) {
	ignore := Result{}
	wrong := Result{Outcome: Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "wrong password"}
	misread := Result{Outcome: Unavailable, Reason: mqtt.BadUserNameOrPassword, Detail: "a row that is not understood"}
	for name, c := range map[string]struct {
		first, second Result
		outcome       Outcome
	}{
		"nobody knows him":          {ignore, wrong, Deny},
		"the first knows him":       {wrong, wrong, Deny},
		"the second knows him":      {ignore, wrong, Deny},
		"his row is not understood": {misread, wrong, Unavailable},
	} {
		a, b := keeps(c.first), keeps(c.second)
		r := ask(t, NewChain(a, b))
		if a.hashes != 1 || b.hashes != 1 || r.Outcome != c.outcome || r.Reason != mqtt.BadUserNameOrPassword {
			t.Errorf("%s: %d and %d hashes, %+v", name, a.hashes, b.hashes, r)
		}
	}
	a, b := keeps(wrong), keeps(wrong)
	b.busy = true
	if r := ask(t, NewChain(a, b)); r.Outcome != Unavailable || r.Reason != mqtt.ServerBusy {
		t.Errorf("the second is busy: %+v", r)
	}
	if b.busy = false; b.hashes != 0 {
		t.Errorf("%d hashes", b.hashes)
	}
	// What a condition has the chain pass over for everybody costs nobody, and one that
	// cannot be judged refuses everybody in the same words.
	no := func(*Request) (bool, error) { return false, nil }
	fails := func(*Request) (bool, error) { return false, errors.New("unknown") }
	ask(t, NewChainOf(Link{Authenticator: a}, Link{Authenticator: b, When: no}))
	if b.hashes != 0 {
		t.Errorf("%d hashes of one that was not asked", b.hashes)
	}
	if r := ask(t, NewChainOf(Link{Authenticator: a}, Link{Authenticator: b, When: fails})); r.Reason != mqtt.NotAuthorized || b.hashes != 0 {
		t.Errorf("%+v", r)
	}
	// A refusal that is no secret, or of somebody who keeps none, costs nothing more.
	for _, first := range []Authenticator{keeps(Result{Outcome: Deny, Reason: mqtt.Banned}), link(wrong), keeps(Result{Outcome: Allow, Principal: Principal{Identity: "ann"}})} {
		if ask(t, NewChain(first, b)); b.hashes != 0 {
			t.Errorf("%v: %d hashes", first, b.hashes)
		}
	}
}
