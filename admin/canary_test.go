package admin

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// fakeChains has a listener with a chain of two, whose authenticators must not be asked, and
// one without a chain.
type fakeChains struct{}

func (fakeChains) Canaries() []ChainCanaries {
	c := auth.NewChain(notAsked("ldap"), notAsked("builtin"))
	return []ChainCanaries{{Listener: "mqtts", Authenticators: c.Names(), Cases: c.Canary(&auth.Request{})}, {Listener: "ws"}}
}

type notAsked string

func (n notAsked) Name() string { return string(n) }

func (n notAsked) Authenticate(*auth.Request, func(auth.Result)) { panic("BUG: " + n + " was asked") }

// What each chain did is told whole, that of a listener without one, too.
func TestChainsAreTried(t *testing.T) {
	r := newRig(t, nil)
	all, err := r.client.Canaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const want = "[{mqtts [ldap builtin] [{ldap  false true [ldap] unavailable 136 1} {builtin  false true [ldap builtin] unavailable 136 1} " +
		"{  false true [ldap builtin] deny 134 1} { builtin false true [ldap builtin] allow 0 1}]} {ws [] []}]"
	if got := fmt.Sprint(all); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
