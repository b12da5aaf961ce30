package conn

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// bystander must notice nothing of what happens to others.
func (r *rig) bystander() (check func()) {
	r.t.Helper()
	c := r.connect(mqtt.V5, "zoe/bystander", func(c *mqtt.Connect) { c.KeepAlive = 300 })
	c.subscribe("own/zoe/#", 1)
	id := uint16(0)
	return func() {
		r.t.Helper()
		id++
		c.publish("own/zoe/x", fmt.Sprint(id), 1, id)
		// The delivery and the acknowledgement may come in either order.
		for range 2 {
			switch p, _ := c.wanted(); p.h.Type {
			case mqtt.PUBACK:
			case mqtt.PUBLISH:
				var m mqtt.Publish
				if err := mqtt.DecodePublishClient(p.body, p.h, c.v, mqtt.Limits{}, &m); err != nil || string(m.Payload) != fmt.Sprint(id) {
					r.t.Fatalf("bystander got %q, %v", m.Payload, err)
				}
				c.ack(mqtt.PUBACK, m.PacketID)
			default:
				r.t.Fatalf("bystander got %v", p.h.Type)
			}
		}
	}
}

// Before CONNECT the verdict falls on the first bytes; nothing is answered and
// nothing is kept (A001, A002, A003, A005, A009, A013, A015).
func TestTheFirstBytesDecide(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		for _, first := range []string{
			"\x10\xff\xff\xff\x7f", "\x30\xff\xff\xff\x7f", "\x82\xff\xff\xff\x7f", "\xf0\xff\xff\xff\x7f", "\x80\xff\xff\xff\x7f",
			"\x00\x00", "\x20\x02\x00\x00", "\xc0\x00", "\xe0\x00", "\x10\xff\xff\xff\xff\x7f", "\x11\x0c", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00",
			"\x10\x81\x80\x01", // 16,385 bytes
		} {
			c := r.dial(mqtt.V5, "stranger")
			c.send([]byte(first))
			c.closed(noPacket)
		}
		check()
	})
}

func TestConnectWithinTheDeadlineWhateverTheStall(t *testing.T) {
	connect := (&mqtt.Connect{Version: mqtt.V5, ClientID: "x", ReceiveMaximum: 65535}).Append(nil, mqtt.V5, 0)
	play(t, func(r *rig) {
		for what, drip := range map[string]func(c *client){
			"silent":         func(*client) {},
			"half a CONNECT": func(c *client) { c.send(connect[:len(connect)-1]) },
			"a byte a second": func(c *client) {
				go func() {
					for _, b := range connect {
						if _, err := c.nc.Write([]byte{b}); err != nil || r.real != nil {
							return // real time is not the broker's: one byte is the start of it
						}
						time.Sleep(time.Second)
					}
				}()
			},
		} {
			c := r.dial(mqtt.V5, what)
			drip(c)
			r.pass(8 * time.Second)
			r.becomes(what+": connections after 8 s", 1, r.connections)
			r.pass(2 * time.Second)
			c.closed(noPacket)
			r.pass(20 * time.Second)
		}
	})
}

