package broker

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestAClientHearsThatItsSubscriptionHasEnded: where a denial ends the connection of a version
// 5 client, so does a change of the rules that ends one of its subscriptions; where it does
// not, and in version 3, the subscription alone ends. Who keeps his rights keeps all.
func TestAClientHearsThatItsSubscriptionHasEnded(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		for _, disconnect := range []bool{false, true} {
			t.Run(fmt.Sprint(v, " ", disconnect), func(t *testing.T) {
				d := newDesk(t, 1, func(s *Settings) { s.DenyDisconnect = disconnect })
				version := func(_ *auth.Principal, c *mqtt.Connect) { c.Version = v }
				loses, keeps, pub := d.sit(0, "loses", version), d.sit(0, "keeps", version), d.sit(0, "pub")
				loses.subscribe("open/a", 1)
				keeps.subscribe("open/b", 1)
				p, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {allow: subscribe, topics: [\"open/b\"]}\n  - {allow: publish, topics: [\"open/#\"]}\n"))
				if err != nil {
					t.Fatal(err)
				}
				d.b.authz.Swap(p)
				d.homes[0].PolicyChanged(d.now)
				why, closed := d.wires[0].closed[loses.conn]
				if want := disconnect && v == mqtt.V5; closed != want || want && why != mqtt.NotAuthorized {
					t.Errorf("closed %v, %v", closed, why)
				}
				if _, closed := d.wires[0].closed[keeps.conn]; closed {
					t.Error("who may still has been closed")
				}
				pub.publish("open/a", "x", 0, 0)
				pub.publish("open/b", "x", 0, 0)
				if got := loses.payloads(); got != nil {
					t.Errorf("%v came to a subscription that has ended", got)
				}
				if got := keeps.payloads(); len(got) != 1 {
					t.Errorf("%v came to one that has not", got)
				}
			})
		}
	}
}

// TestNothingGoesByTheRulesOfBefore: with many sessions some are judged turns after the rules have changed, when that was answered
// already. What comes for them meanwhile is judged by itself, and what is in their queues
// before any of it is sent (A051).
func TestNothingGoesByTheRulesOfBefore(t *testing.T) {
	for _, way := range []string{"delivery", "acknowledgement", "writable", "limits"} {
		d := newDesk(t, 1)
		if way == "limits" {
			d.relimit(1, 1000, 10)
		}
		busy := d.sit(0, "busy")
		for i := range decisionsPerTurn {
			busy.h().Subscribe(d.now, busy.ref, &mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprint("open/busy/", i)}}})
		}
		pub := d.sit(0, "pub")
		narrow := func(_ *auth.Principal, c *mqtt.Connect) {
			if way != "limits" {
				c.ReceiveMaximum = 1
			}
		}
		loses, keeps := d.sit(0, "loses", narrow), d.sit(0, "keeps", narrow)
		for _, s := range []seat{loses, keeps} {
			s.subscribe("open/#", 1)
		}
		ids := map[seat]uint16{}
		if way != "delivery" {
			pub.publish("open/secret", "1", 1, 1)
			pub.publish("open/secret", "2", 1, 2)
			for _, s := range []seat{loses, keeps} {
				for _, o := range s.take() {
					ids[s] = o.ID
					o.Done()
				}
				if way == "writable" { // one that is full keeps back what an acknowledgement would let go
					s.h().at(s.ref).s.Congest()
					s.h().Ack(d.now, s.ref, &mqtt.Ack{Type: mqtt.PUBACK, PacketID: ids[s]})
				}
				if got := s.payloads(); len(got) > 0 {
					t.Fatalf("%s: %v before the rules change", way, got)
				}
			}
		}
		d.rules("  - {deny: subscribe, users: [loses], topics: [\"open/secret\"]}\n  - {allow: all, topics: [\"open/#\"]}")
		d.homes[0].PolicyChanged(d.now)
		if h := d.homes[0]; !h.work.judge || h.work.judging > loses.ref.Slot {
			t.Fatalf("%s: %d are judged, want a part", way, h.work.judging)
		}
		want := "[2]"
		switch way {
		case "delivery":
			pub.publish("open/secret", "2", 1, 2)
		case "acknowledgement":
			for _, s := range []seat{loses, keeps} {
				s.h().Ack(d.now, s.ref, &mqtt.Ack{Type: mqtt.PUBACK, PacketID: ids[s]})
			}
		case "limits":
			d.relimit(10, 1000, 10)
		default:
			for _, s := range []seat{loses, keeps} {
				s.h().Writable(d.now, s.ref)
			}
		}
		if got := loses.payloads(); got != nil {
			t.Errorf("%s: %v came by the rules of before", way, got)
		}
		if got := fmt.Sprint(keeps.payloads()); got != want {
			t.Errorf("%s: who may still has %v, want %s", way, got, want)
		}
	}
}
