package main

import (
	"crypto/rand"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
)

// GrantEnded implements admin.Denier, in the way of a change of built-in rules.
func (n *node) GrantEnded() {
	n.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
}

// Canaries implements admin.Chains, with the very chains that the clients of each listener
// are asked by.
func (n *node) Canaries() (all []admin.ChainCanaries) {
	for _, l := range n.doors() {
		c := admin.ChainCanaries{Listener: l.Name}
		if chain := n.broker.Chain(l.Chain); chain != nil {
			c.Authenticators = chain.Names()
			c.Cases = chain.Canary(&auth.Request{ClientID: "canary-" + rand.Text(), Listener: l.Name, Addr: nowhere, Version: byte(mqtt.V5)})
		}
		all = append(all, c)
	}
	return all
}
