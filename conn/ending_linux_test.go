package conn

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// crawling is a clock that moves a little whenever somebody looks at it.
type crawling struct {
	*clock.Manual
	on    atomic.Bool
	looks atomic.Int64
}

func (c *crawling) Now() time.Time {
	if !c.on.Load() {
		return c.Manual.Now()
	}
	c.looks.Add(1)
	return c.Advance(packetsTime / 2)
}

// TestWhatCameBeforeTheEndIsServed: a client may say all it has to say in one write, and hang up. What
// is put off for the sake of others is served all the same, its DISCONNECT with it: there is no will.
func TestWhatCameBeforeTheEndIsServed(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, qos := range []mqtt.QoS{0, 1} {
			t.Run(fmt.Sprintf("tls %v qos %d", secure, qos), func(t *testing.T) {
				const many = 1500
				var cert *tls.Certificate
				if secure {
					cert = testCertificate(t)
				}
				var slow crawling
				r := newRealRigWith(t, cert, func(m *clock.Manual) clock.Clock { slow.Manual = m; return &slow })
				c := r.connect(mqtt.V311, "alice/c", func(c *mqtt.Connect) {
					c.KeepAlive, c.Will = 300, &mqtt.Will{Topic: "open/will", Payload: []byte("dead")}
				})
				r.settle()
				slow.on.Store(true)
				var all []byte
				for i := range many {
					p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte("0123456789"), QoS: qos}
					if qos > 0 {
						p.PacketID = uint16(i + 1)
					}
					all = p.Append(all, mqtt.V311)
				}
				all = (&mqtt.Disconnect{}).Append(all, mqtt.V311, 0)
				if _, err := c.nc.Write(all); err != nil {
					t.Fatal(err)
				}
				_ = c.nc.Close()
				r.becomes("connections", 0, r.connections)
				if got := r.metrics.Value(metrics.MessagesReceived.At(int(qos))); got != many {
					t.Errorf("%d of %d messages were received", got, many)
				}
				if r.metrics.Value(metrics.ConnectionsClosedDisconnect) != 1 || r.metrics.Value(metrics.WillsPublished) != 0 {
					t.Errorf("closed by a DISCONNECT: %d, gone: %d, wills: %d", r.metrics.Value(metrics.ConnectionsClosedDisconnect), r.metrics.Value(metrics.ConnectionsClosedGone), r.metrics.Value(metrics.WillsPublished))
				}
				if turns := slow.looks.Load(); turns < 10 {
					t.Errorf("the clock was looked at %d times: nothing was put off", turns)
				}
			})
		}
	}
}
