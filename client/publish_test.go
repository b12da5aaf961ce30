package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

func TestPublishInEveryVersionAndQoS(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
		for qos := range mqtt.QoS(3) {
			t.Run(fmt.Sprintf("%s QoS %d", v, qos), func(t *testing.T) {
				b := fake.NewBroker(t, nil)
				o := plain(b.Server)
				o.Connect.Version = v
				c := dial(t, o)
				reason, err := c.Publish(t.Context(), &Outgoing{Topic: "a/b", Payload: []byte("x"), QoS: qos, Retain: true})
				if err != nil || reason != mqtt.Success {
					t.Fatalf("Publish: %v, %v", reason, err)
				}
				if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
					t.Fatalf("Disconnect: %v", err)
				}
				if got, ok := b.Retained("a/b"); !ok || got != "x" {
					t.Errorf("the broker has %q, %v", got, ok)
				}
			})
		}
	}
}

func TestPublishCarriesItsProperties(t *testing.T) {
	got := make(chan mqtt.Publish, 1)
	s := serve(t, mqtt.Connack{TopicAliasMaximum: 5}, func(c *fake.Conn) {
		if m, ok := c.Publish(); ok {
			got <- m
		}
		c.Drain()
	})
	c := dial(t, plain(s))
	want := mqtt.PublishProperties{
		HasPayloadFormat: true, PayloadIsUTF8: true, ContentType: "text/plain", ResponseTopic: "r/t", CorrelationData: []byte{1, 2},
		UserProperties: []mqtt.UserProperty{{Name: "k", Value: "1"}, {Name: "k", Value: "2"}},
	}
	if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a", Properties: want, MessageExpiry: 9, HasMessageExpiry: true, TopicAlias: 5}); err != nil {
		t.Fatal(err)
	}
	m := <-got
	p, err := mqtt.ParsePublishProperties(m.Props)
	if err != nil || fmt.Sprint(p) != fmt.Sprint(want) || m.MessageExpiry != 9 || m.TopicAlias != 5 {
		t.Errorf("got %+v %+v (%v)", m, p, err)
	}
}

