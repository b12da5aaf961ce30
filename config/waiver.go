package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// WaiverDaysMax is how far ahead a waiver may expire.
const WaiverDaysMax = 180

// startRows are the rows of the hardening checklist that a start keeps, and that can be waived.
// P1.4: only encrypted ports are reachable by clients. P4.1: passwords are hashed so that a thief
// has work. P4.5: back ends prove who they are.
var startRows = []string{"P1.4", "P4.1", "P4.5"}

// findingRows are those that no start looks at: what redoubt doctor finds there can be waived, so
// that it is accepted by somebody and counted. Critical rows are not among them, nor is P2.2, which
// a start refuses whoever accepts it, nor P5.13: a secret in a file is moved and not accepted.
var findingRows = []string{"P1.1", "P1.2", "P1.3a", "P1.3b", "P1.7", "P1.8", "P1.9", "P1.10", "P1.11", "P1.12",
	"P3.1", "P3.2", "P3.3", "P3.4", "P3.5", "P3.6", "P4.3", "P4.4",
	"P5.7", "P5.8", "P5.9", "P5.10", "P5.11", "P5.12", "P5.14", "P5.15", "P5.16"}

// ScopeNode is the scope of a waiver of what is not about a part of the configuration.
const ScopeNode = "node"

// WaivableRows are all that can be waived, by id.
func WaivableRows() []string {
	all := slices.Concat(startRows, findingRows)
	slices.SortFunc(all, byRow)
	return all
}

// NeededAtStart tells whether a waiver of that row is for what a start would refuse. Of such a row one that
// nothing needs is refused, and of others it is not known before somebody has looked.
func NeededAtStart(id string) bool { return slices.Contains(startRows, id) }

// byRow sorts P1.4 before P1.10.
func byRow(a, b string) int {
	row := func(id string) int { n, _ := strconv.Atoi(strings.TrimRight(id[3:], "ab")); return n }
	return cmp.Or(cmp.Compare(a[:2], b[:2]), cmp.Compare(row(a), row(b)), cmp.Compare(a, b))
}

// scopeOfFinding says what is wrong with the scope of a waiver of one of findingRows; "": nothing.
func scopeOfFinding(c *Config, scope string) string {
	if name, ok := strings.CutPrefix(scope, "listeners."); ok {
		if _, exists := c.Listeners[name]; !exists {
			return "is no listener there is"
		}
		return ""
	}
	if scope == ScopeNode || scope == "metrics" {
		return ""
	}
	return "is no scope of that row: it is listeners.<name>, metrics or node"
}

// exposure is something that is refused without a waiver.
type exposure struct {
	id, scope, key, bind string
	danger, fix          string
}

// exposures lists what needs a waiver, such as plain text where others can reach it.
func exposures(c *Config) []exposure {
	var out []exposure
	for _, name := range sorted(c.Listeners) {
		ln := c.Listeners[name]
		if !ln.Plaintext() {
			continue
		}
		if text := exposed(ln.Bind); text != "" {
			out = append(out, exposure{"P1.4", "listeners." + name, "listeners." + name + ".bind", text,
				"would let passwords cross the network in plain text", "Bind it to 127.0.0.1, use protocol " + encrypted(ln.Protocol)})
		}
	}
	if text := exposed(c.Metrics.Bind); text != "" {
		out = append(out, exposure{"P1.4", "metrics", "metrics.bind", text,
			"would show metrics to the network, in plain text and without a password", "Bind it to 127.0.0.1"})
	}
	out = append(out, openBackends(c)...)
	return append(out, weakHashes(c)...)
}

// encrypted is the protocol to use instead of one in plain text.
func encrypted(plain string) string {
	if plain == ProtocolWS {
		return ProtocolWSS
	}
	return ProtocolMQTTS
}

// exposed returns the first address that is not loopback.
func exposed(binds []string) string {
	for _, text := range binds {
		if b, err := ParseBind(text); err == nil && !b.Loopback() {
			return text
		}
	}
	return ""
}

// dangling says why a waiver's scope needs none.
func dangling(c *Config, scope string) string {
	name, isListener := strings.CutPrefix(scope, "listeners.")
	ln, exists := c.Listeners[name]
	lookup, isLookup := strings.CutPrefix(scope, "authn.lookup.")
	if _, exists := c.Authn.Lookup[lookup]; isLookup {
		if !exists {
			return "there is no such authenticator"
		}
		return "its hashes are no plain text already"
	}
	if back, isBackend := strings.CutPrefix(scope, "backends."); isBackend {
		if _, exists := c.Backends[back]; !exists {
			return "there is no such back end"
		}
		return "the back end is on this host, or encrypted, already"
	}
	switch {
	case scope == "metrics":
		return "metrics are on loopback already"
	case isListener && !exists:
		return "there is no such listener"
	case isListener && ln.Protocol == ProtocolUnix:
		return "the listener is a file of this host"
	case isListener && !ln.Plaintext():
		return "the listener is encrypted"
	case isListener:
		return "the listener is on loopback already"
	default:
		return "a scope is listeners.<name>, backends.<name>, authn.lookup.<name> or metrics"
	}
}
