package main

import (
	"fmt"
	"reflect"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/x509"
	"github.com/redoubtmq/redoubt/config"
)

// asked is an authenticator that configuration has by name.
type asked struct {
	auth.Authenticator
	conf  any    // what it was made from: one whose section is the same stays, with what it knows
	close func() // nil: nothing to end
}

// asking are the authenticators of one configuration, which begin with enter or are given
// up with undo.
type asking struct {
	n    *node
	next map[string]*asked
	when map[string]func(*auth.Request) (bool, error) // who is about only some clients
	made []*asked                                     // of these, those that the configuration in force does not have
}

// authenticatorOf answers the section of an authenticator and how it is made; conf nil: its
// type needs none. The configuration has refused names that nobody has.
func (n *node) authenticatorOf(c *config.Config, kind, name string) (conf any, make func() (*asked, error), err error) {
	switch kind {
	case x509.Name:
		return nil, func() (*asked, error) { return &asked{Authenticator: x509.Authenticator{}}, nil }, nil
	case "scram":
		return n.scramOf(c)
	case "builtin":
		return nil, func() (*asked, error) { return &asked{Authenticator: n.builtin}, nil }, nil
	case "jwt":
		return n.jwtAuthenticator(c, name)
	case "lookup":
		return n.lookupOf(c, name)
	case "http":
		return n.serviceOf(c, name)
	case "kerberos":
		return n.kerberosOf(c, name)
	case "cinfo":
		conf := c.Authn.CInfo[name]
		conf.When = "" // is the chain's
		return conf, func() (*asked, error) {
			a, err := conf.Make(name)
			return &asked{Authenticator: a}, err
		}, nil
	}
	return nil, nil, fmt.Errorf("authn.%s.%s: there is no authenticator of that type", kind, name)
}

// prepareAuthenticators makes the authenticators of c that are not in force already.
func (n *node) prepareAuthenticators(c *config.Config) (a *asking, err error) {
	a = &asking{n: n, next: map[string]*asked{}, when: map[string]func(*auth.Request) (bool, error){}}
	defer func() {
		if err != nil {
			a.undo()
		}
	}()
	if err := n.prepareBackends(c); err != nil {
		return a, err
	}
	if err := n.prepareSources(c); err != nil {
		return a, err
	}
	types, _ := c.Authn.Authenticators()
	for name, kind := range types {
		conf, make, err := n.authenticatorOf(c, kind, name)
		if err != nil {
			return a, err
		}
		if a.when[name], err = c.Authn.Condition(kind, name); err != nil {
			return a, fmt.Errorf("%s.when: %w", config.SectionOf(kind, name), err)
		}
		if old := n.asked[name]; old != nil && reflect.DeepEqual(old.conf, conf) {
			a.next[name] = old
			continue
		}
		one, err := make()
		if err != nil {
			return a, fmt.Errorf("authn.%s.%s: %w", kind, name, err)
		}
		one.conf = conf
		a.next[name], a.made = one, append(a.made, one)
	}
	return a, nil
}

// undo gives up what was made.
func (a *asking) undo() {
	if a == nil {
		return
	}
	for _, one := range a.made {
		one.end()
	}
	a.n.keepKeySetAlarms(a.n.asked)
	a.n.undoBackends()
}

// enter has the authenticators asked from now on, and ends those that nobody asks any more:
// a client who is being asked about hears what its authenticator says of its own end.
func (a *asking) enter(c *config.Config) (chains map[string]*auth.Chain, leave func()) {
	old := a.n.asked
	a.n.asked = a.next
	for _, one := range a.next { // a reload is how an operator has answers forgotten
		if f, ok := one.Authenticator.(interface{ Forget() }); ok {
			f.Forget()
		}
	}
	a.n.enterSources(c)
	leaveBackends := a.n.enterBackends()
	a.n.users.SetSCRAM(scramSettings(c))
	chains, saw := a.chains(c), a.n.countAnswers(c)
	for name, chain := range chains {
		chains[name] = chain.Observed(a.n.clock, saw).Caught(a.n.caught)
	}
	return chains, func() {
		defer leaveBackends()
		for name, one := range old {
			if a.next[name] != one {
				one.end()
			}
		}
		a.n.keepKeySetAlarms(a.next)
	}
}

func (a *asked) end() {
	if a.close != nil {
		a.close()
	}
}

// endAuthenticators ends those in force.
func (n *node) endAuthenticators() {
	for _, one := range n.asked {
		one.end()
	}
	n.closeBackends()
}

// chains are who asks the clients of each listener who they are, by listener.
func (a *asking) chains(c *config.Config) map[string]*auth.Chain {
	chains, loaders := make(map[string]*auth.Chain, len(c.Listeners)), a.n.loaders()
	for name, ln := range c.Listeners {
		var links []auth.Link
		for _, link := range c.Authn.Chains[ln.Authn] {
			links = append(links, auth.Link{Authenticator: a.next[link].Authenticator, When: a.when[link]})
		}
		chains[name] = auth.NewChainOf(links...).Sourced(loaders...)
	}
	return chains
}
