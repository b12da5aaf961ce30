package conn

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// What a client may do on QUIC (RFC 9000). It opens one bidirectional stream, ever,
// and speaks MQTT on it; it has no others, no datagrams and no 0-RTT, whose data
// anybody who saw it can send again (A155).
const (
	// quicWindowMin is how much a client may send that nobody has read yet, bytes: as
	// much as a CONNECT has. A client whose packets are read quickly gets more of it,
	// up to the largest packet but at most quicWindowMax. quic-go holds what it has not
	// handed on in the packets it came in, so that a client of many small frames takes
	// up to eleven times as much.
	quicWindowMin = 16 << 10
	quicWindowMax = 256 << 10
	// quicIDBytes is the length of our connection identifiers. They are random, and one
	// must not be guessed.
	quicIDBytes = 8
)

// quicEntrance is one UDP socket on which a listener takes QUIC. quic-go's goroutines
// read and write it; the entrance closes it after the last connection.
type quicEntrance struct {
	engine   *Portable
	listener *listener.Listener
	socket   net.PacketConn
	carrier  *quic.Transport
	draining
}

// acceptQUIC lets clients of QUIC in on a UDP socket, until it is closed and the last of
// them has gone.
func (p *Portable) acceptQUIC(l *listener.Listener, socket *listener.Datagrams) {
	if socket.Resume() { // it carries connections from before it was closed
		return
	}
	e := &quicEntrance{engine: p, listener: l, socket: socket.PacketConn}
	e.carrier = &quic.Transport{
		Conn: socket.PacketConn, ConnectionIDLength: quicIDBytes, ConnContext: e.admit,
		// Nothing is done for an address that has not answered: with a forged one nobody
		// can use up the place of the network it belongs to, nor send it more than it
		// was sent. It costs the first connection of a client one round trip.
		VerifySourceAddress: func(net.Addr) bool { return true },
	}
	e.begin()
	accepts, err := e.carrier.ListenEarly(p.server.guarded(l.TLS), &quic.Config{GetConfigForClient: e.config})
	if err != nil {
		e.failed(err)
		e.finish(nil)
		return
	}
	defer e.finish(accepts)
	if !socket.Serve(&e.draining) { // closed just now
		e.shutNow()
	}
	for {
		c, err := accepts.Accept(e.until)
		if err == nil {
			e.take(c)
			continue
		}
		if e.until.Err() == nil {
			e.failed(err)
			e.giveUp()
		}
		return
	}
}

// failed says that nobody gets in any more.
func (e *quicEntrance) failed(err error) {
	s := e.engine.server
	s.broker.Log().Event(s.clock.Now(), slog.LevelError, "a listener's socket has failed, nobody can connect there", e.listener.Name,
		slog.String("listener", e.listener.Name), slog.String("error", err.Error()))
}

// config is the transport of one connection. The handshake has half of the client's
// patience without a packet, and all of it in the end; CONNECT has what is left.
func (e *quicEntrance) config(*quic.ClientInfo) (*quic.Config, error) {
	return survive(e.engine.server, e.transport)
}

func (e *quicEntrance) transport() (*quic.Config, error) {
	set := e.engine.server.broker.Settings()
	window := uint64(min(max(set.PacketBytes, quicWindowMin), quicWindowMax))
	// The loop ends a connection that is silent for one and a half times its keep alive.
	// QUIC, which does not know it, only ends what the loop must have ended.
	idle := time.Duration(max(set.KeepAliveMax, set.KeepAliveMaxV3)) * time.Second * 2
	return &quic.Config{
		HandshakeIdleTimeout:           e.listener.Door.Patience() / 2,
		MaxIdleTimeout:                 idle,
		InitialStreamReceiveWindow:     quicWindowMin,
		InitialConnectionReceiveWindow: quicWindowMin,
		MaxStreamReceiveWindow:         window,
		MaxConnectionReceiveWindow:     window,
		MaxIncomingStreams:             1,
		RequireStreamCreditRelease:     true, // which we never do: one that was closed counts
		MaxIncomingUniStreams:          -1,   // none
		Allow0RTT:                      false,
		EnableDatagrams:                false,
	}, nil
}

// quicGuest is a connection from the moment its address was proven, before any work on
// TLS.
type quicGuest struct {
	entrance *quicEntrance
	from     netip.AddrPort
	accepted time.Time
	trust    *pki.Clients
	inner    context.Context // of the connection, for quic-go
	giveUp   context.CancelCauseFunc

	mu    sync.Mutex         // guards everything below
	place listener.Admission // until the connection was accepted
	conn  *quicConn          // nil until then
	gone  bool
}

