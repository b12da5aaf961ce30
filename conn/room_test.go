package conn

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// filling is n bytes that differ from those before and behind them.
func filling(n, seed int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((i + seed) * 7 >> 3)
	}
	return string(b)
}

// sendCut sends b in two pieces, of which the second leaves when the first was read.
func (c *client) sendCut(b []byte, at int) {
	c.r.t.Helper()
	c.send(b[:at])
	c.r.settle()
	c.send(b[at:])
}

// TestLargePacketsInPieces: wherever a large PUBLISH is cut, and whatever comes behind it, subscribers
// have what was published.
func TestLargePacketsInPieces(t *testing.T) {
	play(t, func(r *rig) {
		for _, v := range versions {
			sub, pub := r.connect(v, "alice/sub"), r.connect(v, "bob/pub")
			sub.subscribe("open/#", 0)
			large := filling(20_000, 1)
			p := mqtt.Publish{Topic: []byte("open/large"), Payload: []byte(large), QoS: 1, PacketID: 11}
			if v == mqtt.V5 {
				p.MessageExpiry, p.HasMessageExpiry = 60, true
				p.Props = (&mqtt.PublishProperties{ContentType: "text/plain"}).Append(nil)
			}
			whole := p.Append(nil, v)
			small := mqtt.Publish{Topic: []byte("open/small"), Payload: []byte("s")}
			all := small.Append(bytes.Clone(whole), v)
			for _, at := range []int{1, 3, 4, 5, 17, 30, behind - 1, behind, behind + 1, partMin, len(whole)/2 - 1, len(whole) / 2, len(whole)/2 + 1, roomMin, len(whole) - 1, len(whole), len(whole) + 1, len(all) - 1} {
				pub.sendCut(all, at)
				m := sub.gets("open/large", large)
				if v == mqtt.V5 && (!m.HasMessageExpiry || !bytes.Contains(m.Props, []byte("text/plain"))) {
					t.Errorf("%v, cut at %d: properties %q", v, at, m.Props)
				}
				sub.gets("open/small", "s")
				pub.acked(mqtt.PUBACK, 11)
			}
			_ = sub.nc.Close()
			_ = pub.nc.Close()
		}
	})
}

// TestLargePacketsBackToBack: of one client, to several who read, and one who does not for a while.
func TestLargePacketsBackToBack(t *testing.T) {
	play(t, func(r *rig) {
		one, two, pub := r.connect(mqtt.V5, "alice/1"), r.connect(mqtt.V311, "alice/2"), r.connect(mqtt.V311, "bob/pub")
		one.subscribe("open/#", 0, func(s *mqtt.Subscribe) { s.SubscriptionID = 5 })
		two.subscribe("open/#", 1)
		var all []byte
		sizes := []int{70_000, 65_536, 3, 65_530, 200_000, 1, 1, 16_384, 66_000, 400_000, 9_000}
		for i, n := range sizes {
			p := mqtt.Publish{Topic: fmt.Append(nil, "open/", i), Payload: []byte(filling(n, i)), QoS: 1, PacketID: uint16(i + 1)}
			all = p.Append(all, mqtt.V311)
		}
		pub.send(all)
		for i, n := range sizes {
			one.gets(fmt.Sprint("open/", i), filling(n, i))
			m := two.gets(fmt.Sprint("open/", i), filling(n, i))
			two.ack(mqtt.PUBACK, m.PacketID)
			pub.acked(mqtt.PUBACK, uint16(i+1))
		}
	})
}

// TestALargePacketUnderAnotherName: topic aliases, and a name that is longer here than the client says.
func TestALargePacketUnderAnotherName(t *testing.T) {
	play(t, func(r *rig) {
		sub, pub := r.connect(mqtt.V5, "alice/sub"), r.connect(mqtt.V5, "bob/pub")
		topic := "open/" + strings.Repeat("n", 900)
		sub.subscribe("open/#", 0)
		pub.publish(topic, "first", 0, 0, func(p *mqtt.Publish) { p.TopicAlias, p.HasTopicAlias = 1, true })
		sub.gets(topic, "first")
		for i := range 3 {
			p := mqtt.Publish{Payload: []byte(filling(40_000, i)), TopicAlias: 1, HasTopicAlias: true}
			pub.sendCut(p.Append(nil, mqtt.V5), 30_000)
			sub.gets(topic, filling(40_000, i))
		}
	})
}

// TestRetainedLargeIsItsOwn: a message that is kept stays as it is, whatever comes after it; and who is
// there when it comes has it as well, by the name that it has.
func TestRetainedLargeIsItsOwn(t *testing.T) {
	play(t, func(r *rig) {
		pub, live := r.connect(mqtt.V311, "bob/pub"), r.connect(mqtt.V311, "alice/live")
		live.subscribe("open/kept", 0)
		p := mqtt.Publish{Topic: []byte("open/kept"), Payload: []byte(filling(50_000, 1)), Retain: true, QoS: 1, PacketID: 11}
		pub.sendCut(p.Append(nil, mqtt.V311), 40_000)
		live.gets("open/kept", filling(50_000, 1))
		pub.acked(mqtt.PUBACK, 11)
		for i := range 5 {
			p := mqtt.Publish{Topic: []byte("open/gone"), Payload: []byte(filling(50_000, 10+i))}
			pub.sendCut(p.Append(nil, mqtt.V311), 40_000)
		}
		pub.send(mqtt.AppendPingreq(nil))
		pub.expect(mqtt.PINGRESP)
		sub := r.connect(mqtt.V311, "alice/sub")
		sub.subscribe("open/kept", 0)
		sub.gets("open/kept", filling(50_000, 1))
	})
}

