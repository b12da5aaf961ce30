package main

import (
	"slices"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/listener"
)

// guard puts in force who may open a connection at l, and whether a proxy says first who
// that is. It tells whether the access rules are others than before.
func (l *door) guard(c config.Listener) (changed bool) {
	var rules []listener.AccessRule
	for _, r := range c.AccessRules() {
		rules = append(rules, listener.AccessRule{Allow: r.Allow, Network: r.Network, Text: r.String()})
	}
	if changed = !slices.Equal(c.Access, l.access); changed {
		l.Access.Store(listener.NewAccess(rules))
		l.access = c.Access
	}
	if c.ProxyProtocol != config.ProxyRequired {
		l.Proxy.Store(nil)
		return changed
	}
	l.Proxy.Store(&listener.Proxy{Sources: c.ProxyNetworks(), Trust: c.ProxyTLS == config.ProxyTLSTrust})
	return changed
}

// guardAll is guard for every listener. Who is connected and refused by a rule that is
// new is closed.
func (n *node) guardAll(c *config.Config) {
	changed := false
	for _, l := range n.doors() {
		if ln, known := c.Listeners[l.Name]; known && l.guard(ln) {
			changed = true
		}
	}
	if changed {
		n.server.Enforce()
	}
}
