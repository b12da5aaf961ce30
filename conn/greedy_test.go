package conn

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// What one write of a publisher causes is spread over turns once it is more than
// deliveriesPerTurn: nothing is lost, the order stays, and what comes behind it on
// the same connection waits its turn.
func TestABurstOfDeliveriesIsSpreadOverTurns(t *testing.T) {
	const subs, publishes = 50, 100 // 5,000 deliveries
	if subs*publishes <= deliveriesPerTurn {
		t.Fatal("the burst fits a turn; the test proves nothing")
	}
	play(t, func(r *rig) {
		var to []*client
		for i := range subs {
			c := r.connect(mqtt.V5, fmt.Sprintf("alice/%d", i))
			c.subscribe("open/x", 0)
			to = append(to, c)
		}
		pub := r.connect(mqtt.V5, "bob/p")
		var burst []byte
		for i := range publishes {
			p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(fmt.Sprint(i))}
			burst = p.Append(burst, mqtt.V5)
		}
		pub.send(append(burst, 0xC0, 0))
		for _, c := range to {
			for i := range publishes {
				c.gets("open/x", fmt.Sprint(i))
			}
			c.silent()
		}
		pub.expect(mqtt.PINGRESP)
	})
}
