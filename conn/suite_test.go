package conn

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

var versions = []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}

func TestDeliveryAtEveryQoSBetweenVersions(t *testing.T) {
	play(t, func(r *rig) {
		for _, pv := range versions {
			for _, sv := range versions {
				for pq := mqtt.QoS(0); pq <= 2; pq++ {
					for sq := mqtt.QoS(0); sq <= 2; sq++ {
						delivered(r, pv, sv, pq, sq)
					}
				}
			}
		}
	})
}

// delivered sends one message and follows both flows to their end.
func delivered(r *rig, pv, sv mqtt.Version, pq, sq mqtt.QoS) {
	r.t.Helper()
	sub, pub := r.connect(sv, "alice/sub"), r.connect(pv, "bob/pub")
	if rc := sub.subscribe("open/+", sq); rc != mqtt.ReasonCode(sq) {
		r.t.Fatalf("granted %v, want %d", rc, sq)
	}
	pub.publish("open/t", "hello", pq, 11)
	m := sub.gets("open/t", "hello")
	if want := min(pq, sq); m.QoS != want || m.Dup || m.Retain {
		r.t.Fatalf("QoS %d dup %v retain %v, want QoS %d", m.QoS, m.Dup, m.Retain, want)
	}
	switch pq {
	case 1:
		pub.acked(mqtt.PUBACK, 11)
	case 2:
		pub.acked(mqtt.PUBREC, 11)
		pub.publish("open/t", "hello", 2, 11, func(p *mqtt.Publish) { p.Dup = true }) // once more: answered, not routed
		pub.acked(mqtt.PUBREC, 11)
		pub.ack(mqtt.PUBREL, 11)
		pub.acked(mqtt.PUBCOMP, 11)
	}
	switch m.QoS {
	case 1:
		sub.ack(mqtt.PUBACK, m.PacketID)
	case 2:
		sub.ack(mqtt.PUBREC, m.PacketID)
		sub.acked(mqtt.PUBREL, m.PacketID)
		sub.ack(mqtt.PUBCOMP, m.PacketID)
	}
	sub.silent()
	pub.silent()
}

func TestConnackSaysWhatThisBrokerOffers(t *testing.T) {
	play(t, func(r *rig) {
		_, ack := r.tryConnect(mqtt.V5, "alice/", func(c *mqtt.Connect) { c.KeepAlive, c.SessionExpiry = 0, 100_000 })
		if !strings.HasPrefix(ack.AssignedClientID, "auto-") || ack.ServerKeepAlive == nil || *ack.ServerKeepAlive != 300 ||
			ack.SessionExpiry == nil || *ack.SessionExpiry != 3600 || ack.MaximumPacketSize != 1<<20 || ack.ReceiveMaximum != 32 ||
			ack.TopicAliasMaximum != 32 || ack.MaximumQoS != nil || ack.RetainAvailable != nil || ack.SharedAvailable != nil {
			t.Errorf("CONNACK %+v", ack)
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	play(t, func(r *rig) {
		for _, v := range versions {
			for what, change := range map[string]func(*mqtt.Connect){
				"wrong password": func(c *mqtt.Connect) { c.Password = []byte("no") },
				"no password":    func(c *mqtt.Connect) { c.HasPassword, c.Password = false, nil },
				"nobody":         func(c *mqtt.Connect) { c.HasUsername, c.Username, c.HasPassword, c.Password = false, "", false, nil },
				"other user":     func(c *mqtt.Connect) { c.Username = "mallory" },
			} {
				c, ack := r.tryConnect(v, "alice/c", change)
				want := mqtt.BadUserNameOrPassword
				if v == mqtt.V311 {
					want = mqtt.ReasonCode(4)
				}
				if ack.Reason != want && !(v == mqtt.V311 && ack.Reason == mqtt.BadUserNameOrPassword) {
					t.Errorf("%s, %v: CONNACK %v", what, v, ack.Reason)
				}
				c.closed(noPacket)
			}
		}
		r.becomes("sessions", 0, r.sessions)
		if !strings.Contains(r.log.String(), "wrong password") {
			t.Errorf("the operator is not told why:\n%s", r.log)
		}
	})
}

func TestNothingRunsBeforeTheVerdict(t *testing.T) {
	play(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 0)
		c := r.dial(mqtt.V5, "mallory")
		connect := mqtt.Connect{Version: mqtt.V5, CleanStart: true, ClientID: "m", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("guess"), ReceiveMaximum: 65535}
		b := connect.Append(nil, mqtt.V5, 0)
		pub := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte("evil")}
		c.send(pub.Append(b, mqtt.V5)) // [MQTT-3.1.4-6]
		c.expect(mqtt.CONNACK)
		c.closed(noPacket)
		watch.silent()
	})
}

