package config

// Sources are the names that authz.order may have.
func (a *Authz) Sources() []string { return []string{"rules_file", "builtin", "claims"} }
