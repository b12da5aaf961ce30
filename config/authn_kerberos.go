package config

import "github.com/redoubtmq/redoubt/auth/kerberos"

// KerberosAuthenticator knows clients by tickets for a service of ours; package auth/kerberos
// has the meaning.
type KerberosAuthenticator struct {
	When      string   `yaml:"when"`
	Principal string   `yaml:"principal"` // service/host@REALM
	Keytab    string   `yaml:"keytab"`    // path
	Realms    []string `yaml:"realms"`
	BareRealm string   `yaml:"bare_realm"` // one of Realms; empty: none
}

// Options are the options of an authenticator, without its keys and its clock.
func (k *KerberosAuthenticator) Options(name string) (o kerberos.Options, err error) {
	o = kerberos.Options{Name: name, Realms: k.Realms, Bare: k.BareRealm}
	o.Principal, err = kerberos.ParsePrincipal(k.Principal)
	return o, err
}

// checkKerberos refuses authenticators that could not be made, as far as that can be seen
// without their files.
func (l *loader) checkKerberos(c *Config) {
	for _, name := range sorted(c.Authn.Kerberos) {
		key := "authn.kerberos." + name
		k := c.Authn.Kerberos[name]
		o, err := k.Options(name)
		if err != nil && !l.problems.about(key+".principal") {
			l.wrong(key+".principal", quote(k.Principal), "%v. Write such as mqtt/broker.example@PLANT.EXAMPLE.", err)
			continue
		}
		if err := o.Check(); err != nil && !l.problems.about(key+".realms") && !l.problems.about(key+".bare_realm") {
			l.wrong(key+".realms", "", "%v.", err)
		}
	}
}