// TestALargePacketThatIsNotFinished leaves nothing behind, and nothing of it reaches anybody.
func TestALargePacketThatIsNotFinished(t *testing.T) {
	play(t, func(r *rig) {
		sub := r.connect(mqtt.V311, "alice/sub")
		sub.subscribe("open/#", 0)
		p := mqtt.Publish{Topic: []byte("open/large"), Payload: []byte(filling(60_000, 1))}
		whole := p.Append(nil, mqtt.V311)
		for _, at := range []int{5, 1000, 20_000, 40_000, len(whole) - 1} {
			pub := r.connect(mqtt.V311, "bob/pub")
			pub.send(whole[:at])
			r.settle()
			if held := r.sess.Account.Held(); held > int64(max(2*at, bufferMin)+len(whole)/4) {
				t.Errorf("%d bytes are held for %d that have come", held, at)
			}
			_ = pub.nc.Close()
			r.becomes("connections", 1, r.connections)
			if held := r.sess.Account.Held(); held != 0 {
				t.Errorf("%d bytes are held for who has gone after %d", held, at)
			}
		}
		sub.silent()
	}, func(r *rig) { r.sess.Account = session.NewAccount(8 << 20) })
}

// TestAnAnnouncedPacketHasNoRoom: who says that much comes and sends little of it has what he has
// sent, and not all of it (A001, D-04).
func TestAnAnnouncedPacketHasNoRoom(t *testing.T) {
	play(t, func(r *rig) {
		p := mqtt.Publish{Topic: []byte("open/large"), Payload: make([]byte, 120_000)}
		whole := p.Append(nil, mqtt.V311)
		c := r.connect(mqtt.V311, "bob/pub")
		for sent := 0; sent < 50_000; {
			n := max(sent, 100)
			c.send(whole[sent : sent+n])
			sent += n
			r.settle()
			if held := r.sess.Account.Held(); held > int64(max(2*sent, partMin)) {
				t.Fatalf("%d bytes are held for %d that have come", held, sent)
			}
			r.onLoops(func(l *Loop) {
				for _, c := range l.conns {
					if c != nil && c.half != nil && cap(c.half.in) > max(2*sent, partMin) {
						t.Errorf("room for %d bytes with %d that have come", cap(c.half.in), sent)
					}
				}
			})
		}
	}, func(r *rig) { r.sess.Account = session.NewAccount(64 << 20) })
}

// TestARoomNeedsRoom: where the accounts have nothing left for a whole packet, none is made before the
// packet has come; and where they have not even that, its client is refused.
func TestARoomNeedsRoom(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V311
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: make([]byte, 100<<10)}
	whole := p.Append(nil, mqtt.V311)
	d.account.Reserve(d.account.Max() - 70<<10)
	l.input(c, whole[:readMax])
	if c.half == nil || c.half.room != nil || cap(c.half.in) > readMax {
		t.Fatalf("%+v: no room was asked for", c.half)
	}
	if n := len(l.ahead(c)); n != 0 {
		t.Errorf("space for %d bytes, and the accounts have none", n)
	}
	l.input(c, whole[readMax:len(whole)-1])
	if c.half != nil || d.account.Held() != d.account.Max()-70<<10 {
		t.Errorf("%d bytes of a packet are kept that the accounts have no room for", len(c.half.rest()))
	}
}

// TestPutOffInARoom: a packet that is whole and waits for its turn is kept, with what follows it.
func TestPutOffInARoom(t *testing.T) {
	d := newDuet(t, 1)
	l := d.server.loops[0]
	c, _ := heard(l)
	c.version = mqtt.V311
	p := mqtt.Publish{Topic: []byte("open/x"), Payload: []byte(filling(40_000, 1))}
	whole := p.Append(nil, mqtt.V311)
	l.input(c, whole[:30_000])
	if c.half.room == nil {
		t.Fatal("no room after three quarters of it")
	}
	l.putOff(c, l.broad.listed)
	l.input(c, append(whole[30_000:len(whole):len(whole)], 0xC0, 0))
	if got := c.half.rest(); !bytes.Equal(got, append(whole[:len(whole):len(whole)], 0xC0, 0)) || c.half.room != nil {
		t.Fatalf("%d bytes wait, in a room: %v", len(got), c.half.room != nil)
	}
	before := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PUBLISH)))
	l.goOn(c)
	if n := d.metrics.Value(metrics.PacketsReceived.At(int(mqtt.PUBLISH))) - before; n != 1 || c.half != nil || d.account.Held() != 0 {
		t.Errorf("%d packets, %d bytes left, %d held", n, len(c.half.rest()), d.account.Held())
	}
}
