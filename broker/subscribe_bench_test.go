//go:build !race

package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// BenchmarkSubscribeMany is what one client costs that subscribes to one wildcard filter after another, eight in a packet, until
// it has 100,000, and comes again: by filter, with the packet's decoding, what the retained store owes it and the end of its session.
func BenchmarkSubscribeMany(b *testing.B) {
	const (
		most = 100_000
		each = 8
		turn = 4 // packets of one
	)
	d := newDesk(b, 1, func(s *Settings) {
		s.Subscriptions, s.WildcardSubscriptions, s.Session.Account = most, most, session.NewAccount(1<<40)
	})
	d.wires[0].drop = true
	h := d.homes[0]
	var bodies [][]byte
	var heads []mqtt.Header
	for n := range most / each {
		p := mqtt.Subscribe{PacketID: 1}
		for k := range each {
			p.Filters = append(p.Filters, mqtt.Subscription{Filter: fmt.Sprintf("open/+/0/%d/%d/%d/#", n/360, n%360, k)})
		}
		packet := p.Append(nil, mqtt.V311, 0)
		head, _, _ := mqtt.ReadHeader(packet, mqtt.V311)
		heads, bodies = append(heads, head), append(bodies, packet[head.Size:])
	}
	come := func() seat {
		return d.sit(0, "rogue", func(_ *auth.Principal, c *mqtt.Connect) {
			c.Version, c.SessionExpiry, c.CleanStart = mqtt.V311, 0, true
		})
	}
	s, n := come(), 0
	var subscribe mqtt.Subscribe
	b.ReportAllocs()
	for i := 0; i < b.N; i += each {
		if n == len(bodies) {
			h.Disconnect(d.now, s.ref, &mqtt.Disconnect{})
			for h.work.left.many > 0 {
				h.Turn(d.now)
			}
			s, n = come(), 0
		}
		if err := mqtt.DecodeSubscribe(bodies[n], heads[n], mqtt.V311, mqtt.Limits{Filters: 1000, SkipUsers: true}, &subscribe); err != nil {
			b.Fatal(err)
		}
		h.Subscribe(d.now, s.ref, &subscribe)
		if n++; n%turn == 0 {
			h.Turn(d.now)
			d.now = d.now.Add(time.Millisecond)
		}
	}
}
