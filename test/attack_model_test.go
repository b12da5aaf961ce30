package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// modelClient is a client and what the model knows of it.
type modelClient struct {
	*wire
	id   string
	subs map[string]mqtt.QoS
	next uint16
}

// granted is the highest QoS by which a topic reaches the client.
func (c *modelClient) granted(topic string) (q mqtt.QoS, any bool) {
	for filter, granted := range c.subs {
		if matches(strings.Split(filter, "/"), strings.Split(topic, "/")) {
			q, any = max(q, granted), true
		}
	}
	return q, any
}

// matches is MQTT's rule, as plain as it can be said.
func matches(filter, topic []string) bool {
	switch {
	case len(filter) == 0:
		return len(topic) == 0
	case filter[0] == "#":
		return true
	case len(topic) == 0:
		return false
	}
	return (filter[0] == "+" || filter[0] == topic[0]) && matches(filter[1:], topic[1:])
}

// TestTwoClientsAgainstAModel plays random subscriptions, cancellations, publishes
// and reconnections of two clients at different doors. What each is sent is what a
// model says: this, once, at this QoS, and nothing else (A029).
func TestTwoClientsAgainstAModel(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{})
	m := s.mark(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	clients := []*modelClient{{id: "model-a"}, {id: "model-b"}}
	for _, c := range clients {
		s.reenter(t, c, random)
	}
	base := "devices/" + other + "/"
	topics := []string{"a", "a/b", "a/b/c", "b", "b/b"}
	filters := []string{"a", "a/b", "a/+", "a/#", "+/b", "+/+/c", "#", "b/#"}
	const steps = 400
	for step := range steps {
		c := clients[random.IntN(2)]
		switch n := random.IntN(10); {
		case n < 3:
			f := base + filters[random.IntN(len(filters))]
			c.subs[f] = mqtt.QoS(random.IntN(2))
			c.subscribe(f, c.subs[f])
		case n < 5:
			f := base + filters[random.IntN(len(filters))]
			delete(c.subs, f)
			c.send((&mqtt.Unsubscribe{PacketID: 2, Filters: []string{f}}).Append(nil, c.v, 0))
			c.want(mqtt.UNSUBACK)
		case n == 5 && step%4 == 0:
			_ = c.conn.Close()
			s.reenter(t, c, random)
		default:
			c.publishModel(t, clients, base+topics[random.IntN(len(topics))], mqtt.QoS(random.IntN(2)), fmt.Sprintf("step %d.", step))
		}
		for _, c := range clients {
			c.wantAlive() // and nothing before it
		}
	}
	for _, c := range clients {
		_ = c.conn.Close()
	}
	s.survived(t, m, "A029 two clients and a model", steps, nil, nil)
}

// reenter connects c anew at some door, in some version, with nothing.
func (s *siege) reenter(t *testing.T, c *modelClient, random *rand.Rand) {
	d := s.doors[random.IntN(len(s.doors))]
	c.wire = s.enter(t, d, []mqtt.Version{mqtt.V311, mqtt.V5}[random.IntN(2)], source(0, d, 0), c.id)
	c.subs = make(map[string]mqtt.QoS)
}

// publishModel publishes and reads what everybody must get of it.
func (c *modelClient) publishModel(t *testing.T, clients []*modelClient, topic string, q mqtt.QoS, payload string) {
	t.Helper()
	c.next++
	p := mqtt.Publish{Topic: []byte(topic), QoS: q, Payload: []byte(payload)}
	if q > 0 {
		p.PacketID = c.next
	}
	c.send(p.Append(nil, c.v))
	for _, to := range clients {
		granted, due := to.granted(topic)
		acked := to != c || q == 0
		for due || !acked {
			in, err := to.wire.next()
			switch {
			case err != nil:
				t.Fatalf("%s of %s: %v", payload, topic, err)
			case in.Type == mqtt.PUBACK && !acked:
				acked = true
			case in.Type == mqtt.PUBLISH && due && bytes.HasSuffix(in.Body, []byte(payload)):
				due = false
				var got mqtt.Publish
				if err := mqtt.DecodePublishClient(in.Body, in.Header, to.v, mqtt.Limits{UserProperties: -1}, &got); err != nil || string(got.Topic) != topic || got.QoS != min(q, granted) || got.Dup || got.Retain {
					t.Fatalf("%s of %s at QoS %d to %s, who was granted %d, came as %+v, %v", payload, topic, q, to.id, granted, got, err)
				}
				if got.QoS > 0 {
					to.send((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: got.PacketID}).Append(nil, to.v, 0))
				}
			default:
				t.Fatalf("%s of %s: %s got %v %q, with %v", payload, topic, to.id, in.Type, in.Body, to.subs)
			}
		}
	}
}

// TestRewrittenTooLong makes the broker lengthen a topic past what its field can
// hold, by rewriting. It is refused; a length never wraps (A026).
func TestRewrittenTooLong(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{Config: "limits: { topic_bytes: 65535 }\nmqtt:\n  rewrite:\n" +
		"    - { action: publish, source: \"devices/+/long/#\", re: \"^(devices/.+)/long/(.+)$\", dest: \"$1/x$2$2$2$2\" }\n"})
	defer s.report(t)
	for _, d := range s.doors {
		m := s.mark(t)
		watch := s.enter(t, d, mqtt.V5, source(0, d, 0), "watch")
		watch.subscribe("devices/"+other+"/#", 0)
		for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
			for _, length := range []int{10, 16381, 16384, 16387, 20000, 60000} {
				w := s.enter(t, d, v, source(0, d, 0), "long")
				part := strings.Repeat("y", length)
				w.send((&mqtt.Publish{Topic: []byte("devices/" + other + "/long/" + part), QoS: 1, PacketID: 1, Payload: []byte("long")}).Append(nil, v))
				if length == 10 { // it is rewritten, and delivered
					w.want(mqtt.PUBACK)
					if p := watch.want(mqtt.PUBLISH); !bytes.Contains(p.Body, []byte("/x"+strings.Repeat(part, 4))) {
						t.Errorf("%s: rewritten to %q", d.name, p.Body)
					}
				} else {
					switch p, err := w.next(); {
					case err == errClosed && v == mqtt.V311:
					case err == nil && v == mqtt.V5 && p.Type == mqtt.PUBACK && len(p.Body) > 2 && p.Body[2] >= 0x80:
					case err == nil && v == mqtt.V5 && p.Type == mqtt.DISCONNECT && p.Body[0] >= 0x80:
					default:
						t.Errorf("%s %v: a topic of four times %d bytes: %v % x, %v", d.name, v, length, p.Type, p.Body, err)
					}
				}
				_ = w.conn.Close()
			}
		}
		watch.wantAlive() // and nothing else came
		_ = watch.conn.Close()
		s.survived(t, m, "A026 a topic that rewriting makes too long "+d.name, 12, nil, nil)
	}
}
