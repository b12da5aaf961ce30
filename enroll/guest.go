package enroll

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// gate lets in who the door lets in, and no more than GuestsMax.
type gate struct {
	net.Listener
	s *Server
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in := g.s.guests.admit(c); in != nil {
			return tls.Server(in, g.s.o.TLS), nil
		}
		_ = c.Close()
	}
}

// guests are the connections of the port.
type guests struct {
	o       *Options
	waiting *limit.Waiting
	inside  sync.WaitGroup
}

func (g *guests) init(o *Options) { g.o, g.waiting = o, limit.NewWaiting(GuestsMax) }

// admit gives a connection its place; nil: there is none for it.
func (g *guests) admit(c net.Conn) *guest {
	now := g.o.Clock.Now()
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil { // no TCP connection
		return nil
	}
	addr := from.Addr().Unmap()
	place, refused := g.o.Door.Admit(now, addr, true)
	if refused != "" {
		g.o.Audit.Stranger(now, slog.LevelWarn, "connection refused", addr, string(refused), func() []slog.Attr {
			return []slog.Attr{slog.String("address", from.String()), slog.String("listener", "enroll"), slog.String("limit", string(refused))}
		})
		return nil
	}
	if _, refused := place.Begin(now, true); refused != "" { // who would only have to wait is let in: they are few
		place.Leave()
		g.o.Count.Inc(metrics.HandshakesFailedRate)
		g.o.Count.Inc(metrics.ConnectionsClosedEnrolment)
		return nil
	}
	one, evict, ok := g.waiting.Join(addr, false)
	if !ok {
		place.Leave()
		g.o.Count.Inc(metrics.ConnectionsClosedEnrolment)
		return nil
	}
	if evict != nil {
		evict()
	}
	in := &guest{Conn: c, guests: g, from: from, end: now.Add(g.o.Door.Patience()), place: place, one: one}
	in.done = sync.OnceValue(in.leave)
	g.inside.Add(1)
	_ = c.SetDeadline(in.end) // fails only if it is closed, which reading finds
	in.place.Evictable(func() { _ = c.Close() })
	one.Evictable(func() { _ = c.Close() })
	return in
}

// guest is one connection. However it is used, it ends when its time is up: a byte now and
// then must not hold a place (A077).
type guest struct {
	net.Conn
	guests *guests
	from   netip.AddrPort
	end    time.Time
	done   func() error

	mu    sync.Mutex // guards all below: the end may come from elsewhere than the rest
	place listener.Admission
	one   *limit.Waiter
}

// SetDeadline implements net.Conn.
func (g *guest) SetDeadline(t time.Time) error { return g.Conn.SetDeadline(g.within(t)) }

// SetReadDeadline implements net.Conn.
func (g *guest) SetReadDeadline(t time.Time) error { return g.Conn.SetReadDeadline(g.within(t)) }

// SetWriteDeadline implements net.Conn.
func (g *guest) SetWriteDeadline(t time.Time) error { return g.Conn.SetWriteDeadline(g.within(t)) }

func (g *guest) within(t time.Time) time.Time {
	if t.IsZero() || t.After(g.end) {
		return g.end
	}
	return t
}

// Close implements net.Conn.
func (g *guest) Close() error { return g.done() }

func (g *guest) leave() error {
	defer g.guests.inside.Done()
	err := g.Conn.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.place.Leave()
	g.one.Leave()
	g.guests.o.Count.Inc(metrics.ConnectionsClosedEnrolment)
	return err
}

// busy says that it is our turn, or that of the device.
func (g *guest) busy(ours bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.place.Busy(ours)
	g.one.Busy(ours)
}

// shaken gives back the place of a handshake; the connection is closed if another has it.
func (g *guest) shaken() {
	g.mu.Lock()
	kept := g.place.Handshaken()
	g.mu.Unlock()
	if !kept {
		_ = g.Close()
	}
}

type guestKey struct{}

// guestOf is the guest below a connection of the server.
func guestOf(c net.Conn) *guest {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g, _ := c.(*guest)
	return g
}

// withGuest lets handlers find whom they talk to.
func withGuest(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, guestOf(c))
}

// settle is told when the first request has begun to come: the handshake is over then.
func settle(c net.Conn, state http.ConnState) {
	if g := guestOf(c); g != nil && state == http.StateActive {
		g.shaken()
	}
}
