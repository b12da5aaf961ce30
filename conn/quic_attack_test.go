package conn

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// besieged plays f against QUIC with a client beside it that must notice nothing.
func besieged(t *testing.T, f func(r *rig), change ...func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newQUICRig(t, change...)
		beside := r.connect(mqtt.V5, "bob/beside")
		f(r)
		beside.send([]byte{0xC0, 0})
		beside.expect(mqtt.PINGRESP)
	})
}

// A client has one stream, whatever became of it; one more, or one in one direction, ends
// the connection (A153).
func TestQUICHasOneStream(t *testing.T) {
	besieged(t, func(r *rig) {
		c := r.connect(mqtt.V5, "alice/c").nc.(*quicClient)
		if _, err := c.conn.OpenStream(); err == nil {
			t.Error("a second stream")
		}
		if _, err := c.conn.OpenUniStream(); err == nil {
			t.Error("a stream in one direction")
		}
		if c.conn.ConnectionState().SupportsDatagrams.Remote {
			t.Error("datagrams are taken")
		}
		_ = c.Stream.Close()
		passes(5 * time.Second)
		if _, err := c.conn.OpenStream(); err == nil {
			t.Error("a second stream after the first was closed")
		}
	})
}

// What a client sends before its handshake is done can be sent again by whoever saw it:
// a session to resume lets nobody do that (A155).
func TestQUICTakesNoEarlyData(t *testing.T) {
	besieged(t, func(r *rig) {
		cache := tls.NewLRUClientSessionCache(4)
		keep := func(c *tls.Config, _ *quic.Config) { c.ClientSessionCache = cache }
		first, err := r.quic.dial(keep)
		if err != nil {
			t.Fatal(err)
		}
		passes(time.Second)
		_ = first.Close()
		r.quic.next++
		h := r.quic.net.host("198.51.200.7:4433")
		carrier := &quic.Transport{Conn: h}
		conf := r.quic.tls.Clone()
		conf.ClientSessionCache = cache
		c, err := carrier.DialEarly(context.Background(), r.quic.server.addr.Load(), conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-c.HandshakeComplete()
		if s := c.ConnectionState(); s.Used0RTT || !s.TLS.DidResume {
			t.Errorf("0-RTT %v, resumed %v; want a resumed session without", s.Used0RTT, s.TLS.DidResume)
		}
		_ = c.CloseWithError(0, "")
		_ = carrier.Close()
		_ = h.Close()
	})
}

// Nothing is done for an address that is not proven: a packet with a forged one gets less
// back than it has, and takes nobody's place; junk gets nothing.
func TestQUICAnswersAForgedAddressWithLess(t *testing.T) {
	besieged(t, func(r *rig) {
		// A real first packet, taken on its way.
		tap := r.quic.net.host("203.0.113.1:1")
		client := r.quic.net.host("198.51.210.1:4433")
		carrier := &quic.Transport{Conn: client}
		go func() { _, _ = carrier.Dial(context.Background(), tap.addr.Load(), r.quic.tls, nil) }()
		hello := <-tap.queue
		_ = carrier.Close()
		_ = client.Close()

		before := r.metrics.Value(metrics.ConnectionsAccepted)
		victim := r.quic.net.host("203.0.113.2:2")
		sent, got := 0, 0
		for i := range 200 {
			b := append([]byte(nil), hello.b...)
			b[6] ^= byte(i) // of the connection identifier: another one each time
			r.quic.server.queue <- quicDatagram{b, victim.addr.Load()}
			sent += len(b)
			passes(time.Millisecond)
		}
		passes(20 * time.Second)
		for len(victim.queue) > 0 {
			got += len((<-victim.queue).b)
		}
		t.Logf("%d bytes with a forged address brought it %d", sent, got)
		if got > sent {
			t.Errorf("a victim gets %d bytes for %d", got, sent)
		}
		for n := range 1500 { // junk
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(n*31 + i*17)
			}
			r.quic.server.queue <- quicDatagram{b, victim.addr.Load()}
			if n%100 == 0 {
				passes(time.Millisecond)
			}
		}
		passes(time.Second)
		if n := r.metrics.Value(metrics.ConnectionsAccepted); n != before {
			t.Errorf("%d connections were admitted from an address nobody has proven", n-before)
		}
		_ = tap.Close()
		_ = victim.Close()
	})
}

