package config

import "github.com/redoubtmq/redoubt/auth/cinfo"

// CInfoAuthenticator goes by what is known of a client before it is asked for a secret.
type CInfoAuthenticator struct {
	When   string       `yaml:"when"`
	Checks []CInfoCheck `yaml:"checks"`
}

// CInfoCheck is one check; the first that holds decides.
type CInfoCheck struct {
	IsMatch  []string `yaml:"is_match"`
	Result   string   `yaml:"result"`
	Identity string   `yaml:"identity"`
}

// Make compiles the checks.
func (a *CInfoAuthenticator) Make(name string) (*cinfo.Authenticator, error) {
	checks := make([]cinfo.Check, len(a.Checks))
	for i, c := range a.Checks {
		checks[i] = cinfo.Check{Match: c.IsMatch, Result: c.Result, Identity: c.Identity}
	}
	return cinfo.New(name, checks)
}

// checkCInfo refuses checks that could not be made.
func (l *loader) checkCInfo(c *Config) {
	for _, name := range sorted(c.Authn.CInfo) {
		key := "authn.cinfo." + name
		a := c.Authn.CInfo[name]
		if _, err := a.Make(name); err != nil && !l.problems.about(key) {
			l.wrong(key, "", "%v.", err)
		}
	}
}
