package config

// Authn is who may connect: named chains of authenticators, and those.
type Authn struct {
	Chains  map[string][]string  `yaml:"chains"`
	Builtin BuiltinAuthenticator `yaml:"builtin"`
	X509    X509Authenticator    `yaml:"x509"`
	SCRAM   SCRAMAuthenticator   `yaml:"scram"`

	JWT      map[string]JWTAuthenticator      `yaml:"jwt"`
	CInfo    map[string]CInfoAuthenticator    `yaml:"cinfo"`
	Kerberos map[string]KerberosAuthenticator `yaml:"kerberos"`
	Lookup   map[string]Lookup                `yaml:"lookup"`
	HTTP     map[string]HTTPAuthenticator     `yaml:"http"`
}

// Authenticators are all authenticators there are by name, with the type of each, and the
// names that are there twice, with the other type.
func (a *Authn) Authenticators() (types, twice map[string]string) {
	types, twice = map[string]string{"builtin": "builtin", "x509": "x509", "scram": "scram"}, map[string]string{}
	for _, of := range []struct {
		kind  string
		names []string
	}{
		{"jwt", sorted(a.JWT)},
		{"cinfo", sorted(a.CInfo)},
		{"lookup", sorted(a.Lookup)},
		{"kerberos", sorted(a.Kerberos)},
		{"http", sorted(a.HTTP)},
	} {
		for _, name := range of.names {
			if types[name] != "" {
				twice[name] = of.kind
				continue
			}
			types[name] = of.kind
		}
	}
	return types, twice
}

// X509Authenticator knows clients by the certificates that their listener accepted.
type X509Authenticator struct {
	Type string `yaml:"type"`
	When string `yaml:"when"`
}

// BuiltinAuthenticator is the user store in the data directory.
type BuiltinAuthenticator struct {
	Type     string `yaml:"type"`     // builtin
	Identity string `yaml:"identity"` // username
	When     string `yaml:"when"`
}