// Packets with connection identifiers that nobody has, of each form, from addresses nobody
// has proven, hold no memory and take no place; what is answered is less than what came.
func TestQUICRandomIDsHoldNothing(t *testing.T) {
	besieged(t, func(r *rig) {
		tap := r.quic.net.host("203.0.113.1:1")
		client := r.quic.net.host("198.51.210.1:4433")
		carrier := &quic.Transport{Conn: client}
		go func() { _, _ = carrier.Dial(context.Background(), tap.addr.Load(), r.quic.tls, nil) }()
		hello := <-tap.queue
		_, _ = carrier.Close(), client.Close()
		victim := r.quic.net.host("203.0.113.2:2")
		accepted, sent, got := r.metrics.Value(metrics.ConnectionsAccepted), 0, 0
		send := func(n int) {
			for i := range n {
				b := append([]byte(nil), hello.b...)
				_, _ = rand.Read(b[6:14]) // the identifier of an Initial
				switch i % 4 {
				case 1: // of a connection that there is not
					b[0] = 0x40 | b[7]&0x3f
					_, _ = rand.Read(b[1:9])
				case 2: // another type of long header
					b[0] = 0xc0 | b[7]&0x3f
				case 3: // another version
					_, _ = rand.Read(b[1:5])
				}
				r.quic.server.queue <- quicDatagram{b, &net.UDPAddr{IP: net.IPv4(203, 0, 113, 2), Port: 2}}
				sent += len(b)
				if i%64 == 0 {
					passes(time.Millisecond)
					for len(victim.queue) > 0 {
						got += len((<-victim.queue).b)
					}
				}
			}
			passes(20 * time.Second)
		}
		send(500)
		before := inUse()
		send(4000)
		if more := inUse() - before; more > 1<<20 {
			t.Errorf("4,000 packets with unknown identifiers hold %d KiB", more>>10)
		}
		for len(victim.queue) > 0 {
			got += len((<-victim.queue).b)
		}
		t.Logf("%d bytes brought the victim %d", sent, got)
		if got > sent/3 {
			t.Errorf("a victim gets %d bytes for %d", got, sent)
		}
		if n := r.metrics.Value(metrics.ConnectionsAccepted); n != accepted {
			t.Errorf("%d connections were admitted", n-accepted)
		}
		_, _ = tap.Close(), victim.Close()
	})
}

// Whoever is silent, or stops in the middle, has ten seconds from the first packet.
func TestQUICSilenceEndsInTime(t *testing.T) {
	besieged(t, func(r *rig) {
		silent, err := r.quic.dial()
		if err != nil {
			t.Fatal(err)
		}
		slow := r.dial(mqtt.V5, "alice/slow")
		slow.send([]byte{0x10})
		r.becomes("connections", 3, r.connections)
		passes(10 * time.Second)
		r.becomes("connections after 10 s", 1, r.connections)
		if silent.conn.Context().Err() == nil {
			t.Error("a connection without a stream is still open")
		}
		_ = silent.Close()
	})
}

