package main

import (
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/auth/kerberos"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// kerberosConf is what an authenticator of tickets is made from.
type kerberosConf struct {
	section config.KerberosAuthenticator
	keytab  []byte
}

// Format implements fmt.Formatter, so that no verb shows a key.
func (k *kerberosConf) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[a keytab]") }

// kerberosOf is authenticatorOf for Kerberos.
func (n *node) kerberosOf(c *config.Config, name string) (conf any, make func() (*asked, error), err error) {
	section := c.Authn.Kerberos[name]
	section.When = "" // is the chain's
	o, err := section.Options(name)
	if err != nil {
		return nil, nil, fmt.Errorf("authn.kerberos.%s: %w", name, err)
	}
	service, _, _ := strings.Cut(section.Principal, "@")
	b, err := pki.ReadSecret(section.Keytab)
	if err != nil {
		return nil, nil, fmt.Errorf("authn.kerberos.%s.keytab: %w; kadmin writes one: ktadd -k %s %s", name, err, section.Keytab, service)
	}
	if o.Keys, err = kerberos.ReadKeytab(b, o.Principal); err != nil {
		return nil, nil, fmt.Errorf("authn.kerberos.%s.keytab: %s: %w; kadmin writes one: ktadd -k %s %s", name, section.Keytab, err, section.Keytab, service)
	}
	return &kerberosConf{section, b}, func() (*asked, error) {
		o.Now = n.clock.Now
		a, err := kerberos.New(o)
		return &asked{Authenticator: a}, err
	}, nil
}
