package config

// SCRAMAuthenticator lets users of the built-in store prove by SCRAM that they know their
// passwords.
type SCRAMAuthenticator struct {
	Type       string   `yaml:"type"`       // scram
	Algorithms []string `yaml:"algorithms"` // sha256, sha512
	Iterations int      `yaml:"iterations"` // of new keys
}