// A handshake that stops does so for as long as a client may take, and is counted as what
// it was.
func TestQUICHandshakeThatStops(t *testing.T) {
	besieged(t, func(r *rig) {
		q, stop := r.quic, make(chan struct{})
		h := q.net.host("198.51.220.1:4433")
		carrier := &quic.Transport{Conn: h}
		conf := q.tls.Clone()
		conf.VerifyConnection = func(tls.ConnectionState) error { <-stop; return errors.New("enough") }
		done := make(chan struct{})
		go func() { defer close(done); _, _ = carrier.Dial(context.Background(), q.server.addr.Load(), conf, nil) }()
		passes(time.Second)
		if n := r.metrics.Value(metrics.Handshakes); n != 1 {
			t.Errorf("%d handshakes under way", n)
		}
		passes(9 * time.Second)
		if n := r.metrics.Value(metrics.Handshakes); n != 0 {
			t.Errorf("%d handshakes under way after 10 s", n)
		}
		if n := r.metrics.Value(metrics.HandshakesFailedTimeout); n != 1 {
			t.Errorf("%d ended by time\n%s", n, r.log)
		}
		close(stop)
		<-done
		_ = carrier.Close()
		_ = h.Close()
		passes(11 * time.Second) // what it sent again began another
		r.becomes("connections", 1, r.connections)
	})
}

// The network of a flood gives way; others get in.
func TestQUICFloodMakesRoom(t *testing.T) {
	besieged(t, func(r *rig) {
		var all []*quicClient
		for range 12 {
			c, err := r.quic.dial()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		r.connect(mqtt.V5, "carol/c")
		if n := r.metrics.Value(metrics.ConnectionsClosedEvicted); n == 0 {
			t.Error("nobody has made room")
		}
		passes(11 * time.Second)
		r.becomes("connections", 2, r.connections)
		for _, c := range all {
			_ = c.Close()
		}
	}, func(r *rig) { r.strangers = 5 })
}

// Limits, bans and rules were judged of the address of the handshake: a client that comes
// from another one has to begin again. Another port is the same client.
func TestQUICClientThatMoves(t *testing.T) {
	besieged(t, func(r *rig) {
		c := r.connect(mqtt.V5, "alice/c")
		host := c.nc.(*quicClient).host
		from := host.LocalAddr().(*net.UDPAddr)
		host.moveTo((&net.UDPAddr{IP: from.IP, Port: 5555}).String())
		for range 5 {
			c.send([]byte{0xC0, 0})
			c.expect(mqtt.PINGRESP)
		}
		host.moveTo("203.0.113.77:5555")
		for range 20 {
			_, _ = c.nc.Write([]byte{0xC0, 0})
			passes(200 * time.Millisecond)
		}
		r.becomes("connections", 1, r.connections)
	})
}

// The end of the broker is said on QUIC, too.
func TestQUICShutdownIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newQUICRig(t)
		c := r.connect(mqtt.V5, "alice/c")
		r.close()
		c.closed(mqtt.ServerShuttingDown)
	})
}

// Who agreed on what, and why a handshake failed, is counted as over TCP.
func TestQUICHandshakesAreExplained(t *testing.T) {
	besieged(t, func(r *rig) {
		for _, row := range []struct {
			change func(*tls.Config, *quic.Config)
			id     metrics.ID
			said   string
		}{
			{func(c *tls.Config, _ *quic.Config) { c.NextProtos = []string{"h3"} }, metrics.HandshakesFailedOther, "ALPN"},
			{func(c *tls.Config, _ *quic.Config) { c.RootCAs = nil }, metrics.HandshakesFailedRefused, "refused our certificate"},
		} {
			before := r.metrics.Value(row.id)
			if c, err := r.quic.dial(row.change); err == nil {
				_ = c.Close()
				t.Errorf("%s: it gets in", row.said)
			}
			r.becomes(row.said, before+1, func() int64 { return r.metrics.Value(row.id) })
			if !strings.Contains(r.log.String(), row.said) && row.id != metrics.HandshakesFailedRefused {
				t.Errorf("the log does not say %q\n%s", row.said, r.log)
			}
		}
		if n := r.metrics.Value(metrics.HandshakesOK); n != 1 {
			t.Errorf("%d handshakes succeeded", n)
		}
		r.server.Each(func(time.Time, *broker.Home) {})
	})
}