func TestMistakesOfAConnectedClient(t *testing.T) {
	long := strings.Repeat("a/", 600)
	rows := []struct {
		name   string
		bytes  string
		reason mqtt.ReasonCode
	}{
		{"a second CONNECT", string((&mqtt.Connect{Version: mqtt.V5, ClientID: "x", ReceiveMaximum: 1}).Append(nil, mqtt.V5, 0)), mqtt.ProtocolError},
		{"CONNACK from a client", "\x20\x03\x00\x00\x00", mqtt.ProtocolError},
		{"SUBACK from a client", "\x90\x04\x00\x01\x00\x00", mqtt.ProtocolError},
		{"PINGRESP from a client", "\xd0\x00", mqtt.ProtocolError},
		{"AUTH without a method", "\xf0\x00", mqtt.ProtocolError},
		{"the reserved type", "\x00\x00", mqtt.MalformedPacket},
		{"QoS 3", "\x36\x06\x00\x01a\x00\x01\x00", mqtt.MalformedPacket},
		{"a fifth length byte", "\x30\xff\xff\xff\xff\x01", mqtt.MalformedPacket},
		{"an empty topic without alias", "\x30\x03\x00\x00\x00", mqtt.ProtocolError},
		{"a topic over the packet", "\x30\x03\x00\x09a", mqtt.MalformedPacket},
		{"a wildcard in a topic name", "\x30\x07\x00\x04a/+b\x00", mqtt.TopicNameInvalid},
		{"an unknown alias", "\x30\x06\x00\x00\x03\x23\x00\x05", mqtt.ProtocolError},
		{"an alias above the maximum", "\x30\x09\x00\x01a\x03\x23\x00\x21xx", mqtt.TopicAliasInvalid},
		{"too many levels", "\x30\x1a\x00\x17a/a/a/a/a/a/a/a/a/a/a/a\x00", mqtt.TopicNameInvalid},
		{"a topic too long", "\x30\xb3\x09\x04\xb0" + long + "\x00", mqtt.TopicNameInvalid},
		{"packet identifier 0", "\x32\x06\x00\x01a\x00\x00\x00", mqtt.ProtocolError},
		{"SUBSCRIBE without filters", "\x82\x03\x00\x01\x00", mqtt.ProtocolError},
		{"SUBSCRIBE flags", "\x80\x03\x00\x01\x00", mqtt.MalformedPacket},
		{"a packet of 1 MiB and a byte", "\x30\xfe\xff\x3f", mqtt.PacketTooLarge},
		{"a packet of 256 MiB", "\x30\xff\xff\xff\x7f", mqtt.PacketTooLarge},
		{"session expiry raised from 0", "\xe0\x07\x00\x05\x11\x00\x00\x00\x05", mqtt.ProtocolError},
		{"an invalid UTF-8 topic", "\x30\x06\x00\x03\xed\xa0\x80\x00", mqtt.MalformedPacket},
	}
	play(t, func(r *rig) {
		check := r.bystander()
		for _, row := range rows {
			c := r.connect(mqtt.V5, "alice/c")
			c.name = row.name
			c.send([]byte(row.bytes))
			c.closed(row.reason)
			check()
		}
		r.becomes("sessions, the bystander's", 1, r.sessions)
	})
}

func TestAPacketAtTheLimitPasses(t *testing.T) {
	play(t, func(r *rig) {
		sub, pub := r.connect(mqtt.V5, "alice/s"), r.connect(mqtt.V311, "bob/p")
		sub.subscribe("open/#", 0)
		payload := strings.Repeat("x", 1<<20-4-2-len("open/big"))
		pub.publish("open/big", payload, 0, 0)
		sub.gets("open/big", payload)
		over := mqtt.Publish{Topic: []byte("open/big"), Payload: []byte(payload + "x")}
		pub.send(over.Append(nil, mqtt.V311)[:10]) // the header is enough
		pub.closed(noPacket)
		sub.silent()
	})
}

// One subscriber that does not read costs its own messages and nobody else's
// time.
func TestASlowReaderLosesOnlyItsOwn(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		slow := r.connection() // nobody reads this one
		hardlyBuffers(slow)
		connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: "slow", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), KeepAlive: 600}
		b := connect.Append(nil, mqtt.V311, 0)
		sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "open/#"}}}
		if _, err := slow.Write(sub.Append(b, mqtt.V311, 0)); err != nil {
			t.Fatal(err)
		}
		r.becomes("subscriptions", 2, func() int64 { return r.metrics.Value(metrics.Subscriptions) })
		pub := r.connect(mqtt.V5, "bob/p")
		payload, kernel := strings.Repeat("x", 10_000), 0
		if r.real != nil { // what the kernel's buffers take
			payload, kernel = strings.Repeat("x", 30_000), 200
		}
		for i := range 500 {
			pub.publish("open/x", payload, 1, uint16(i+1))
			pub.acked(mqtt.PUBACK, uint16(i+1))
		}
		check()
		if n := int(r.metrics.Value(metrics.MessagesDroppedQueueFull)); n < 350-kernel || n > 500 {
			t.Errorf("%d messages dropped, want what does not fit 100 and a burst", n)
		}
		_ = slow.Close()
	}, func(r *rig) { r.sess.MqueueMessages = 100 })
}

// A client that sends and does not read is not read itself, before its answers
// fill the memory.
func TestAnswersAreBounded(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		c := r.connection()
		connect := mqtt.Connect{Version: mqtt.V311, CleanStart: true, ClientID: "c", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), KeepAlive: 600}
		if _, err := c.Write(connect.Append(nil, mqtt.V311, 0)); err != nil {
			t.Fatal(err)
		}
		r.settle()
		pings := bytes.Repeat([]byte{0xC0, 0}, 16<<10)
		total, most := 0, 1<<20
		if r.real != nil { // what the kernel's buffers of both directions take
			most = 24 << 20
		}
		for total <= most {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := c.Write(pings)
			total += n
			if err != nil {
				break
			}
		}
		if total > most {
			t.Errorf("%d bytes of PINGREQ were read from a client that reads no PINGRESP", total)
		}
		check()
		_ = c.Close()
	})
}

