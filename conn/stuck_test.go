package conn

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A client that keeps itself alive and never reads what it subscribed to is closed
// once one write has not moved for stuckMax (A073): it would hold its queue for
// ever.
func TestAClientThatNeverReadsIsClosed(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		slow := r.connection()
		connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: "slow", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), KeepAlive: 10}
		b := connect.Append(nil, mqtt.V311, 0)
		sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#"}}}
		if _, err := slow.Write(sub.Append(b, mqtt.V311, 0)); err != nil {
			t.Fatal(err)
		}
		r.becomes("subscriptions", 2, func() int64 { return r.metrics.Value(metrics.Subscriptions) })
		pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		payload := strings.Repeat("x", 100_000)
		for i := range 200 { // more than the kernel's buffers take
			pub.publish("open/x", payload, 1, uint16(i+1))
			pub.acked(mqtt.PUBACK, uint16(i+1))
		}
		r.becomes("connections", 3, r.connections)
		for range 8 {
			if r.connections() == 2 {
				break
			}
			_ = slow.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = slow.Write([]byte{0xC0, 0}) // it is alive
			r.pass(5 * time.Second)
			r.settle()
		}
		r.becomes("slow readers closed", 1, func() int64 { return r.metrics.Value(metrics.ConnectionsClosedSlow) })
		check()
		_ = slow.Close()
	})
}

// Only a whole packet proves that a client is there: one that sends a byte of a
// long one now and then is closed as if it were silent (A075).
func TestHalfAPacketKeepsNobodyAlive(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		c := r.connect(mqtt.V5, "alice/c", func(c *mqtt.Connect) { c.KeepAlive = 10 })
		p := mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 1000)}
		b := p.Append(nil, mqtt.V5)
		for i := range 7 {
			c.send(b[i : i+1])
			r.settle()
			r.pass(2 * time.Second)
		}
		r.becomes("connections after 14 s", 2, r.connections)
		_, _ = c.nc.Write(b[7:8])
		r.pass(2 * time.Second)
		c.closed(mqtt.KeepAliveTimeout)
		check()
	})
}
