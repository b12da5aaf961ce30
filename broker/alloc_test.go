//go:build !race

package broker

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/observe"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
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
// sizes are 384, and 320 below; of what the log has, 112 and 80; of its subscriptions, 64 and 32.
func TestResidentAllocatesAsMuchAsItDid(t *testing.T) {
	if n := unsafe.Sizeof(resident{}); n > 352 {
		t.Errorf("a resident has %d bytes", n)
	}
	if n := unsafe.Sizeof(durable{}); n > 96 {
		t.Errorf("what the home knows of it in the log has %d bytes", n)
	}
	if n := unsafe.Sizeof(durableSub{}); n > 48 {
		t.Errorf("a subscription as the log knows it has %d bytes", n)
	}
	if n := unsafe.Sizeof(flap{}); n > 16 {
		t.Errorf("a window of flapping has %d bytes", n)
	}
}

// TestAllocSessionsThatAreAway: a session that is away, with one subscription, and no more than that.
func TestAllocSessionsThatAreAway(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n, most = 4000, 560
	d := newDesk(t, 1, func(s *Settings) {
		s.SessionsTotal = 100 * n
		s.SubscribeRate = SubscribeRate{Filters: 100, Burst: time.Second}
		s.Session.Account = session.NewAccount(1 << 30)
	})
	come := func(from, to int) {
		for i := from; i < to; i++ {
			s := d.sit(0, "all", func(_ *auth.Principal, c *mqtt.Connect) {
				c.ClientID, c.Version, c.SessionExpiry = fmt.Sprint("device-", i), mqtt.V311, 0
			})
			s.subscribe(fmt.Sprint("open/", i, "/cmd"), 1)
			d.homes[0].Turn(d.now) // what is retained has come
			d.homes[0].Disconnect(d.now, s.ref, &mqtt.Disconnect{})
		}
		for range 2*n/talkStep + 4 { // what they have done is told, and then forgotten
			d.now = d.now.Add(talkSeldom)
			d.homes[0].Tick(d.now)
			d.homes[0].Turn(d.now)
		}
		w := d.wires[0]
		w.sent, w.closed, w.paused = map[ConnRef][]session.Out{}, map[ConnRef]mqtt.ReasonCode{}, map[ConnRef]bool{}
	}
	come(0, n)
	before := heap()
	come(n, 2*n)
	if each := (heap() - before) / n; each > most {
		t.Errorf("a session that is away takes %d bytes, want at most %d", each, most)
	}
	for _, r := range d.homes[0].slots {
		if r.rates.spent != nil || r.some != nil || r.rates.talk != 0 {
			t.Fatalf("%s keeps %+v and %+v", r.by.ClientID, r.rates, r.some)
		}
	}
	if got := d.b.Sessions(); got != 2*n {
		t.Errorf("%d sessions are there, want %d", got, 2*n)
	}
}