func TestRatePausesAndLosesNothing(t *testing.T) {
	play(t, func(r *rig) {
		sub := r.connect(mqtt.V5, "alice/s", func(c *mqtt.Connect) { c.KeepAlive = 300 })
		sub.subscribe("open/#", 0)
		pub := r.connect(mqtt.V5, "bob/p", func(c *mqtt.Connect) { c.KeepAlive = 10 })
		start := r.now()
		pad := strings.Repeat(".", 1000) // so that one read does not take them all
		for i := range 200 {
			p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(fmt.Sprint(i, pad))}
			pub.send(p.Append(nil, mqtt.V5))
		}
		for i := range 200 {
			for r.now().Sub(start) < time.Minute && r.metrics.Value(metrics.MessagesSent.At(0)) <= int64(i) {
				r.paused()
				r.pass(100 * time.Millisecond)
			}
			sub.gets("open/x", fmt.Sprint(i, pad))
		}
		if took := r.now().Sub(start); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("200 messages at 10/s and a burst of 20 took %v", took)
		}
		pub.send([]byte{0xC0, 0})
		r.pass(10 * time.Second)
		pub.expect(mqtt.PINGRESP)
	}, func(r *rig) { r.set.PublishRate.Messages = 10 })
}

// paused waits until somebody is not read, or is given up: what a client has written comes in a time of its own, which on a
// busy machine is long, and in that of the test he would be silent meanwhile.
func (r *rig) paused() {
	if r.real == nil {
		return
	}
	for n, any := 0, false; !any && n < 10_000; n++ {
		r.onLoops(func(l *Loop) { any = any || len(l.paused) > 0 })
	}
}

// What one read brought may be thousands of messages: those over the rate wait too.
func TestARatePausesWithinOneRead(t *testing.T) {
	play(t, func(r *rig) {
		pub := r.connect(mqtt.V311, "bob/p")
		var all []byte
		for range 300 { // as many as fit into the smallest read
			all = append(all, (&mqtt.Publish{Topic: []byte("open/x")}).Append(nil, mqtt.V311)...)
		}
		pub.send(all)
		r.pass(time.Second)
		if n := r.metrics.Value(metrics.MessagesReceived.At(0)); n < 20 || n > 45 {
			t.Errorf("%d messages in a second at 10/s and a burst of 20", n)
		}
	}, func(r *rig) { r.set.PublishRate.Messages = 10 })
}

func TestRateDisconnectsWhenAsked(t *testing.T) {
	play(t, func(r *rig) {
		pub := r.connect(mqtt.V5, "bob/p")
		for range 21 {
			pub.publish("open/x", "x", 0, 0)
		}
		pub.closed(mqtt.MessageRateTooHigh)
	}, func(r *rig) {
		r.set.PublishRate = broker.PublishRate{Messages: 10, Burst: 2 * time.Second, Disconnect: true}
	})
}

func TestQuotas(t *testing.T) {
	play(t, func(r *rig) {
		c := r.connect(mqtt.V5, "alice/c")
		for i := range 3 {
			if rc := c.subscribe(fmt.Sprintf("open/%d", i), 0); rc != 0 {
				t.Fatalf("subscription %d: %v", i, rc)
			}
		}
		if rc := c.subscribe("open/3", 0); rc != mqtt.QuotaExceeded {
			t.Errorf("one subscription too many: %v", rc)
		}
		if rc := c.subscribe("open/1", 1); rc != 1 {
			t.Errorf("replacing at the limit: %v", rc)
		}
		if rc := c.subscribe("$share/g/open/1", 1); rc != mqtt.QuotaExceeded {
			t.Errorf("one too many, shared: %v", rc)
		}
		for _, bad := range []string{"open/#/x", "open/a+", "open/" + strings.Repeat("a/", 20)} {
			if rc := c.subscribe(bad, 0); rc != mqtt.TopicFilterInvalid {
				t.Errorf("%s: %v", bad, rc)
			}
		}
		_, ack := r.tryConnect(mqtt.V5, "bob/c")
		if ack.Reason != mqtt.Success {
			t.Fatal(ack.Reason)
		}
		if _, ack := r.tryConnect(mqtt.V5, "carol/c"); ack.Reason != mqtt.QuotaExceeded {
			t.Errorf("a session too many: %v", ack.Reason)
		}
		if _, ack := r.tryConnect(mqtt.V5, "bob/c"); ack.Reason != mqtt.Success {
			t.Errorf("a takeover at the limit: %v", ack.Reason)
		}
	}, func(r *rig) { r.set.Subscriptions, r.set.SessionsTotal = 3, 2 })
}