// guestKey is the guest of a connection's context.
type guestKey struct{}

var (
	errQUICRefused = errors.New("refused at the door")
	errQUICShut    = errors.New("the listener takes no more connections")
	errQUICEvicted = errors.New("the connection has to make room")
)

// admit asks the door about a connection from an address that is proven. ctx ends with
// the connection. It runs on a goroutine of quic-go, as config does.
func (e *quicEntrance) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if !e.enter() {
		return nil, errQUICShut
	}
	var place listener.Admission
	var g *quicGuest
	e.engine.server.guard(func() { g = e.judge(ctx, info, &place) }, place.Leave)
	if g == nil {
		e.leave()
		return nil, errQUICRefused
	}
	e.listener.Open.Add(1)
	e.engine.wait.Add(1)
	context.AfterFunc(ctx, func() {
		defer e.engine.wait.Done()
		g.ended(context.Cause(ctx))
	})
	return context.WithValue(g.inner, guestKey{}, g), nil
}

// judge asks the door; nil: the connection is not let in.
func (e *quicEntrance) judge(ctx context.Context, info *quic.ClientInfo, place *listener.Admission) *quicGuest {
	l, s := e.listener, e.engine.server
	now, from := s.clock.Now(), addrOf(info.RemoteAddr)
	var refusal listener.Refusal
	var by string
	if *place, refusal, by = l.Admit(now, from.Addr()); refusal != "" {
		s.keptOut(now, refusal, by, from, l)
		return nil
	}
	// Who is over the rate of handshakes cannot be made to wait here; the account is
	// the same as that of TCP, and beyond what could be waited for it refuses.
	if _, refusal = place.Begin(now, true); refusal != "" {
		place.Leave()
		s.count.Inc(metrics.ConnectionsClosedHandshake)
		s.handshakeFailed(now, from, l, errHandshakeRate)
		return nil
	}
	g := &quicGuest{entrance: e, from: from, accepted: now, trust: l.Clients.Load(), place: *place}
	g.inner, g.giveUp = context.WithCancelCause(ctx)
	g.place.Evictable(g.evict)
	return g
}

// take begins with a connection whose ClientHello has been answered.
func (e *quicEntrance) take(c *quic.Conn) {
	var w *wire
	var place listener.Admission
	e.engine.server.guard(func() {
		g := c.Context().Value(guestKey{}).(*quicGuest)
		q := newQUICConn(c, g)
		in := newWire(e.engine, e.listener, q)
		in.quic, in.entered = q, true
		g.mu.Lock()
		if g.gone {
			g.mu.Unlock()
			return
		}
		w = in
		place = g.place
		g.conn, g.place = q, listener.Admission{}
		g.mu.Unlock()
		if place.Evicted() { // before it could be told
			w.cut()
		}
		e.engine.begin(w, g.accepted, g.from, place)
	}, func() {
		if w == nil {
			_ = c.CloseWithError(0, "") // its end gives the place back
			return
		}
		w.gone(&place)
	})
}

// evict ends the connection. Before its ClientHello was answered only the handshake can
// be told; quic-go keeps what it has of it for as long as a handshake may take.
func (g *quicGuest) evict() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil {
		g.conn.cut()
		return
	}
	g.giveUp(errQUICEvicted)
}

// ended gives the place of a connection back that came to nothing before it was
// accepted.
func (g *quicGuest) ended(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil { // the wire's business
		return
	}
	g.gone = true
	l, s := g.entrance.listener, g.entrance.engine.server
	defer g.entrance.leave()
	defer l.Open.Add(-1)
	s.guard(func() {
		defer g.place.Leave()
		if kept := g.place.Handshaken(); !kept || g.place.Evicted() {
			s.count.Inc(metrics.ConnectionsClosedEvicted)
			s.count.Inc(metrics.HandshakesFailedEvicted)
			return
		}
		s.count.Inc(metrics.ConnectionsClosedHandshake)
		s.handshakeFailed(s.clock.Now(), g.from, l, why)
	}, func() {})
}

// shaken waits for the end of a handshake, and counts it.
func (w *wire) shaken(place *listener.Admission) error {
	if err := w.quic.handshaken(); err != nil {
		return err
	}
	s := w.engine.server
	s.count.Inc(metrics.HandshakesOK)
	a := agreed(w.quic.ConnectionState())
	if a.count(s.count); a.Resumed {
		place.Resumed(s.clock.Now())
	}
	return nil
}
