package config

import (
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/condition"
)

// whenRow is the row of the condition of an authenticator whose section is at key.
func whenRow(key string) Row {
	return Row{Key: key + ".when", Kind: KindString, Default: `""`, Note: "always", Pattern: `(?s)^.+$`, Form: "a condition in CEL, such as listener == 'mqtts'",
		Why:   "Whether a client is this authenticator's business: where the condition does not hold the next of the chain is asked. It is over username, clientid, peerhost, peerport, listener, protocol_version, cert_common_name, cert_subject, has_username, has_password, has_certificate and in_network(peerhost, '10.0.0.0/8'). One that looks at what is not known of a client refuses it; ask has_certificate first.",
		Since: release, Reload: NewConnections, File: fileAuthn}
}

// When is the condition of an authenticator of that type and name, as written; empty: it is
// asked about every client.
func (a *Authn) When(kind, name string) string {
	switch kind {
	case "builtin":
		return a.Builtin.When
	case "x509":
		return a.X509.When
	case "scram":
		return a.SCRAM.When
	case "jwt":
		return a.JWT[name].When
	case "http":
		return a.HTTP[name].When
	case "cinfo":
		return a.CInfo[name].When
	case "lookup":
		return a.Lookup[name].When
	case "kerberos":
		return a.Kerberos[name].When
	}
	return ""
}

// Condition is When as a link of a chain asks it; nil: always.
func (a *Authn) Condition(kind, name string) (func(*auth.Request) (bool, error), error) {
	text := a.When(kind, name)
	if text == "" {
		return nil, nil
	}
	p, err := condition.Compile(text)
	if err != nil {
		return nil, err
	}
	return p.When, nil
}

// SectionOf is where the configuration describes an authenticator.
func SectionOf(kind, name string) string {
	if kind == name { // there is one of it
		return "authn." + name
	}
	return "authn." + kind + "." + name
}

// checkWhen refuses conditions that are none.
func (l *loader) checkWhen(c *Config) {
	types, _ := c.Authn.Authenticators()
	for _, name := range sorted(types) {
		key := SectionOf(types[name], name) + ".when"
		if _, err := c.Authn.Condition(types[name], name); err != nil && !l.problems.about(key) {
			l.wrong(key, quote(shortened(c.Authn.When(types[name], name))), "%v.", err)
		}
	}
}

// shortened keeps a text fit for a message.
func shortened(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