// Many connections fight for one session: one is left, and nothing of the others
// (A057, A059).
func TestTakeoverStorm(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		conns := make([]*client, 200)
		for i := range conns {
			c := r.dial(mqtt.V5, fmt.Sprint(i))
			conns[i] = c
			connect := mqtt.Connect{Version: mqtt.V5, ClientID: "one", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), SessionExpiry: 100, ReceiveMaximum: 10, KeepAlive: 60}
			go func() { _, _ = c.nc.Write(connect.Append(nil, mqtt.V5, 0)) }()
		}
		r.becomes("takeovers", int64(len(conns)-1), func() int64 { return r.metrics.Value(metrics.SessionsTakenOver) })
		check()
		r.becomes("connections, the winner and the bystander", 2, r.connections)
		r.becomes("sessions", 2, r.sessions)
	})
}

// What strangers leave behind is nothing.
func TestNothingStaysOfRefusedConnections(t *testing.T) {
	play(t, func(r *rig) {
		check := r.bystander()
		r.settle()
		before := r.goroutines()
		for i := range 300 {
			c := r.dial(mqtt.V5, "stranger")
			switch i % 3 {
			case 0:
				c.send([]byte("\x10\xff\xff\xff\x7f"))
			case 1:
				c.send((&mqtt.Connect{Version: mqtt.V5, ClientID: "x", Username: "alice", HasUsername: true, ReceiveMaximum: 1}).Append(nil, mqtt.V5, 0))
			case 2:
				_ = c.nc.Close()
			}
		}
		r.pass(12 * time.Second)
		r.becomes("connections", 1, r.connections)
		r.becomes("goroutines more than before", 0, func() int64 { return r.moreGoroutines(before) })
		check()
	})
}

// goroutines is how many there are but for the threads of handshakes, which begin when they are needed first and
// stay.
func (r *rig) goroutines() int { return runtime.NumGoroutine() - shakersOf(r.server.engine) }

// moreGoroutines is how many there are more than before. It gives them a moment of the
// machine's time to end, which passes in a bubble, too: those of other tests are counted
// as well.
func (r *rig) moreGoroutines(before int) int64 {
	more := r.goroutines() - before
	for i := 0; more > 0 && i < 200_000; i++ {
		runtime.Gosched()
		more = r.goroutines() - before
	}
	return int64(max(0, more))
}

func TestShutdownTellsClients(t *testing.T) {
	play(t, func(r *rig) {
		watch := r.connect(mqtt.V5, "alice/watch")
		watch.subscribe("open/#", 0)
		three := r.connect(mqtt.V311, "bob/3", func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "open/will"} })
		stranger := r.dial(mqtt.V5, "stranger")
		r.close()
		watch.closed(mqtt.ServerShuttingDown)
		three.closed(noPacket)
		stranger.closed(noPacket)
	})
}

// FuzzConnectedClient sends arbitrary bytes, arbitrarily cut, after a good
// CONNECT: whatever happens to that client, no bug is hit and the others are
// served.
func FuzzConnectedClient(f *testing.F) {
	f.Add([]byte("\x82\x0b\x00\x01\x00\x05open#\x01\x30\x09\x00\x06open/xhi"), uint8(3), true)
	f.Add([]byte("\x34\x09\x00\x04open\x00\x01\x00\x62\x02\x00\x01"), uint8(1), true)
	f.Add([]byte("\xe0\x00\xc0\x00"), uint8(200), false)
	f.Fuzz(func(t *testing.T, data []byte, cut uint8, v5 bool) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			check := r.bystander()
			v := mqtt.V311
			if v5 {
				v = mqtt.V5
			}
			c := r.connect(v, "alice/fuzz")
			for len(data) > 0 {
				n := min(len(data), int(cut)+1)
				_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := c.nc.Write(data[:n]); err != nil {
					break
				}
				data = data[n:]
			}
			check()
		})
	})
}
