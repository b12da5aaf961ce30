package config

import "strings"

// WaiverDaysMax is how far ahead a waiver may expire.
const WaiverDaysMax = 180

// waivable are the rows of the hardening checklist that this file can leave
// unkept. P1.4: only encrypted ports are reachable by clients. P4.1: passwords are hashed
// so that a thief has work. P4.4: back ends prove who they are.
var waivable = []string{"P1.4", "P4.1", "P4.4"}

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
