package conn

import (
	"testing"
	"testing/synctest"

	"github.com/redoubtmq/redoubt/mqtt"
)

// A client may have as many QoS 2 messages unreleased as CONNACK said, and one more
// ends it [MQTT-3.3.4-7]; a release makes room. A v3 client was told nothing and has
// the bound of the memory.
func TestReceiveMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for v, most := range map[mqtt.Version]int{mqtt.V5: r.sess.ReceiveMaximum, mqtt.V311: r.sess.AwaitingRelMax} {
			c := r.connect(v, "bob/qos2")
			sends := func(id int) {
				c.publish("open/x", "x", 2, uint16(id))
				if rc := c.acked(mqtt.PUBREC, uint16(id)); rc >= 0x80 {
					t.Fatalf("%v: PUBREC %d: %v", v, id, rc)
				}
			}
			for id := 1; id <= most; id++ {
				sends(id)
			}
			sends(1) // again: known, so it is no more than before
			c.ack(mqtt.PUBREL, 2)
			c.acked(mqtt.PUBCOMP, 2)
			sends(most + 1)
			c.publish("open/x", "x", 2, uint16(most+2))
			c.closed(mqtt.ReceiveMaximumExceeded)
		}
	})
}
