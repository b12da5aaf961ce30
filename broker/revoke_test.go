package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// A deleted user leaves nothing: no will speaks for it, and who gets the name
// next finds no session. A password change only closes connections.
func TestRevoke(t *testing.T) {
	d := newDesk(t, 1)
	watch := d.sit(0, "watch")
	watch.subscribe("open/will", 0)
	for _, deleted := range []bool{false, true} {
		bob := d.sit(0, "bob")
		bob.subscribe("open/x", 1)
		bob.h().Gone(d.now, bob.ref)
		o, refusal := d.homes[0].Open(d.now, &Arrival{Conn: bob.conn, By: d.homes[0].at(bob.ref).by, Connect: &mqtt.Connect{
			Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, SessionExpiry: 100, Will: &mqtt.Will{Topic: "open/will", Payload: []byte("bob is gone")}}})
		if refusal != nil {
			t.Fatal(refusal)
		}
		d.homes[0].Revoke(d.now, map[string]bool{"bob": deleted})
		if got := d.wires[0].closed[bob.conn]; got != mqtt.AdministrativeAction {
			t.Errorf("deleted %v: closed with %v", deleted, got)
		}
		wills, sessions := 1, 2
		if deleted {
			wills, sessions = 0, 1
		}
		if got := watch.payloads(); len(got) != wills {
			t.Errorf("deleted %v: wills %v", deleted, got)
		}
		if d.b.Sessions() != sessions {
			t.Errorf("deleted %v: %d sessions left, want %d", deleted, d.b.Sessions(), sessions)
		}
		if deleted && d.homes[0].at(o.Ref) != nil {
			t.Error("a deleted user's session is still there")
		}
	}
}

// A session that is owed retained messages and goes away asks for no turns.
func TestNobodyTurnsForASessionThatLeft(t *testing.T) {
	d := newDesk(t, 1)
	sub := d.sit(0, "sub")
	sub.subscribe("open/#", 1)
	sub.h().Gone(d.now, sub.ref)
	d.homes[0].Turn(d.now)
	before := d.wires[0].asked
	for range 100 {
		d.homes[0].Turn(d.now)
	}
	if n := d.wires[0].asked - before; n != 0 {
		t.Errorf("%d turns were asked for with nothing to do", n)
	}
}

// A right that goes while retained messages are on their way stops them, whether
// the subscription ends or a deny comes to overlap it (A051, A054).
func TestRetainedStopWithTheRight(t *testing.T) {
	for name, text := range map[string]string{
		"the subscription ends": "version: 1\nrules:\n  - {allow: publish, topics: [\"open/#\"]}\n",
		"a deny overlaps":       "version: 1\nrules:\n  - {deny: subscribe, topics: [\"open/r/#\"]}\n  - {allow: all, topics: [\"open/#\"]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 1)
			sub, pub := d.sit(0, "sub"), d.sit(0, "pub")
			for i := range 400 {
				pub.publish(fmt.Sprintf("open/r/%03d", i), "x", 0, 0, func(p *mqtt.Publish) { p.Retain = true })
			}
			sub.subscribe("open/#", 0)
			d.homes[0].Turn(d.now)
			if n := len(sub.payloads()); n == 0 || n == 400 {
				t.Fatalf("%d retained messages after one turn; the test proves nothing", n)
			}
			p, err := rules.Parse("rules.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			d.b.authz.Swap(p)
			d.homes[0].PolicyChanged(d.now)
			for range 20 {
				d.homes[0].Turn(d.now)
			}
			if got := sub.payloads(); got != nil {
				t.Errorf("%d more after the right had gone", len(got))
			}
		})
	}
}

// A publisher that comes back while its earlier messages wait is not read either.
func TestAResumedPublisherWaitsForItsRing(t *testing.T) {
	d := newDesk(t, 2)
	sub, pub := d.sit(1, "far"), d.sit(0, "pub")
	sub.subscribe("open/#", 2)
	d.wires[1].refuse = true
	pub.publish("open/x", "1", 2, 1)
	d.turn()
	pub.publish("open/x", "2", 2, 2)
	pub.h().Gone(d.now, pub.ref)
	delete(d.wires[0].paused, pub.conn)
	if _, refusal := d.homes[0].Open(d.now, &Arrival{Conn: pub.conn, By: d.homes[0].at(pub.ref).by, Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, SessionExpiry: 100}}); refusal != nil {
		t.Fatal(refusal)
	}
	if !d.wires[0].paused[pub.conn] {
		t.Error("it is read, and its ring could grow with every reconnect")
	}
	d.wires[1].refuse = false
	for range 5 {
		d.turn()
	}
	if d.wires[0].paused[pub.conn] {
		t.Error("it is not read again")
	}
}

// An answer the client cannot take ends the connection; it is never sent
// [MQTT-3.1.2-24].
func TestAnAnswerOverTheClientsMaximum(t *testing.T) {
	d := newDesk(t, 1)
	conn := ConnRef{9, 9}
	o, refusal := d.homes[0].Open(d.now, &Arrival{Conn: conn, By: principal("small"), Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, MaximumPacketSize: 50}})
	if refusal != nil {
		t.Fatal(refusal)
	}
	p := &mqtt.Subscribe{PacketID: 1}
	for i := range 100 {
		p.Filters = append(p.Filters, mqtt.Subscription{Filter: fmt.Sprint("open/", i)})
	}
	d.wires[0].sent[conn] = nil
	d.homes[0].Subscribe(d.now, o.Ref, p)
	if got := d.wires[0].closed[conn]; got != mqtt.PacketTooLarge {
		t.Errorf("closed with %v", got)
	}
	for _, out := range d.wires[0].sent[conn] {
		if out.Kind == session.OutPacket && len(out.Bytes) > 50 {
			t.Errorf("a packet of %d bytes was sent", len(out.Bytes))
		}
	}
}

// Properties are paid for like payload, and to connect again buys no new burst.
func TestTheRateCountsEverythingAndSurvivesReconnects(t *testing.T) {
	d := newDesk(t, 1, func(s *Settings) { s.PublishRate = PublishRate{Bytes: 1000, Burst: 2e9} })
	pub := d.sit(0, "pub")
	props := make([]byte, 0, 3000)
	for range 300 {
		props = append(props, 0x26, 0, 1, 'k', 0, 3, 'v', 'v', 'v')
	}
	pub.publish("open/x", "", 0, 0, func(p *mqtt.Publish) { p.Props = props })
	if !d.wires[0].paused[pub.conn] {
		t.Error("2,700 bytes of properties passed a burst of 2,000")
	}
	pub.h().Gone(d.now, pub.ref)
	delete(d.wires[0].paused, pub.conn)
	if _, refusal := d.homes[0].Open(d.now, &Arrival{Conn: pub.conn, By: principal("pub"), Connect: &mqtt.Connect{Version: mqtt.V5, ClientID: "c", ReceiveMaximum: 10, SessionExpiry: 100}}); refusal != nil {
		t.Fatal(refusal)
	}
	pub.publish("open/x", "a little more", 0, 0)
	if !d.wires[0].paused[pub.conn] {
		t.Error("reconnecting bought a new burst")
	}
	if d.metrics.Value(metrics.PublisherPauses) != 2 {
		t.Error("pauses are not counted")
	}
}