// The server allows two messages under way; more must wait, and packet
// identifiers of those under way differ.
func TestPublishKeepsToTheServersReceiveMaximum(t *testing.T) {
	const messages, window = 50, 2
	s := serve(t, mqtt.Connack{ReceiveMaximum: window}, func(c *fake.Conn) {
		var open []uint16
		for seen := 0; seen < messages || len(open) > 0; {
			if seen < messages && len(open) < window {
				m, ok := c.Publish()
				if !ok {
					return
				}
				if slices.Contains(open, m.PacketID) {
					t.Errorf("packet identifier %d is under way twice", m.PacketID)
				}
				open = append(open, m.PacketID)
				seen++
				continue
			}
			// The window is full: whatever comes before the answer would be too much.
			c.SendAck(mqtt.PUBREC, open[0], mqtt.Success, "")
			a, ok := c.Ack(mqtt.PUBREL)
			if !ok {
				return
			}
			c.SendAck(mqtt.PUBCOMP, a.PacketID, mqtt.Success, "")
			open = slices.DeleteFunc(open, func(id uint16) bool { return id == a.PacketID })
		}
		c.Drain()
	})
	c := dial(t, plain(s))
	var wg sync.WaitGroup
	for range messages {
		wg.Go(func() {
			if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a", QoS: 2}); err != nil {
				t.Errorf("Publish: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestPublishWaitsNoLongerThanItsContext(t *testing.T) {
	s := serve(t, mqtt.Connack{ReceiveMaximum: 1}, (*fake.Conn).Drain) // never an acknowledgement
	c := dial(t, plain(s))
	ctx, cancel := context.WithCancel(t.Context())
	p, err := c.Send(ctx, &Outgoing{Topic: "a", QoS: 1})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	if _, err := c.Send(ctx, &Outgoing{Topic: "a", QoS: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Send with a full window: %v", err)
	}
}

func TestPublishTellsTheReasonOfSuccess(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		if m, ok := c.Publish(); ok {
			c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.NoMatchingSubscribers, "")
		}
		c.Drain()
	})
	reason, err := dial(t, plain(s)).Publish(t.Context(), &Outgoing{Topic: "a", QoS: 1})
	if err != nil || reason != mqtt.NoMatchingSubscribers {
		t.Errorf("got %v, %v", reason, err)
	}
}

// After a refusal the connection lives, and the place in the window is free.
func TestPublishRefusedFreesItsPlace(t *testing.T) {
	for qos := mqtt.QoS(1); qos <= 2; qos++ {
		b := fake.NewBroker(t, nil)
		b.Connack.ReceiveMaximum = 1
		c := dial(t, plain(b.Server))
		for range 3 {
			_, err := c.Publish(t.Context(), &Outgoing{Topic: "denied/a", QoS: qos})
			if e := wantKind(t, err, KindPublishRefused); e.ExitCode() != ExitNotAuthorized {
				t.Errorf("exit code %d", e.ExitCode())
			}
		}
		if _, err := c.Publish(t.Context(), &Outgoing{Topic: "a", QoS: qos}); err != nil {
			t.Errorf("after the refusals: %v", err)
		}
	}
}

func TestPublishRefusesWhatTheServerDoesNotTake(t *testing.T) {
	s := serve(t, mqtt.Connack{
		MaximumQoS: new(mqtt.QoS(1)), RetainAvailable: new(false), MaximumPacketSize: 100, TopicAliasMaximum: 3,
	}, func(c *fake.Conn) {
		p, err := c.Next()
		if err == nil && p.Type != mqtt.DISCONNECT {
			t.Errorf("the client sent %s", p.Type)
		}
	})
	c := dial(t, plain(s))
	for _, m := range []Outgoing{
		{Topic: "a", QoS: 2},
		{Topic: "a", Retain: true},
		{Topic: "a", TopicAlias: 4},
		{Topic: "a", QoS: 1, Payload: make([]byte, 100)},
	} {
		_, err := c.Publish(t.Context(), &m)
		wantKind(t, err, KindUnsupported)
	}
	if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
		t.Error(err)
	}
}

func TestPublishRefusesWhatNoServerTakes(t *testing.T) {
	long := strings.Repeat("x", 65536)
	for _, m := range []Outgoing{
		{Topic: ""}, {Topic: "a/#"}, {Topic: "a/+/b"}, {Topic: "a\x00b"}, {Topic: "\xff"}, {Topic: long},
		{Topic: "a", QoS: 3},
		{Topic: "a", Properties: mqtt.PublishProperties{ContentType: long}},
		{Topic: "a", Properties: mqtt.PublishProperties{ContentType: "\xff"}},
		{Topic: "a", Properties: mqtt.PublishProperties{ResponseTopic: "#"}},
		{Topic: "a", Properties: mqtt.PublishProperties{CorrelationData: []byte(long)}},
		{Topic: "a", Properties: mqtt.PublishProperties{UserProperties: []mqtt.UserProperty{{Name: long}}}},
		{Topic: "a", Properties: mqtt.PublishProperties{UserProperties: []mqtt.UserProperty{{Value: "\x00"}}}},
	} {
		wantKind(t, VerifyOutgoing(&m, mqtt.V5), KindOptions)
	}
	for _, m := range []Outgoing{
		{Topic: "a", TopicAlias: 1},
		{Topic: "a", HasMessageExpiry: true},
		{Topic: "a", Properties: mqtt.PublishProperties{ContentType: "x"}},
	} {
		if err := VerifyOutgoing(&m, mqtt.V5); err != nil {
			t.Errorf("5.0 refuses %+v: %v", m, err)
		}
		wantKind(t, VerifyOutgoing(&m, mqtt.V311), KindOptions)
	}
}

// The packet identifiers of a resumed session begin at random, so that the first
// message is not taken for the repetition of an earlier process's.
func TestResumedSessionBeginsIdentifiersElsewhere(t *testing.T) {
	first := func(present bool) uint16 {
		got := make(chan uint16, 1)
		s := serve(t, mqtt.Connack{SessionPresent: present}, func(c *fake.Conn) {
			if m, ok := c.Publish(); ok {
				got <- m.PacketID
				c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
			}
			c.Drain()
		})
		o := plain(s)
		o.Connect.CleanStart = false
		if _, err := dial(t, o).Publish(t.Context(), &Outgoing{Topic: "a", QoS: 1}); err != nil {
			t.Fatal(err)
		}
		return <-got
	}
	if id := first(false); id != 1 {
		t.Errorf("a new session begins at %d", id)
	}
	if a, b, c := first(true), first(true), first(true); a == b && b == c {
		t.Errorf("three resumed sessions begin at %d", a)
	}
}
