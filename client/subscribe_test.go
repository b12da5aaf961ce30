package client

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

func filters(names ...string) (s mqtt.Subscribe) {
	for _, n := range names {
		s.Filters = append(s.Filters, mqtt.Subscription{Filter: n, QoS: 1})
	}
	return s
}

func TestSubscribeTellsEveryFilter(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		t.Run(v.String(), func(t *testing.T) {
			b := fake.NewBroker(t, nil)
			o := receiving(b.Server)
			o.Connect.Version = v
			c := dial(t, o)
			got, err := c.Subscribe(t.Context(), filters("a/#", "denied/b", "c"))
			if err != nil || len(got) != 3 {
				t.Fatalf("got %v, %v", got, err)
			}
			if got[0].Err != nil || got[0].Reason != mqtt.GrantedQoS1 || got[2].Err != nil {
				t.Errorf("granted filters: %+v", got)
			}
			wantKind(t, got[1].Err, KindSubscribeRefused)
			if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a/x", QoS: 2}); err != nil {
				t.Fatal(err)
			}
			if m, err := c.Next(t.Context()); err != nil || m.Topic != "a/x" || m.QoS != 1 {
				t.Errorf("got %+v (%v)", m, err)
			}
			if _, err := c.Unsubscribe(t.Context(), mqtt.Unsubscribe{Filters: []string{"a/#", "c"}}); err != nil {
				t.Errorf("Unsubscribe: %v", err)
			}
		})
	}
}

func TestSubscribeRefusesWhatTheServerDoesNotDo(t *testing.T) {
	s := serve(t, mqtt.Connack{WildcardAvailable: new(false), SharedAvailable: new(false), SubscriptionIDsAvailable: new(false), MaximumPacketSize: 60},
		func(c *fake.Conn) {
			if p, err := c.Next(); err == nil {
				t.Errorf("the client sent %s", p.Type)
			}
		})
	c := dial(t, plain(s))
	withID := filters("a")
	withID.SubscriptionID = 1
	for _, sub := range []mqtt.Subscribe{filters("a/#"), filters("$share/g/a"), withID, filters(strings.Repeat("x", 60))} {
		_, err := c.Subscribe(t.Context(), sub)
		wantKind(t, err, KindUnsupported)
	}
}

func TestSubscribeRefusesWhatNoServerTakes(t *testing.T) {
	for _, f := range []string{"", "a/#/b", "a#", "+a", "a\x00", "\xff", "$share/g", "$share//a", "$share/+/a", strings.Repeat("x", 65536)} {
		wantKind(t, VerifyFilter(f), KindOptions)
	}
	for _, f := range []string{"#", "+", "a/+/b/#", "/", "$SYS/#", "$share/g/a/#"} {
		if err := VerifyFilter(f); err != nil {
			t.Errorf("%q: %v", f, err)
		}
	}
}

func TestSubackMustAnswerEveryFilter(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		if p, ok := c.Want(mqtt.SUBSCRIBE); ok {
			a := mqtt.Suback{PacketID: uint16(p.Body[0])<<8 | uint16(p.Body[1]), Reasons: []mqtt.ReasonCode{mqtt.Success}}
			c.Send(a.Append(nil, mqtt.V5, 0))
		}
		c.Drain()
	})
	_, err := dial(t, plain(s)).Subscribe(t.Context(), filters("a", "b"))
	wantKind(t, err, KindProtocol)
}