func TestPacketsBehindAnAcceptedConnectAreNotLost(t *testing.T) {
	play(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 0)
		c := r.dial(mqtt.V311, "bob")
		connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: "b", Username: "bob", HasUsername: true, HasPassword: true, Password: []byte("pw-bob")}
		b := connect.Append(nil, mqtt.V311, 0)
		pub := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte("early")}
		b = pub.Append(b, mqtt.V311)
		c.send(append(b, 0xC0)) // half a PINGREQ
		c.expect(mqtt.CONNACK)
		watch.gets("open/x", "early")
		c.send([]byte{0})
		c.expect(mqtt.PINGRESP)
	})
}

func TestDenials(t *testing.T) {
	play(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("own/alice/#", 0)
		five := r.connect(mqtt.V5, "bob/5")
		five.publish("own/alice/x", "no", 0, 0)
		five.publish("own/alice/x", "no", 1, 5)
		if rc := five.acked(mqtt.PUBACK, 5); rc != mqtt.NotAuthorized {
			t.Errorf("PUBACK %v", rc)
		}
		five.publish("own/alice/x", "no", 2, 6)
		if rc := five.acked(mqtt.PUBREC, 6); rc != mqtt.NotAuthorized {
			t.Errorf("PUBREC %v", rc)
		}
		if rc := five.subscribe("own/alice/#", 0); rc != mqtt.NotAuthorized {
			t.Errorf("SUBACK %v", rc)
		}
		if rc := five.subscribe("#", 0); rc != mqtt.NotAuthorized {
			t.Errorf("SUBACK for # %v", rc)
		}
		three := r.connect(mqtt.V311, "bob/3")
		if rc := three.subscribe("own/alice/#", 0); rc < 0x80 {
			t.Errorf("SUBACK %v", rc)
		}
		three.publish("own/alice/x", "no", 0, 0)
		three.send([]byte{0xC0, 0})
		three.expect(mqtt.PINGRESP)
		three.publish("own/alice/x", "no", 1, 5)
		three.closed(noPacket) // a PUBACK would say that it was published [MQTT-3.3.5-2]
		_, ack := r.tryConnect(mqtt.V5, "bob/will", func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "own/alice/x"} })
		if ack.Reason != mqtt.NotAuthorized {
			t.Errorf("a will on a denied topic: CONNACK %v", ack.Reason)
		}
		watch.silent()
		// One line a client, rule and minute for each kind of packet, whatever its QoS.
		for client, events := range map[string][]string{"5": {"publish denied", "subscribe denied"}, "3": {"publish denied", "subscribe denied"}, "will": {"publish denied"}} {
			for _, event := range events {
				n := 0
				for line := range strings.Lines(r.log.String()) {
					if strings.Contains(line, `msg="`+event+`"`) && strings.Contains(line, "client_id="+client+" ") && strings.Contains(line, "user=bob") && strings.Contains(line, "rule=") && strings.Contains(line, "listener=") {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%d lines %q of client %s:\n%s", n, event, client, r.log)
				}
			}
		}
	})
}

