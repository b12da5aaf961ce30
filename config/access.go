package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AccessRule is one rule of a listener's access list.
type AccessRule struct {
	Allow   bool
	All     bool         // every address
	Network netip.Prefix // unless All; one address is a network of its own
}

// String is what ParseAccess reads.
func (r AccessRule) String() string {
	verb := "deny "
	if r.Allow {
		verb = "allow "
	}
	switch {
	case r.All:
		return verb + "all"
	case r.Network.IsSingleIP():
		return verb + r.Network.Addr().String()
	}
	return verb + r.Network.String()
}

// holds tells whether r is about every address that o is about.
func (r AccessRule) holds(o AccessRule) bool {
	return r.All || !o.All && r.Network.Bits() <= o.Network.Bits() && r.Network.Contains(o.Network.Addr())
}

// ParseAccess reads "allow 10.0.0.0/8", "deny 192.0.2.7" or "deny all". Errors are
// clauses that follow the value.
func ParseAccess(text string) (r AccessRule, err error) {
	verb, what, found := strings.Cut(text, " ")
	if !found || verb != "allow" && verb != "deny" || what == "" {
		return r, errors.New(`is no rule. Write allow or deny and, after one space, a network, an address or all, such as "allow 10.0.0.0/8"`)
	}
	r.Allow = verb == "allow"
	if what == "all" {
		r.All = true
		return r, nil
	}
	if a, err := netip.ParseAddr(what); err == nil {
		switch {
		case a.Zone() != "":
			return r, fmt.Errorf("has a zone, which addresses of clients do not have here. Write %s %s", verb, a.WithZone(""))
		case a.Is4In6():
			return r, fmt.Errorf("has an IPv4 address in the form of IPv6. Write %s %s", verb, a.Unmap())
		}
		r.Network = netip.PrefixFrom(a, a.BitLen())
		return r, nil
	}
	if err := checkNetwork(what); err != nil {
		return r, fmt.Errorf("has %q for a network, which %w", what, err)
	}
	r.Network = netip.MustParsePrefix(what)
	return r, nil
}

// AccessRules are the rules of l.Access, in order.
func (l *Listener) AccessRules() (rules []AccessRule) {
	for _, text := range l.Access {
		if r, err := ParseAccess(text); err == nil { // the schema has judged it
			rules = append(rules, r)
		}
	}
	return rules
}

// checkAccess refuses rules that can never count: whoever wrote one believes that it
// does.
func (l *loader) checkAccess(ln *Listener, key string) {
	if key += ".access"; l.problems.about(key) {
		return
	}
	rules := ln.AccessRules()
	for i, r := range rules {
		for _, before := range rules[:i] {
			if before.holds(r) {
				l.wrong(key, quote(r.String()), "never counts: the first rule that matches decides, and %q stands before it. Move it up, or remove it.", before.String())
				break
			}
		}
	}
	if slices.ContainsFunc(rules, func(r AccessRule) bool { return r.All && !r.Allow }) && !slices.ContainsFunc(rules, func(r AccessRule) bool { return r.Allow }) {
		l.wrong(key, "", "lets nobody in. Allow somebody before it, or turn the listener off with bind: [].")
	}
}
