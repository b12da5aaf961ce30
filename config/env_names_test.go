package config

import "testing"

// A name with dashes, which a variable cannot have, is found in every section of names.
func TestNamesWithDashesInTheEnvironment(t *testing.T) {
	c := &Config{Listeners: map[string]Listener{"a-b": {}}, Backends: map[string]Backend{"a-b": {}}}
	c.Authn.Chains = map[string][]string{"a-b": nil}
	c.Authn.JWT, c.Authn.Lookup, c.Authn.CInfo = map[string]JWTAuthenticator{"a-b": {}}, map[string]Lookup{"a-b": {}}, map[string]CInfoAuthenticator{"a-b": {}}
	c.Authn.HTTP = map[string]HTTPAuthenticator{"a-b": {}}
	c.Authn.Kerberos = map[string]KerberosAuthenticator{"a-b": {}}
	c.Authz.Lookup = map[string]AuthzLookup{"a-b": {}}
	for i := range table {
		if table[i].Kind != KindNames {
			continue
		}
		if got := spelled(c, table[i].Key, "a_b"); got != "a-b" {
			t.Errorf("%s: %q", table[i].Key, got)
		}
	}
}
