package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// Portable is the engine that runs everywhere: a goroutine reads each
// connection and a short-lived one does each write. It holds a buffer per
// connection; engines that do not are for the systems that allow it.
type Portable struct {
	server *Server
	stop   chan struct{}  // closed by Stop
	wait   sync.WaitGroup // every goroutine of the engine

	mu      sync.Mutex // guards everything below
	live    map[*wire]struct{}
	stopped bool
}

// NewPortable makes the portable engine for s.
func NewPortable(s *Server) Engine {
	return &Portable{server: s, stop: make(chan struct{}), live: make(map[*wire]struct{})}
}

// Stop implements Engine: the accepting goroutines end with their sockets, and
// connections that no loop knows yet end here.
func (p *Portable) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.stop)
	p.stopped = true
	for w := range p.live {
		if !w.handed {
			w.cut()
		}
	}
}

// hand counts w's connection, unless the engine has stopped: no loop would take
// it.
func (p *Portable) hand(w *wire) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	w.handed = true
	p.server.born()
	return true
}

// Close implements Engine. Connections that are saying goodbye may finish.
func (p *Portable) Close() {
	done := make(chan struct{})
	go func() {
		p.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(goodbyeMax):
	}
	p.mu.Lock()
	for w := range p.live {
		w.cut()
	}
	p.mu.Unlock()
	<-done
}

// Poller implements Engine.
func (p *Portable) Poller(*Loop) (poller, error) {
	return &doorbell{rung: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}, nil
}

// doorbell is the poller of an engine whose sockets come as events.
type doorbell struct {
	rung  chan struct{} // one token while somebody rang
	timer *time.Timer
}

// settle implements poller.
func (b *doorbell) settle() {}

func (b *doorbell) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	b.timer.Reset(d)
	select {
	case <-b.rung:
	case <-b.timer.C:
	}
}

func (b *doorbell) wake() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

func (b *doorbell) dispatch()  {}
func (b *doorbell) strangers() {}
func (b *doorbell) busy() bool { return false }
func (b *doorbell) abandon()   {}
func (b *doorbell) close()     { b.timer.Stop() }

