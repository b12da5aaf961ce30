package client

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

func receiving(s *fake.Server) Options {
	o := plain(s)
	o.Receive = true
	return o
}

func TestNextAcknowledgesWhatItHandsOut(t *testing.T) {
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		t.Run(v.String(), func(t *testing.T) {
			taken := make(chan bool)
			s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
				c.SendPublish(mqtt.Publish{Topic: []byte("a"), Payload: []byte("0")})
				c.SendPublish(mqtt.Publish{Topic: []byte("a"), Payload: []byte("1"), QoS: 1, PacketID: 7})
				c.SendPublish(mqtt.Publish{Topic: []byte("a"), Payload: []byte("2"), QoS: 2, PacketID: 8, Retain: true})
				<-taken // Want would take a packet that came too early for the right one
				if a, ok := c.Ack(mqtt.PUBACK); !ok || a.PacketID != 7 || a.Reason != mqtt.Success {
					t.Errorf("PUBACK was %+v", a)
				}
				if a, ok := c.Ack(mqtt.PUBREC); !ok || a.PacketID != 8 {
					t.Errorf("PUBREC was %+v", a)
				}
				c.SendAck(mqtt.PUBREL, 8, mqtt.Success, "")
				if a, ok := c.Ack(mqtt.PUBCOMP); !ok || a.PacketID != 8 || a.Reason != mqtt.Success {
					t.Errorf("PUBCOMP was %+v", a)
				}
				taken <- true
				c.Drain()
			})
			o := receiving(s)
			o.Connect.Version = v
			c := dial(t, o)
			for i := range 3 {
				m, err := c.Next(t.Context())
				if err != nil || string(m.Payload) != fmt.Sprint(i) || m.QoS != mqtt.QoS(i) || m.Topic != "a" || m.Retain != (i == 2) {
					t.Errorf("message %d was %+v (%v)", i, m, err)
				}
			}
			taken <- true
			<-taken
			if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who does not want messages must not take them from the session: no
// acknowledgement leaves.
func TestMessagesNobodyWantsStayInTheSession(t *testing.T) {
	s := serve(t, mqtt.Connack{SessionPresent: true}, func(c *fake.Conn) {
		c.SendPublish(mqtt.Publish{Topic: []byte("a"), QoS: 1, PacketID: 7})
		c.SendPublish(mqtt.Publish{Topic: []byte("a"), QoS: 2, PacketID: 8})
		c.Want(mqtt.PUBLISH)
		c.Want(mqtt.DISCONNECT)
	})
	c := dial(t, plain(s))
	if _, err := c.Publish(t.Context(), &Outgoing{Topic: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Disconnect(t.Context(), mqtt.Disconnect{}); err != nil {
		t.Error(err)
	}
}

func TestQoS2IsHandedOutOnce(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		m := mqtt.Publish{Topic: []byte("a"), Payload: []byte("once"), QoS: 2, PacketID: 5}
		c.SendPublish(m)
		c.Ack(mqtt.PUBREC)
		m.Dup = true
		c.SendPublish(m) // the PUBREC got lost
		c.Ack(mqtt.PUBREC)
		c.SendAck(mqtt.PUBREL, 5, mqtt.Success, "")
		c.Ack(mqtt.PUBCOMP)
		c.SendAck(mqtt.PUBREL, 5, mqtt.Success, "") // so did the PUBCOMP
		if a, _ := c.Ack(mqtt.PUBCOMP); a.Reason != mqtt.PacketIdentifierNotFound {
			t.Errorf("the second PUBCOMP says %s", a.Reason)
		}
		m.Dup, m.Payload = false, []byte("new")
		c.SendPublish(m)
		c.Drain()
	})
	c := dial(t, receiving(s))
	for _, want := range []string{"once", "new"} {
		if m, err := c.Next(t.Context()); err != nil || string(m.Payload) != want {
			t.Errorf("got %q (%v), want %q", m.Payload, err, want)
		}
	}
}

func TestTopicAliasIn(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		for _, name := range []string{"first", "", "second", ""} {
			c.SendPublish(mqtt.Publish{Topic: []byte(name), HasTopicAlias: true, TopicAlias: 2})
		}
		c.SendPublish(mqtt.Publish{HasTopicAlias: true, TopicAlias: 1})
		c.Drain()
	})
	o := receiving(s)
	o.Connect.TopicAliasMaximum = 2
	c := dial(t, o)
	for _, want := range []string{"first", "first", "second", "second"} {
		if m, err := c.Next(t.Context()); err != nil || m.Topic != want {
			t.Errorf("got %q (%v), want %q", m.Topic, err, want)
		}
	}
	_, err := c.Next(t.Context())
	wantKind(t, err, KindProtocol)
}

// What was received is handed out although the connection has ended meanwhile.
func TestNextAfterTheEnd(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		for range 3 {
			c.SendPublish(mqtt.Publish{Topic: []byte("a")})
		}
	})
	c := dial(t, receiving(s))
	<-c.Done()
	for range 3 {
		if _, err := c.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Next(t.Context())
	wantKind(t, err, KindClosed)
}

// A full inbox stops the reading: the server feels it, and memory does not grow.
func TestFullInboxStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		o := DefaultOptions()
		o.Receive, o.Connect.KeepAlive = true, 0
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, func(c *fake.Conn) {
			payload := make([]byte, 1<<20)
			for range 30 {
				c.SendPublish(mqtt.Publish{Topic: []byte("a"), Payload: payload})
				sent++
			}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		c.in.mu.Lock()
		held := c.in.bytes
		c.in.mu.Unlock()
		if held > inboxBytesMax || sent > inboxBytesMax>>20+2 {
			t.Errorf("%d bytes are held after %d messages of 1 MiB; the limit is %d", held, sent, inboxBytesMax)
		}
		for i := range 30 {
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		c.Close()
	})
}

func TestServerFarOverOurReceiveMaximum(t *testing.T) {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		for id := uint16(1); id <= 2*receiveSlack+1; id++ {
			c.SendPublish(mqtt.Publish{Topic: []byte("a"), QoS: 1, PacketID: id})
		}
		for {
			p, err := c.Next()
			if err != nil {
				t.Errorf("no DISCONNECT came: %v", err)
				return
			}
			if p.Type == mqtt.DISCONNECT {
				if p.Body[0] != byte(mqtt.ReceiveMaximumExceeded) {
					t.Errorf("DISCONNECT 0x%02X", p.Body[0])
				}
				return
			}
		}
	})
	o := receiving(s)
	o.Connect.ReceiveMaximum = 2
	c := dial(t, o)
	<-c.Done()
	wantKind(t, c.Err(), KindProtocol)
}

// A server that asks without end and never reads must not fill our memory.
func TestServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultOptions()
		o.Connect.KeepAlive = 0
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, func(c *fake.Conn) {
			var burst []byte
			for id := uint16(1); id < 10000; id++ {
				burst = (&mqtt.Ack{Type: mqtt.PUBREL, PacketID: id}).Append(burst, mqtt.V5, 0)
			}
			for {
				if _, err := c.Write(burst); err != nil {
					if !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("write: %v", err)
					}
					return
				}
			}
		})
		<-c.Done()
		if c.Err() != errFlooded {
			t.Errorf("ended with %v", c.Err())
		}
		c.Close()
	})
}
