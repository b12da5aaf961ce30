package config

import (
	"slices"

	"github.com/redoubtmq/redoubt/auth"
)

// fixedSources are the sources of rules that are always there.
var fixedSources = []string{auth.SourceRules, auth.SourceBuiltin, auth.SourceClaims}

// AuthzLookup is a source of rules in a back end.
type AuthzLookup struct {
	Backend  string   `yaml:"backend"`   // key of Config.Backends
	Query    string   `yaml:"query"`     // LookupQuery takes it
	Refresh  Duration `yaml:"refresh"`   // how often the rules of connected clients are read
	StaleMax Duration `yaml:"stale_max"` // how long they count when they cannot be read
}

// ReportOnly is a policy that is tried beside the one in force.
type ReportOnly struct {
	RulesFile string `yaml:"rules_file"` // in the place of Authz.RulesFile; empty: none is tried
}

// Sources are the names that authz.order may have.
func (a *Authz) Sources() []string { return append(slices.Clone(fixedSources), sorted(a.Lookup)...) }

// checkSources judges the sources of rules in back ends.
func (l *loader) checkSources(c *Config) {
	for _, name := range sorted(c.Authz.Lookup) {
		s, key := c.Authz.Lookup[name], "authz.lookup."+name
		if slices.Contains(fixedSources, name) {
			l.wrong(key, "", "has the name of another source of rules. Choose one that is not %s.", oneOf(fixedSources))
			continue
		}
		l.checkQuery(c, key, s.Backend, s.Query, RulesQuery)
		if s.StaleMax < s.Refresh && !l.problems.about(key+".stale_max") && !l.problems.about(key+".refresh") {
			l.wrong(key+".stale_max", "", "(%v) is less than refresh (%v): rules would be too old before they are read again. Raise the one or lower the other.", s.StaleMax, s.Refresh)
		}
	}
}
