package config

import (
	"strings"
	"testing"
)

// Who writes the name of something that is not there is asked about what is near.
func TestNamesThatAreMeant(t *testing.T) {
	sources, authenticators := []string{"rules_file", "builtin", "claims", "rights"}, []string{"builtin", "scram", "x509", "devices"}
	for name, want := range map[string]string{
		"rule_file": "Did you mean rules_file? ", "rules": "Did you mean rules_file? ", "file": "Did you mean rules_file? ", "bultin": "Did you mean builtin? ",
		"built_in_database": "Did you mean builtin? ", "right": "Did you mean rights? ", "v": "", "postgresql": "",
	} {
		if got := meant(name, sources, otherSources); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := meant("device", authenticators, otherAuthenticators); got != "Did you mean devices? " {
		t.Error(got)
	}
	for text, want := range map[string]string{
		"authz: {order: [rule_file]}\n":            `"rule_file" is no source of rules. Did you mean rules_file? Write rules_file, builtin or claims.`,
		"authn: {chains: {default: [builtins]}}\n": `"builtins" is no authenticator. Did you mean builtin? Write`,
	} {
		if _, err := loadText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s%v", text, err)
		}
	}
}