// accept is one listening socket's goroutine.
func (p *Portable) accept(l *listener.Listener, socket net.Listener) {
	if d, ok := socket.(*listener.Datagrams); ok {
		p.acceptQUIC(l, d)
		return
	}
	for {
		nc, err := socket.Accept()
		if err == nil {
			p.admit(l, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of file descriptors, most likely. Going round at once would only
		// burn the processor that could close some.
		p.server.count.Inc(metrics.ConnectionsRefusedOpenFiles)
		p.server.broker.Log().Event(p.server.clock.Now(), slog.LevelError, "cannot accept connections", l.Name,
			slog.String("listener", l.Name), slog.String("error", err.Error()))
		select {
		case <-p.stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// admit asks the door and starts the connection's goroutine. A bug ends this connection
// alone.
func (p *Portable) admit(l *listener.Listener, nc net.Conn) {
	if l.Proxy.Load() != nil {
		p.admitProxy(l, nc)
		return
	}
	var place listener.Admission
	var w *wire
	p.server.guard(func() {
		now, from := p.server.clock.Now(), addrOf(nc.RemoteAddr())
		var refusal listener.Refusal
		var by string
		if place, refusal, by = l.Admit(now, from.Addr()); refusal != "" {
			_ = nc.Close()
			p.server.keptOut(now, refusal, by, from, l)
			return
		}
		w = newWire(p, l, nc)
		w.enter()
		place.Evictable(func() { _ = nc.Close() }) // whoever reads it learns of it
		p.begin(w, now, from, place)
	}, func() { p.undo(w, l, nc, &place) })
}

// undo closes a connection whose goroutine has not begun; w is nil until it is in.
func (p *Portable) undo(w *wire, l *listener.Listener, nc net.Conn, place *listener.Admission) {
	if w == nil {
		w = newWire(p, l, nc)
	}
	w.gone(place)
}

func newWire(p *Portable, l *listener.Listener, nc net.Conn) *wire {
	return &wire{engine: p, listener: l, raw: nc, nc: nc, credit: make(chan struct{}, 1), done: make(chan struct{}), readerGone: make(chan struct{})}
}

// begin starts the goroutine of a connection that was let in.
func (p *Portable) begin(w *wire, accepted time.Time, from netip.AddrPort, place listener.Admission) {
	p.mu.Lock()
	p.live[w] = struct{}{}
	if p.stopped {
		w.cut()
	}
	p.mu.Unlock()
	p.wait.Add(1)
	go func() {
		defer p.wait.Done()
		w.serve(accepted, from, place)
	}()
}

// enter counts w at its listener.
func (w *wire) enter() {
	w.listener.Open.Add(1)
	w.entered = true
}

// addrOf is an address, unmapped; the zero AddrPort if there is none.
func addrOf(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok { // of TCP, UDP
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// wire is the portable engine's socket.
type wire struct {
	engine   *Portable
	listener *listener.Listener
	raw      net.Conn  // the transport
	nc       net.Conn  // raw, or TLS over it
	quic     *quicConn // raw, if it is one
	conn     *Conn
	entered  bool // counted at the listener
	handed   bool // to a loop; guarded by engine.mu
	via      *via // nil unless a proxy has brought it

	credit     chan struct{} // the loop wants more input
	done       chan struct{} // closed by Close: nobody wants input any longer
	readerGone chan struct{} // closed when the reading goroutine has left
}

// serve is the connection's goroutine: handshake, then input until the end.
func (w *wire) serve(accepted time.Time, from netip.AddrPort, place listener.Admission) {
	defer close(w.readerGone)
	arrived := false
	w.engine.server.guard(func() { arrived = w.arrive(accepted, from, &place) }, func() {})
	if !arrived {
		w.gone(&place)
		return
	}
	w.read()
}

// arrive does the handshake and hands the connection to a loop, whose business its place
// is from then on. false: it is over.
func (w *wire) arrive(accepted time.Time, from netip.AddrPort, place *listener.Admission) bool {
	s := w.engine.server
	trust := w.listener.Clients.Load()
	if w.quic != nil { // whose handshake began before
		trust = w.quic.guest.trust
	}
	ws, err := survive(s, func() (*frames, error) { return w.shake(accepted.Add(w.listener.Door.Patience()), place) })
	if kept := place.Handshaken(); !kept || place.Evicted() {
		s.count.Inc(metrics.ConnectionsClosedEvicted)
		if w.listener.Shakes() {
			s.count.Inc(metrics.HandshakesFailedEvicted)
		}
		return false
	}
	if err != nil {
		s.count.Inc(metrics.ConnectionsClosedHandshake)
		s.handshakeFailed(s.clock.Now(), from, w.listener, err)
		if errors.As(err, &tls.RecordHeaderError{}) {
			_, _ = w.raw.Write(notTLS)
		}
		return false
	}
	if trust != nil && len(w.Shown()) > 0 {
		place.Proven()
	}
	w.conn = &Conn{
		sock: w, place: *place, listener: w.listener, port: from.Port(),
	}
	w.conn.with(seldom{via: w.via, trust: trust, ws: ws})
	w.conn.pace.until = s.instant(w.listener.Door.Deadline(accepted))
	home := s.pick()
	w.conn.loop = home
	if !w.engine.hand(w) {
		return false
	}
	home.inbox.post(event{kind: evArrived, conn: w.conn})
	return true
}

// shake does what comes before the first packet.
func (w *wire) shake(deadline time.Time, place *listener.Admission) (ws *frames, err error) {
	if !w.listener.Shakes() {
		return nil, nil
	}
	if w.quic != nil {
		return nil, w.shaken(place)
	}
	wait, refusal := place.Begin(w.engine.server.clock.Now(), w.listener.TLS != nil)
	if refusal != "" {
		return nil, errHandshakeRate
	}
	if wait > 0 {
		select {
		case <-w.engine.stop:
		case <-time.After(wait):
		}
	}
	_ = w.raw.SetDeadline(deadline)
	turn := &computing{server: w.engine.server, place: *place, ended: w.engine.stop}
	if !turn.take() {
		return nil, errHandshakeTime
	}
	defer turn.give()
	b := &breather{w.raw, turn}
	defer func() { b.computing = nil }()
	w.nc = b
	if w.listener.TLS != nil {
		t := tls.Server(b, w.listener.TLS)
		if err := t.HandshakeContext(context.Background()); err != nil {
			return nil, err
		}
		w.engine.server.count.Inc(metrics.HandshakesOK)
		a := agreed(t.ConnectionState())
		if a.count(w.engine.server.count); a.Resumed {
			place.Resumed(w.engine.server.clock.Now())
		}
		w.nc = t
	}
	if w.listener.WebSocket != nil {
		if ws, err = upgrade(w.nc, w.listener.WebSocket); err == nil {
			w.engine.server.count.Inc(metrics.UpgradesOK)
		}
	}
	_ = w.raw.SetDeadline(time.Time{})
	return ws, err
}

// read gives the loop what comes, one read at a time, each at its request.
func (w *wire) read() {
	for {
		select {
		case <-w.done:
			w.drain()
			return
		case <-w.credit:
		}
		b, err := survive(w.engine.server, w.input)
		// The loop gave the credit, so it waits for this event and c.loop holds.
		if len(b) > 0 {
			w.conn.loop.inbox.post(event{kind: evInput, conn: w.conn, buf: b})
			continue // an error comes again with the next read
		}
		if err != nil {
			w.conn.loop.inbox.post(event{kind: evEnded, conn: w.conn, err: err})
			<-w.done
			return
		}
		w.Read() // nothing and no error: ask again
	}
}

// input reads once. An error comes without bytes.
func (w *wire) input() ([]byte, error) {
	if w.quic != nil {
		w.quic.await() // without a buffer
	}
	b := getReadBuffer()
	n, err := w.nc.Read(b)
	if n > 0 {
		return b[:n], nil
	}
	putReadBuffer(b)
	return nil, err
}

// drainMax is how much a closing connection may still send us before we stop
// listening politely, bytes.
const drainMax = 4 << 20

// drain reads and forgets what a client sends that has not yet seen our last
// packet: closing with unread bytes would reset the connection and take the
// DISCONNECT back out of its hands.
func (w *wire) drain() {
	_, _ = survive(w.engine.server, func() (int64, error) { return io.CopyN(io.Discard, w.nc, drainMax) })
}

// Read implements socket.
func (w *wire) Read() { w.credit <- struct{}{} } // holds one, and is never asked twice

// secured is a transport with TLS in it: *tls.Conn, *quicConn.
type secured interface{ ConnectionState() tls.ConnectionState }

// Shown implements socket.
func (w *wire) Shown() []*x509.Certificate {
	if t, ok := w.nc.(secured); ok {
		return t.ConnectionState().PeerCertificates
	}
	return nil
}

// Agreed implements socket.
func (w *wire) Agreed() Agreed {
	if t, ok := w.nc.(secured); ok {
		return agreed(t.ConnectionState())
	}
	return Agreed{}
}

// Leave and Join implement socket: events find the connection's loop.
func (w *wire) Leave()     {}
func (w *wire) Join(*Loop) {}

// Write implements socket.
func (w *wire) Write(b []byte) (done bool) {
	c, l := w.conn, w.conn.loop
	w.engine.wait.Add(1)
	go func() {
		defer w.engine.wait.Done()
		_, err := survive(w.engine.server, func() (int, error) { return w.nc.Write(b) })
		putBuffer(b)
		if err != nil {
			// The reader learns of it too; whoever is first ends the connection.
			l.inbox.post(event{kind: evEnded, conn: c, err: err})
			return
		}
		l.inbox.post(event{kind: evWritten, conn: c})
	}()
	return false
}

// Close implements socket.
func (w *wire) Close(politely bool, place listener.Admission) {
	close(w.done)
	if !politely {
		w.cut()
	}
	w.engine.wait.Add(1)
	go func() {
		defer w.engine.wait.Done()
		if politely {
			w.engine.server.guard(w.sayGoodbye, w.cut)
		}
		<-w.readerGone
		w.gone(&place)
	}()
}

// cut ends whatever reads, writes or waits for the client. It does not block.
func (w *wire) cut() {
	if w.quic != nil {
		w.quic.cut()
		return
	}
	_ = w.raw.Close()
}

// goodbyeMax bounds how long a client may take to close its side.
const goodbyeMax = time.Second

// sayGoodbye ends our half. A transport without halves ends as a whole: it keeps
// nothing that a reset could take back.
func (w *wire) sayGoodbye() {
	_ = w.raw.SetDeadline(w.engine.server.clock.Now().Add(goodbyeMax))
	if t, ok := w.nc.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	half, ok := w.raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = w.raw.Close()
	}
}

// gone closes the transport and gives the place back, whatever trips on the way.
func (w *wire) gone(place *listener.Admission) {
	defer func() {
		w.engine.mu.Lock()
		delete(w.engine.live, w)
		w.engine.mu.Unlock()
		if w.entered {
			w.listener.Open.Add(-1)
		}
		if w.quic != nil {
			w.quic.guest.entrance.leave()
		}
	}()
	w.engine.server.guard(func() {
		defer place.Leave()
		_ = w.raw.Close()
	}, func() {})
}