// A filter that a deny rule overlaps is granted and judged at each delivery.
func TestDenyInsideAWildcardBindsEachDelivery(t *testing.T) {
	play(t, func(r *rig) {
		sub, pub := r.connect(mqtt.V5, "alice/s"), r.connect(mqtt.V5, "bob/p")
		pub.publish("open/secret/r", "retained", 1, 1, func(p *mqtt.Publish) { p.Retain = true })
		pub.acked(mqtt.PUBACK, 1)
		sub.subscribe("open/#", 1)
		pub.publish("open/secret/x", "live", 0, 0)
		pub.publish("open/x", "fine", 0, 0)
		sub.gets("open/x", "fine")
		sub.silent()
		r.becomes("denied deliveries", 2, func() int64 { return r.metrics.Value(metrics.DeliveryDenied) })
	})
}

func TestPolicyChangeBindsLiveSubscriptions(t *testing.T) {
	play(t, func(r *rig) {
		sub, pub := r.connect(mqtt.V5, "alice/s"), r.connect(mqtt.V5, "bob/p")
		sub.subscribe("open/#", 1)
		p, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {allow: publish, topics: [\"open/#\"]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.authz.Swap(p)
		r.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
		pub.publish("open/x", "secret now", 1, 1)
		if rc := pub.acked(mqtt.PUBACK, 1); rc != mqtt.NoMatchingSubscribers {
			t.Errorf("PUBACK %v", rc)
		}
		sub.silent()
	})
}

func TestRetained(t *testing.T) {
	play(t, func(r *rig) {
		retain := func(p *mqtt.Publish) { p.Retain = true }
		pub := r.connect(mqtt.V5, "bob/p")
		pub.publish("open/a", "old", 0, 0, retain)
		pub.publish("open/a", "new", 1, 1, retain)
		pub.acked(mqtt.PUBACK, 1)
		for _, v := range versions {
			sub := r.connect(v, "alice/s")
			sub.subscribe("open/+", 1)
			if m := sub.gets("open/a", "new"); !m.Retain || m.QoS != 1 {
				t.Errorf("retain %v QoS %d", m.Retain, m.QoS)
			} else {
				sub.ack(mqtt.PUBACK, m.PacketID)
			}
			sub.subscribe("open/+", 0)
			sub.gets("open/a", "new") // [MQTT-3.3.1-9]
			pub.publish("open/a", "newer", 0, 0, retain)
			if m := sub.gets("open/a", "newer"); m.Retain {
				t.Error("a live message says retained") // [MQTT-3.3.1-12]
			}
			pub.publish("open/a", "new", 1, 2, retain)
			pub.acked(mqtt.PUBACK, 2)
			sub.gets("open/a", "new")
			sub.silent()
		}
		pub.publish("open/a", "", 1, 3, retain)
		pub.acked(mqtt.PUBACK, 3) // else who comes next may come first
		sub := r.connect(mqtt.V5, "carol/s")
		sub.subscribe("open/#", 0)
		sub.silent()
	})
}

func TestWill(t *testing.T) {
	will := func(delay uint32) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) {
			c.Will = &mqtt.Will{Topic: "open/will", Payload: []byte("gone"), QoS: 1, DelaySeconds: delay}
			c.SessionExpiry, c.KeepAlive = 60, 10
		}
	}
	play(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		watch.subscribe("open/will", 0)
		r.connect(mqtt.V5, "bob/1", will(0)).nc.Close()
		watch.gets("open/will", "gone")

		c := r.connect(mqtt.V5, "bob/2", will(0))
		c.send((&mqtt.Disconnect{}).Append(nil, mqtt.V5, 0))
		c.closed(noPacket)
		watch.silent() // [MQTT-3.1.2-10]

		c = r.connect(mqtt.V5, "bob/3", will(0))
		c.send((&mqtt.Disconnect{Reason: mqtt.DisconnectWithWill}).Append(nil, mqtt.V5, 0))
		watch.gets("open/will", "gone")

		c = r.connect(mqtt.V5, "bob/4", will(0))
		r.settle()
		r.pass(17 * time.Second) // one and a half times the keep alive, rounded up
		c.closed(mqtt.KeepAliveTimeout)
		watch.gets("open/will", "gone")

		r.connect(mqtt.V5, "bob/5", will(5)).nc.Close()
		r.becomes("connections", 1, r.connections)
		r.pass(3 * time.Second)
		watch.silent()
		c = r.connect(mqtt.V5, "bob/5", will(0), func(c *mqtt.Connect) { c.CleanStart = false })
		r.pass(4 * time.Second)
		watch.silent() // [MQTT-3.1.3-9]
		c.nc.Close()
		watch.gets("open/will", "gone")

		r.connect(mqtt.V5, "bob/6", will(30), func(c *mqtt.Connect) { c.SessionExpiry = 2 }).nc.Close()
		r.becomes("connections", 1, r.connections)
		r.pass(4 * time.Second)
		watch.gets("open/will", "gone") // the end of the session comes first
	})
}

