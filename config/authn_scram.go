package config

// SCRAMAuthenticator lets users of the built-in store prove by SCRAM that they know their
// passwords.
type SCRAMAuthenticator struct {
	Type       string   `yaml:"type"`       // scram
	When       string   `yaml:"when"`       // a condition; empty: always
	Algorithms []string `yaml:"algorithms"` // sha256, sha512
	Iterations int      `yaml:"iterations"` // of new keys
}
