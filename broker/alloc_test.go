//go:build !race

package broker

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/observe"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAllocPublish holds the budget of the publish path: nothing for a QoS 0
// fan-out but the pooled frame, at most two for QoS 1.
func TestAllocPublish(t *testing.T) {
	for _, row := range []struct {
		name string
		subs int
		qos  mqtt.QoS
		most float64
	}{
		{"QoS 0 to nobody", 0, 0, 0},
		{"QoS 0 to one", 1, 0, 0},
		{"QoS 0 to 100", 100, 0, 0},
		{"QoS 1 to one", 1, 1, 2},
	} {
		d := newDesk(t, 1, func(s *Settings) { // with every rate there is
			s.PublishRate = PublishRate{Messages: 1e6, Bytes: 1 << 30, Burst: time.Minute}
			s.PublishRateTotal = limit.FairRate{Messages: 1e8, Bytes: 1 << 40, Burst: time.Minute}
		})
		d.b.candidate, d.b.observer = &Candidate{Rules: &auth.Authorizer{}, Differences: &audit.Differences{}}, &observe.Observer{} // there, and off
		d.wires[0].drop = true
		pub := d.sit(0, "pub")
		for i := range row.subs {
			d.sit(0, fmt.Sprint("sub", i)).subscribe("open/x", row.qos)
		}
		p := &mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 256), QoS: row.qos, PacketID: 1}
		ack := &mqtt.Ack{Type: mqtt.PUBACK}
		got := testing.AllocsPerRun(1000, func() {
			d.homes[0].Publish(d.now, pub.ref, p)
			if row.qos > 0 {
				ack.PacketID++
				d.homes[0].Ack(d.now, Ref{1, 1}, ack)
			}
			d.homes[0].Turn(d.now)
		})
		if got > row.most {
			t.Errorf("%s: %v allocations, want at most %v", row.name, got, row.most)
		}
	}
}

func BenchmarkPublishQoS0ToOne(b *testing.B) {
	d := newDesk(b, 1)
	d.wires[0].drop = true
	pub := d.sit(0, "pub")
	d.sit(0, "sub").subscribe("open/x", 0)
	p := &mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		d.homes[0].Publish(d.now, pub.ref, p)
	}
}

// BenchmarkPublishWithinRates is the same under rates of the client, the listener and the node.
func BenchmarkPublishWithinRates(b *testing.B) {
	all := limit.FairRate{Messages: 1e8, Bytes: 1 << 40, Burst: 2 * time.Second}
	each := PublishRate{Messages: 1e8, Bytes: 1 << 40, Burst: time.Minute}
	d := newDesk(b, 1, func(s *Settings) {
		s.PublishRate, s.PublishRateTotal = each, all
		s.Entrances = map[string]*Entrance{"": {Offer: s.Offer, Rates: &EntranceRates{PublishRate: each, PublishRateTotal: all}}}
	})
	d.wires[0].drop = true
	pub := d.sit(0, "pub")
	d.sit(0, "sub").subscribe("open/x", 0)
	p := &mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 256)}
	b.ReportAllocs()
	for b.Loop() {
		d.now = d.now.Add(time.Microsecond)
		d.homes[0].Publish(d.now, pub.ref, p)
	}
}

// There is one for every session, also for those whose clients are away. The allocator's next
// sizes are 416, and 352 below.
func TestResidentAllocatesAsMuchAsItDid(t *testing.T) {
	if n := unsafe.Sizeof(resident{}); n > 384 {
		t.Errorf("a resident has %d bytes", n)
	}
	if n := unsafe.Sizeof(flap{}); n > 16 {
		t.Errorf("a window of flapping has %d bytes", n)
	}
}
