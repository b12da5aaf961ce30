package broker

import (
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// A PUBACK waits for the record of a message that a session must have which outlives
// the process, at each of its steps.
func TestPubackComesWhenApplied(t *testing.T) {
	k := newKeptDesk(t, 2)
	sub, pub := k.join(0, "sub"), k.join(1, "pub", fleeting)
	k.hears(sub, "open/#", 1)
	pub.publish("open/a", "m1", 1, 7)
	pub.expect("")
	k.turn()
	pub.expect("")
	k.commit()
	k.news()
	pub.expect("")
	sub.expect("")
	k.apply()
	pub.expect("PUBACK #7")
	sub.expect("m1 q1 #1")
	_ = mqtt.V5
}
