package conn

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// closedSoon tells whether the socket of the rig's listener is closed.
func (q *quicRig) closedSoon() bool {
	synctest.Wait()
	select {
	case <-q.server.done:
		return true
	default:
		return false
	}
}

// A socket of QUIC that is closed carries its connections on and tells who comes next at
// once; it can be had again at the same address meanwhile, and is closed after the last.
func TestAQUICSocketDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newQUICRig(t)
		l, socket := r.entrance, r.entrance.Sockets[0].(*listener.Datagrams)
		first := r.connect(mqtt.V5, "alice/first")
		alive := func(c *client) {
			t.Helper()
			c.send([]byte{0xC0, 0})
			c.expect(mqtt.PINGRESP)
		}
		refused := func() {
			t.Helper()
			before := time.Now()
			c, err := r.quic.dial()
			if err == nil {
				t.Fatalf("somebody gets in: %v", c)
			}
			var told *quic.TransportError
			if !errors.As(err, &told) || told.ErrorCode != quic.ConnectionRefused || time.Since(before) > time.Second {
				t.Fatalf("refused after %v with %v", time.Since(before), err)
			}
			// A ClientHello is two datagrams, and each is refused. A second one that was
			// read only when the socket is open again would be let in.
			synctest.Wait()
		}
		opens := func() {
			t.Helper()
			if !socket.Reserve() {
				t.Fatal("the socket cannot be had again")
			}
			o, err := r.server.Ready(l, []net.Listener{socket})
			if err != nil {
				t.Fatal(err)
			}
			refused() // until then
			o.Open()
			synctest.Wait()
		}
		synctest.Wait() // the first is counted
		admitted := r.metrics.Value(metrics.ConnectionsAccepted)
		for range 2 {
			if err := socket.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // whoever serves it has heard of it
			refused()
			alive(first)
			if got := r.metrics.Value(metrics.ConnectionsAccepted); got != admitted {
				t.Fatalf("%d were admitted while it was closed", got-admitted)
			}
			if !socket.Reserve() { // and given back
				t.Fatal("the socket cannot be had again")
			}
			_ = socket.Close()
			alive(first)
			opens()
			again := r.connect(mqtt.V5, "alice/again")
			alive(again)
			alive(first)
			leaves(again)
			synctest.Wait()
			admitted++
		}
		_ = socket.Close()
		if !socket.Reserve() {
			t.Fatal("the socket cannot be had again")
		}
		o, err := r.server.Ready(l, []net.Listener{socket})
		if err != nil {
			t.Fatal(err)
		}
		_ = socket.Close() // before whoever serves it has come to it
		o.Open()
		synctest.Wait()
		refused()
		if r.quic.closedSoon() {
			t.Fatal("the socket is closed, and a client is there")
		}
		if !socket.Reserve() {
			t.Fatal("the socket cannot be had again")
		}
		leaves(first)
		if r.quic.closedSoon() { // it is held
			t.Fatal("the socket is closed, and somebody is about to open it")
		}
		_ = socket.Close()
		if !r.quic.closedSoon() || socket.Reserve() {
			t.Error("the socket is open, and nobody is there")
		}
	})
}

// Who has no clients has its address free when Close returns.
func TestAnIdleQUICSocketIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newQUICRig(t)
		c := r.connect(mqtt.V5, "alice/c")
		leaves(c)
		passes(2 * time.Second)
		_ = r.entrance.Sockets[0].Close()
		select {
		case <-r.quic.server.done:
		default:
			t.Error("it is open still")
		}
	})
}

// leaves is a client that says goodbye and is gone.
func leaves(c *client) {
	c.send([]byte{0xE0, 0})
	passes(2 * time.Second)
	_ = c.nc.Close()
	passes(2 * time.Second)
}
