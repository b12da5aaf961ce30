package listener

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// AccessRule is one rule of a listener's access list.
type AccessRule struct {
	Allow   bool
	Network netip.Prefix // the zero Prefix: every address
	Text    string       // as it was written, for the log
}

// Access says which addresses may open a connection at a listener. The first rule
// that matches decides. It does not change: a reload makes another one. A nil
// Access, and one without rules, lets everybody in.
type Access struct {
	rules []AccessRule
	first bart.Table[int] // of each network the first rule about it or one around it
	all   int             // the first rule about every address; len(rules): there is none
	rest  bool            // who matches none is let in
}

// NoAccessRule is what Judge answers of an address that no rule is about.
const NoAccessRule = "no rule allows it"

// NewAccess makes the list of rules. Who matches none is refused if a rule allows
// somebody, and let in otherwise: whoever names some who may come means only those,
// and whoever names some who may not means all others.
func NewAccess(rules []AccessRule) *Access {
	a := &Access{rules: rules, all: len(rules), rest: true}
	for i, r := range rules {
		if r.Allow {
			a.rest = false
		}
		if r.Network == (netip.Prefix{}) {
			a.all = min(a.all, i)
		} else if _, there := a.first.Get(r.Network); !there {
			a.first.Insert(r.Network, i)
		}
	}
	// All networks that hold an address hold each other: the longest of them is found,
	// and knows the first rule of all.
	for _, r := range rules {
		if r.Network == (netip.Prefix{}) {
			continue
		}
		first := a.all
		for _, i := range a.first.Supernets(r.Network) {
			first = min(first, i)
		}
		a.first.Insert(r.Network, first)
	}
	return a
}

// Judge tells whether a connection from this address may be opened, and by which rule;
// "" where there are none. It does not allocate.
func (a *Access) Judge(from netip.Addr) (ok bool, rule string) {
	if a == nil || len(a.rules) == 0 {
		return true, ""
	}
	i, found := a.first.Lookup(from.Unmap().WithZone(""))
	if !found {
		i = a.all
	}
	if i == len(a.rules) {
		return a.rest, NoAccessRule
	}
	return a.rules[i].Allow, a.rules[i].Text
}

// Denied is the Refusal of an address that the listener's access list refuses.
const Denied Refusal = "access"
