package main

import (
	"slices"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/scram"
	"github.com/redoubtmq/redoubt/config"
)

// scramConf is what an authenticator of SCRAM is made from.
type scramConf struct {
	section config.SCRAMAuthenticator
	used    bool // a chain has it
}

// scramSettings are what new keys are made with.
func scramSettings(c *config.Config) (algorithms []scram.Algorithm, iterations int) {
	for _, word := range c.Authn.SCRAM.Algorithms {
		if a, ok := scram.Parse(word); ok {
			algorithms = append(algorithms, a)
		}
	}
	return algorithms, c.Authn.SCRAM.Iterations
}

// scramUsed tells whether any chain has it.
func scramUsed(c *config.Config) bool {
	for _, chain := range c.Authn.Chains {
		if slices.Contains(chain, "scram") {
			return true
		}
	}
	return false
}

// scramOf is authenticatorOf for SCRAM. Its secret is kept in the log, so it is not made
// before somebody needs it.
func (n *node) scramOf(c *config.Config) (conf any, make func() (*asked, error), err error) {
	used := scramConf{c.Authn.SCRAM, scramUsed(c)}
	used.section.When = "" // is the chain's
	return used, func() (*asked, error) {
		algorithms, iterations := scramSettings(c)
		opt := scram.Options{Name: "scram", Method: builtin.Name, Algorithms: algorithms, Iterations: iterations, Users: n.users}
		if used.used {
			if opt.Secret, err = n.users.SCRAMSecret(); err != nil {
				return nil, err
			}
		}
		return &asked{Authenticator: scram.New(opt)}, nil
	}, nil
}
