package conn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A client that keeps itself alive and never reads what it subscribed to is closed
// once one write has not moved for stuckMax (A073): it would hold its queue for
// ever.
func TestAClientThatNeverReadsIsClosed(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		slow := r.connection()
		hardlyBuffers(slow)
		connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: "slow", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), KeepAlive: 10}
		b := connect.Append(nil, mqtt.V311, 0)
		sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#"}}}
		if _, err := slow.Write(sub.Append(b, mqtt.V311, 0)); err != nil {
			t.Fatal(err)
		}
		r.becomes("subscriptions", 2, func() int64 { return r.metrics.Value(metrics.Subscriptions) })
		pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		payload := strings.Repeat("x", 100_000)
		for i := range 80 { // more than the kernel's buffers take
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

// A packet that was begun must come to its end, however often its client says that
// it is there on a long keep alive (A075, D-04), and a large one gets the time that
// a slow network needs.
func TestHalfAPacketHasItsTime(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		c := r.connect(mqtt.V5, "alice/c", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		small := mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 1000)}
		large := mqtt.Publish{Topic: []byte("open/y"), Payload: make([]byte, 800_000)}
		b := append(small.Append(nil, mqtt.V5), large.Append(nil, mqtt.V5)...)
		for _, part := range [][]byte{b[:500], b[500 : len(b)-len(large.Append(nil, mqtt.V5))+1], b[len(b)-len(large.Append(nil, mqtt.V5))+1 : 20_000], b[20_000:400_000], b[400_000:]} { // each within its time
			c.send(part)
			r.settle()
			r.pass(25 * time.Second)
			r.settle()
		}
		check()
		late := r.connect(mqtt.V5, "bob/c", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		late.send(small.Append(nil, mqtt.V5)[:20])
		for range 3 {
			r.settle()
			r.pass(6 * time.Second)
			late.silent()
		}
		r.pass(14 * time.Second)
		late.closed(mqtt.QuotaExceeded)
		check()
		r.becomes("connections", 2, r.connections)
	})
}

// Incomplete packets count against what all clients may hold together.
func TestHalfPacketsAreCounted(t *testing.T) {
	play(t, func(r *rig) {
		large := mqtt.Publish{Topic: []byte("open/y"), Payload: make([]byte, 800_000)}
		b := large.Append(nil, mqtt.V5)[:400_000]
		first := r.connect(mqtt.V5, "alice/1")
		first.send(b)
		r.settle()
		second := r.connect(mqtt.V5, "alice/2")
		_, _ = second.nc.Write(b) // cut short, where the pipe has no buffer
		second.closed(mqtt.QuotaExceeded)
		_ = first.nc.Close()
		r.becomes("connections", 0, r.connections)
		if n := r.sess.Account.Held(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	}, func(r *rig) { r.sess.Account = session.NewAccount(700_000) })
}

// What one identity begins and does not end, on however many connections, leaves room for
// what others say: its own are refused first.
func TestHalfPacketsOfOneAreBounded(t *testing.T) {
	play(t, func(r *rig) {
		large := mqtt.Publish{Topic: []byte("open/y"), Payload: make([]byte, 800_000)}
		b := large.Append(nil, mqtt.V5)
		var alices []*client
		for i := range 20 {
			c := r.connect(mqtt.V5, fmt.Sprint("alice/", i))
			_, _ = c.nc.Write(b[:700_000]) // some are cut short
			alices = append(alices, c)
			r.settle()
		}
		if held := r.sess.Account.Held(); held < 2<<20 || held > 5<<20 {
			t.Errorf("one identity holds %d bytes of %d", held, 8<<20)
		}
		bob := r.connect(mqtt.V5, "bob/1", func(c *mqtt.Connect) { c.CleanStart = true })
		bob.send(b[:700_000])
		r.settle()
		bob.send(b[700_000:])
		bob.send(mqtt.AppendPingreq(nil))
		bob.expect(mqtt.PINGRESP)
		for _, c := range alices {
			_ = c.nc.Close()
		}
		_ = bob.nc.Close()
		r.becomes("connections", 0, r.connections)
		if n := r.sess.Account.Held(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		for place := range 1 << 14 {
			if n := r.server.halves.Sum(uint16(place)); n != 0 {
				t.Errorf("%d bytes are still somebody's", n)
			}
		}
	}, func(r *rig) { r.sess.Account = session.NewAccount(8 << 20) })
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
