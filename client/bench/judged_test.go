package bench

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// A message that reaches somebody it is not for is none that was delivered.
func TestWhoGetsTheMessageOfAnother(t *testing.T) {
	for scenario, right := range map[Scenario]int{Pair: 1, Offline: 1, Fan: 0} {
		o := &Options{Client: client.DefaultOptions(), Scenario: scenario, Count: 3, QoS: 1, Payload: 64}
		o.Fan.In, o.Offline = 3, OfflineShape{Messages: 2, Publishers: 2}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		r := &run{opt: o, ctx: context.Background(), version: mqtt.V311}
		r.id, r.window, r.payload = 7, 4, make([]byte, 64)
		r.eng = newGoroutines(nil, time.Second, r.tick)
		r.cast()
		if scenario == Offline {
			r.ledger = newLedger(3, 6)
			r.ledger.next = 6
		}
		of := func(by, seq uint32) []byte {
			b := make([]byte, 64)
			stamp{run: 7, publisher: by, seq: seq}.put(b)
			return b
		}
		wrong := r.subs[0]
		if scenario == Fan { // there everybody may have it, but nobody who publishes is number 3
			r.delivered(wrong, of(3, 1))
		} else {
			r.delivered(wrong, of(1, 1))
		}
		if r.total.foreign != 1 || r.total.delivered != 0 {
			t.Errorf("%s: %d foreign, %d delivered", scenario, r.total.foreign, r.total.delivered)
		}
		r.delivered(r.subs[right], of(1, 1))
		if r.total.foreign != 1 || r.total.delivered != 1 {
			t.Errorf("%s, where it belongs: %d foreign, %d delivered", scenario, r.total.foreign, r.total.delivered)
		}
		if scenario == Offline {
			r.delivered(r.subs[1], of(1, 2)) // number 2 is for session 2
			if r.total.foreign != 2 {
				t.Error("a message says that it is for another session than it was sent to")
			}
		}
	}
}

// A ledger knows at any time how many are to come.
func TestWhatIsDue(t *testing.T) {
	l := newLedger(2, 100)
	l.next = 100
	for i := range 100 {
		if i%3 == 0 { // comes before it is acknowledged
			l.arrived(&stamp{seq: uint32(i)})
		}
		l.settled(i)
		l.settled(i)
	}
	if l.due != 66 {
		t.Errorf("%d are due, want 66", l.due)
	}
	for i := range 100 {
		if first := l.arrived(&stamp{seq: uint32(i)}); first != (i%3 != 0) {
			t.Errorf("%d came for the first time: %t", i, first)
		}
	}
	lost, _ := l.judge()
	if l.due != 0 || lost != 0 {
		t.Errorf("%d are due, %d lost", l.due, lost)
	}
	if l.again(); l.due != 100 {
		t.Errorf("%d are due again", l.due)
	}
}

// hoard acknowledges everything, tells of each message, and gives nothing out.
type hoard func()

func (told hoard) serve(c *fake.Conn) {
	if !c.Greet(mqtt.Connack{SessionPresent: true}) {
		return
	}
	for {
		p, err := c.Next()
		if err != nil || p.Type == mqtt.DISCONNECT {
			return
		}
		switch p.Type {
		case mqtt.SUBSCRIBE:
			a := mqtt.Suback{PacketID: uint16(p.Body[0])<<8 | uint16(p.Body[1]), Reasons: []mqtt.ReasonCode{1}}
			c.Send(a.Append(nil, c.Version, 0))
		case mqtt.PUBLISH:
			m := c.DecodePublish(p)
			c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
			told()
		}
	}
}

// Who is interrupted has waited for nothing, and says of nothing that it is lost.
func TestAnInterruptLosesNothing(t *testing.T) {
	for phase, scenario := range map[string]Scenario{"draining": Offline, "publishing": Offline, "subscribing": Retained} {
		ctx, cancel := context.WithCancel(context.Background())
		s := fake.Start(t, nil, hoard(func() {
			if phase == "publishing" {
				cancel()
			}
		}).serve)
		o := to(s, scenario)
		o.QoS, o.Pace.Drain = 1, time.Hour
		o.Offline = OfflineShape{Messages: 20, Publishers: 1}
		if phase == "publishing" {
			o.Offline.Messages = 1_000_000
		}
		o.Retained.Times = 1
		o.Progress = func(p Progress) {
			if p.Phase == phase && phase != "publishing" {
				cancel()
			}
		}
		rep, err := Run(ctx, o)
		if err != nil || rep == nil || !rep.Interrupted || rep.Delivered.Lost > 0 {
			t.Errorf("%s: %+v, %v", phase, rep, err)
		}
		cancel()
	}
}

// Without anybody who asks for them, the figures are of retaining messages.
func TestRetainedThatNobodyAsksFor(t *testing.T) {
	b := fake.NewBroker(t, nil)
	o := to(b.Server, Retained)
	o.Count, o.Retained = 300, RetainedShape{Keep: true}
	rep, err := Run(context.Background(), o)
	if err != nil || rep.Seconds != rep.Retained.FillSeconds || rep.Delivered != nil {
		t.Errorf("%+v of %+v, %v", rep, rep.Retained, err)
	}
}

// A connection that ends with the last bytes it sent is seen to end.
func TestTheEndThatComesWithBytes(t *testing.T) {
	for _, portable := range []bool{false, true} {
		var came atomic.Int32
		s := fake.Start(t, nil, func(c *fake.Conn) {
			if c.Greet(mqtt.Connack{}) && came.Add(1) == 1 { // the probe is to go by itself
				c.Drain()
			}
		})
		o := to(s, Conn)
		o.Portable, o.Count, o.Crowd.Hold = portable, 100, 100*time.Millisecond
		rep, err := Run(context.Background(), o)
		if err != nil || rep.Connections.Ended["closed"]+rep.Connections.Ended["reset"] != 100 {
			t.Errorf("portable %t: %+v, %v", portable, rep, err)
		}
	}
}

// A message of the ledger costs no memory either, though each has another topic.
func TestALedgerDoesNotAllocate(t *testing.T) {
	for _, scenario := range []Scenario{Offline, Retained} {
		o := &Options{Client: client.DefaultOptions(), Scenario: scenario, Count: 50_000, QoS: 1, Topic: "bench"}
		r := &run{opt: o, version: mqtt.V5}
		r.payload = make([]byte, 64)
		p := &peer{pub: newPublisher("bench/123456/7", 1, mqtt.V5, r.payload, 10)}
		r.ledger = newLedger(o.Count, o.Count)
		if n := testing.AllocsPerRun(2000, func() { _, _ = r.nextOffline(p) }); n != 0 {
			t.Errorf("%s: %v allocations for a message", scenario, n)
		}
		m := mqtt.Publish{QoS: 1, PacketID: 1, Payload: r.payload, Topic: []byte("bench/2000"), Retain: scenario == Retained}
		if m.Retain {
			m.Topic = []byte("bench/2/0/v")
		}
		if want := m.Append(nil, mqtt.V5); string(append(p.pub.head, r.payload...)) != string(want) {
			t.Errorf("%s: % x, want % x", scenario, p.pub.head, want)
		}
	}
}
