package config

import "slices"

// checkUnused refuses what was written to keep somebody out, or to let somebody in, and that
// nobody would ever ask: whoever wrote it believes that it is in force. It comes last: what is
// wrong with it in itself is said first.
func (l *loader) checkUnused(c *Config) {
	if l.problems.about("authn") || l.problems.about("authz") {
		return
	}
	types, _ := c.Authn.Authenticators()
	for _, name := range sorted(types) {
		key := "authn." + types[name] + "." + name
		if types[name] == name { // those that are always there
			continue
		}
		asked := false
		for _, chain := range c.Authn.Chains {
			asked = asked || slices.Contains(chain, name)
		}
		if !asked {
			l.wrong(key, "", "is in no chain and would never be asked. Add it to one, such as authn.chains.default: [%s, builtin], or remove it.", name)
		}
	}
	for _, name := range sorted(c.Authn.Chains) {
		key := "authn.chains." + name
		if name == "default" || !l.origins[key].written() || l.problems.about("listeners") {
			continue
		}
		if !slices.ContainsFunc(sorted(c.Listeners), func(ln string) bool { return c.Listeners[ln].Authn == name }) {
			l.wrong(key, "", "is the chain of no listener and would never be asked. Set listeners.NAME.authn: %s, or remove it.", name)
		}
	}
	for _, name := range sorted(c.Authz.Lookup) {
		if key := "authz.lookup." + name; !slices.Contains(c.Authz.Order, name) {
			l.wrong(key, "", "is not in authz.order: its rules would never be asked. Add it, or remove it.")
		}
	}
}