func TestResumeAndTakeover(t *testing.T) {
	keep := func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry, c.KeepAlive = false, 600, 300 }
	for _, v := range versions {
		play(t, func(r *rig) {
			pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 300 })
			sub, ack := r.tryConnect(v, "alice/s", keep)
			if ack.SessionPresent {
				t.Error("a new session is called present")
			}
			sub.subscribe("open/#", 1)
			pub.publish("open/1", "unacknowledged", 1, 1)
			pub.acked(mqtt.PUBACK, 1)
			first := sub.gets("open/1", "unacknowledged")
			newer, ack := r.tryConnect(v, "alice/s", keep)
			if ack.SessionPresent != (v != mqtt.V31) { // 3.1 has no such flag
				t.Error("a resumed session is not called present")
			}
			sub.closed(mqtt.SessionTakenOver)
			again := newer.gets("open/1", "unacknowledged")
			if !again.Dup || again.PacketID != first.PacketID {
				t.Errorf("resent with dup %v id %d, want id %d", again.Dup, again.PacketID, first.PacketID) // [MQTT-4.4.0-1]
			}
			newer.ack(mqtt.PUBACK, again.PacketID)
			newer.nc.Close()
			newer.silent()
			for i, payload := range []string{"q1", "q2"} {
				pub.publish("open/2", payload, 1, uint16(2+i))
				pub.acked(mqtt.PUBACK, uint16(2+i))
			}
			pub.publish("open/2", "not kept", 0, 0)
			r.pass(30 * time.Second)
			back, ack := r.tryConnect(v, "alice/s", keep)
			if ack.SessionPresent != (v != mqtt.V31) {
				t.Error("the session was forgotten")
			}
			back.gets("open/2", "q1")
			back.gets("open/2", "q2")
			back.silent()
			other := r.connect(v, "carol/s", keep) // same client id, another identity [A043]
			other.silent()
			back.send([]byte{0xC0, 0})
			back.expect(mqtt.PINGRESP)
			clean, ack := r.tryConnect(v, "alice/s")
			if ack.SessionPresent {
				t.Error("clean start found a session") // [MQTT-3.1.2-4]
			}
			pub.publish("open/3", "x", 1, 9)
			pub.acked(mqtt.PUBACK, 9)
			clean.silent()
		})
	}
}

func TestSessionsExpire(t *testing.T) {
	play(t, func(r *rig) {
		c := r.connect(mqtt.V5, "alice/s", func(c *mqtt.Connect) { c.SessionExpiry = 5 })
		c.subscribe("open/#", 1)
		c.nc.Close()
		r.becomes("connections", 0, r.connections)
		r.becomes("sessions", 1, r.sessions)
		r.pass(7 * time.Second)
		r.becomes("sessions after the expiry", 0, r.sessions)
		r.becomes("subscriptions", 0, func() int64 { return r.metrics.Value(metrics.Subscriptions) })
	})
}
