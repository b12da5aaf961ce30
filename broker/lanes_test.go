package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A full data lane drops QoS 0, keeps the rest, and holds back acknowledgements
// and everything behind them, in the publisher's order, until there is room.
func TestAFullLaneHoldsThePublisherBack(t *testing.T) {
	d := newDesk(t, 2)
	sub, near, pub := d.sit(1, "far"), d.sit(0, "near"), d.sit(0, "pub")
	sub.subscribe("open/#", 2)
	near.subscribe("open/only-near", 2)
	d.wires[1].refuse = true

	pub.publish("open/x", "q0 lost", 0, 0)
	pub.publish("open/x", "1", 1, 1) // in the lane before anybody knows that it is full
	d.turn()
	if got := pub.acks(); !slices.Equal(got, []uint16{1}) {
		t.Fatalf("acknowledged %v, want 1", got)
	}
	if n := d.metrics.Value(metrics.MessagesDroppedInboxFull); n != 1 {
		t.Fatalf("%d dropped, want the one of QoS 0", n)
	}

	pub.publish("open/x", "2", 1, 2)         // blocked: waits
	pub.publish("open/only-near", "3", 1, 3) // could go, but not before 2
	pub.publish("open/x", "4", 2, 4)
	pub.publish("open/x", "4", 2, 4, func(p *mqtt.Publish) { p.Dup = true }) // the same once more
	pub.publish("open/x", "5", 0, 0)
	d.turn()
	if got := pub.acks(); got != nil {
		t.Fatalf("acknowledged %v while the lane is full", got)
	}
	if got := near.payloads(); got != nil {
		t.Fatalf("%v overtook", got)
	}
	if !d.wires[0].paused[pub.conn] {
		t.Fatal("the publisher is still read")
	}

	d.wires[1].refuse = false
	for range 6 {
		d.turn()
	}
	if got := pub.acks(); !slices.Equal(got, []uint16{2, 3, 4}) {
		t.Errorf("acknowledged %v, want 2 3 4", got)
	}
	// "3" is also for far; QoS 0 keeps no order with the others.
	if got := sub.payloads(); !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("far got %v", got)
	}
	if got := near.payloads(); !slices.Equal(got, []string{"3"}) {
		t.Errorf("near got %v", got)
	}
	if d.wires[0].paused[pub.conn] {
		t.Error("the publisher is not read again")
	}
}

// A publisher that leaves while its messages wait does not take them along.
func TestAPublisherThatLeavesWhileItsMessagesWait(t *testing.T) {
	d := newDesk(t, 2)
	sub, pub := d.sit(1, "far"), d.sit(0, "pub")
	sub.subscribe("open/#", 1)
	d.wires[1].refuse = true
	for i := range uint16(5) {
		pub.publish("open/x", fmt.Sprint(i), 1, i+1)
		d.turn()
	}
	pub.h().Gone(d.now, pub.ref)
	d.wires[1].refuse = false
	for range 8 {
		d.turn()
	}
	if got := sub.payloads(); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %v", got)
	}
}

// A reference to a slot that has a new session must not deliver to it.
func TestAMessageOnItsWayMissesAReusedSlot(t *testing.T) {
	d := newDesk(t, 2)
	sub, pub := d.sit(1, "old"), d.sit(0, "pub")
	sub.subscribe("open/#", 1)
	pub.publish("open/x", "for old", 1, 1)
	d.homes[0].Turn(d.now) // the batch waits in the inbox of home 1
	d.homes[1].evict(d.now, d.homes[1].at(sub.ref))
	fresh := d.sit(1, "new")
	if fresh.ref.Slot != sub.ref.Slot {
		t.Fatal("the slot was not used again; the test proves nothing")
	}
	d.turn()
	if got := fresh.payloads(); got != nil {
		t.Errorf("the new session got %v", got)
	}
	if n := d.metrics.Value(metrics.MessagesDroppedNoSession); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// Overlapping subscriptions of one session make one delivery: the highest QoS,
// every identifier; No Local leaves out only its own.
func TestOverlappingSubscriptions(t *testing.T) {
	d := newDesk(t, 2)
	for _, home := range []int{0, 1} {
		sub, pub := d.sit(home, fmt.Sprint("sub", home)), d.sit(0, fmt.Sprint("pub", home))
		for i, f := range []string{"open/#", "open/+", "open/x"} {
			sub.h().Subscribe(d.now, sub.ref, &mqtt.Subscribe{PacketID: 1, SubscriptionID: uint32(i + 1), Filters: []mqtt.Subscription{{Filter: f, QoS: mqtt.QoS(i % 2)}}})
		}
		sub.take()
		pub.publish("open/x", "once", 2, 1)
		d.turn()
		d.turn()
		out := sub.take()
		if len(out) != 1 {
			t.Fatalf("home %d: %d deliveries, want 1", home, len(out))
		}
		ids := slices.Clone(out[0].SubIDs)
		slices.Sort(ids)
		if out[0].QoS() != 1 || !slices.Equal(ids, []uint32{1, 2, 3}) {
			t.Errorf("home %d: QoS %d, identifiers %v", home, out[0].QoS(), ids)
		}
		sub.h().Unsubscribe(d.now, sub.ref, &mqtt.Unsubscribe{PacketID: 2, Filters: []string{"open/#", "open/+", "open/x"}})
	}
	self := d.sit(0, "self")
	self.subscribe("open/own", 0, func(s *mqtt.Subscription) { s.NoLocal = true })
	self.publish("open/own", "mine", 0, 0)
	if got := self.payloads(); got != nil {
		t.Errorf("No Local got %v", got)
	}
	self.subscribe("open/+", 0)
	self.publish("open/own", "mine", 0, 0)
	if got := self.payloads(); len(got) != 1 {
		t.Errorf("the other subscription got %v", got)
	}
}

// Retained messages come in bounded steps, wait for the window, and are never
// doubled by the same message coming live.
func TestRetainedReplay(t *testing.T) {
	d := newDesk(t, 2)
	sub, pub := d.sit(1, "sub"), d.sit(0, "pub")
	const n = 500
	for i := range n {
		pub.publish(fmt.Sprintf("open/r/%03d", i), "old", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	}
	// One update is on its way to the subscriber when it subscribes.
	sub.h().Subscribe(d.now, sub.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/other", QoS: 1}}})
	pub.publish("open/r/007", "new", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
	sub.subscribe("open/r/#", 1)
	pub.publish("open/r/499", "newest", 1, 1, func(p *mqtt.Publish) { p.Retain = true }) // after: comes live only
	got := map[string]int{}
	for range 200 {
		d.turn()
		out := sub.take()
		if len(out) > 64 {
			t.Fatalf("%d messages in one turn", len(out))
		}
		for _, o := range out {
			if o.Kind == session.OutPublish {
				got[string(o.Frame.Topic())+"="+string(o.Frame.Payload())]++
				sub.h().Ack(d.now, sub.ref, &mqtt.Ack{Type: mqtt.PUBACK, PacketID: o.ID})
			}
			o.Done()
		}
	}
	if len(got) != n || got["open/r/007=new"] != 1 || got["open/r/499=newest"] != 1 || got["open/r/499=old"] != 0 {
		t.Errorf("%d different, 007=new %d times, 499=newest %d times, 499=old %d times", len(got), got["open/r/007=new"], got["open/r/499=newest"], got["open/r/499=old"])
	}
	for m, times := range got {
		if times != 1 {
			t.Errorf("%s came %d times", m, times)
		}
	}
}
