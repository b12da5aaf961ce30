package config

// What becomes of a client whose identity has a client of that identifier connected.
const (
	SameClientTakeover = "takeover" // the newer one has the session, as MQTT says
	SameClientRefuse   = "refuse"   // the older one keeps it, and the newer is refused with 0x97
)

// Newcomers is how a client is received of whose identity others are connected.
type Newcomers struct {
	SameClient    string `yaml:"same_client"`
	PerIdentity   int    `yaml:"connections_per_identity"` // 0: any number
	MostAttribute string `yaml:"connections_attribute"`    // client attribute with another number; empty: none has
}
