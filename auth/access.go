package auth

import "github.com/redoubtmq/redoubt/mqtt"

// Action is what a client wants to do with a topic.
type Action uint8

// The actions. Receiving a message is judged as Subscribe on its topic name.
const (
	Publish Action = iota
	Subscribe
)

// String is the word the rules file uses.
func (a Action) String() string {
	if a == Publish {
		return "publish"
	}
	return "subscribe"
}

// Access is one thing a client wants to do.
type Access struct {
	Action Action
	Topic  []byte // a topic name for Publish, a topic filter for Subscribe; only read
	QoS    mqtt.QoS
	Retain bool // Publish only
}

// Decision is a Policy's answer. The zero Decision denies.
type Decision struct {
	Allow bool
	// Rule decided; it is never nil in an answer of a Policy.
	Rule *Rule
	// Check is set with an allowed Subscribe when some deny rule overlaps the
	// filter: each delivery must then be judged by DecideDelivery.
	Check bool
	// Unsure is set only for a client whose Claims are Unproven: what it has not proved
	// yet could have changed the answer. Whoever keeps something for that client keeps it
	// until it has come back.
	Unsure bool
}

// Perhaps tells whether the access is allowed, or could be once the client has come back.
// It is no permission to give a client anything.
func (d Decision) Perhaps() bool { return d.Allow || d.Unsure }
