package conn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/listener"
)

// handshake is a TLS handshake, a WebSocket upgrade or both, begun when a whole
// ClientHello had come, or a first byte where there is no TLS. It is a coroutine of a
// shaker: it computes only when it has a turn, and gives it back and rests whenever it
// waits for the client. The connection's absolute deadline ends it.
type handshake struct {
	socket *fdSocket
	server *Server
	place  listener.Admission     // a copy, which says on whose behalf
	by     atomic.Pointer[shaker] // nil: it has had no turn
	turn   limit.Turn             // asked for by the loop, ended by the shaker
	has    atomic.Bool            // it has one, which is counted at by
	rests  atomic.Bool            // it waits for its socket: set by the shaker, taken back by the loop, who asks for a turn then
	ended  atomic.Bool            // nobody wants it any longer: set by the loop, which asks for no turn afterwards

	// Of the shaker's thread.
	tls    *tls.Conn          // nil where there is no TLS
	resume func() (more bool) // nil: it has not begun
	rest   func()
	over   bool
}

// begin starts the handshake. From here on the loop only signals.
func (s *fdSocket) begin() {
	c, e := s.conn, s.poll.engine
	s.inLine = false
	k := new(cover)
	h := &handshake{socket: s, server: e.server, place: c.place}
	e.shakes.Add(1)
	h.turn.Dealt = h.dealt
	k.shake, s.cover = h, k
	c.stage = shaking
	v := c.more()
	v.trust = c.listener.Clients.Load()
	c.with(v)
	if c.listener.TLS != nil {
		k.wire = tlsWire{before: h, append: func(b []byte) {
			r := s.waiting()
			r.bytes = append(r.bytes, b...)
		}}
		h.tls = tls.Server(&k.wire, c.listener.TLS)
	}
	s.disarm()
	s.poll.loop.shaking++
	h.ask(&c.place)
}

// ask is for a turn. It is called by the loop.
func (h *handshake) ask(place *listener.Admission) {
	place.Busy(true)
	h.server.dealLater(h.place, place.Ask(h.server.clock.Now(), &h.turn))
}

// dealt is for the moment in which its turn has come.
func (h *handshake) dealt() {
	k := h.shaker()
	h.has.Store(true)
	k.count(1)
	k.push(h)
}

// shaker is the one on which it computes: that with the fewest turns when it had its first, or was ended before.
func (h *handshake) shaker() *shaker {
	if k := h.by.Load(); k != nil {
		return k
	}
	p := h.socket.poll
	h.by.CompareAndSwap(nil, p.engine.shaker(p))
	return h.by.Load()
}

// goOn has the handshake compute until it rests or is over. It is called by the shaker when its turn was dealt, and
// when nobody wants it any longer.
func (h *handshake) goOn() {
	if h.over {
		return // both
	}
	if h.resume == nil {
		h.resume = coroutine(h.server, h.whole)
	}
	more := false
	defer func() {
		if !more { // or a bug
			h.over = true
			h.by.Load().engine.shakes.Done()
		}
	}()
	more = h.resume()
}

// whole is the coroutine.
func (h *handshake) whole(rest func()) {
	h.rest = rest
	ws, err := survive(h.server, h.run)
	h.finish(ws, err)
}

// finish tells the loop. It is a function of its own, for its event has no room on the stack of a handshake that rests: with more
// than 3.3 KB in use the collector does not halve one of 16 KB.
//
//go:noinline
func (h *handshake) finish(ws *frames, err error) {
	s := h.socket
	s.poll.loop.inbox.post(event{kind: evCall, fn: func(l *Loop) {
		c, k := s.conn, s.cover
		l.shaking--
		k.shake, k.wire.before = nil, nil
		if err == nil {
			k.tls = h.tls
			v := c.more()
			v.ws = ws
			c.with(v)
		}
		if h.tls == nil {
			s.cover = nil
		}
		l.guard(c, func() { s.shaken(err) })
	}})
}

// shaken goes on after the handshake, in one step: once the CONNECT has been seen,
// the connection may be on its way to another loop.
func (s *fdSocket) shaken(err error) {
	c, l := s.conn, s.poll.loop
	if c.stage == gone { // it was closed while the handshake ran
		s.Close(false, c.place)
		return
	}
	l.shaken(c, err)
	s.prime()
}

// prime looks at what came right behind the handshake: crypto/tls may have read
// the CONNECT already, or what follows it, and the kernel will not report it
// again.
func (s *fdSocket) prime() {
	c := s.conn
	if s.tls() == nil || (c.stage != awaitingConnect && c.stage != authenticating) {
		return
	}
	c.pace.reading = false
	s.decrypt(nil)
	if c.stage != gone {
		s.poll.loop.resumeReading(c)
		s.arm()
	}
}

// disarm leaves the descriptor to the handshake.
func (s *fdSocket) disarm() {
	s.armed = 0
	s.control(unix.EPOLL_CTL_MOD, unix.EPOLLONESHOT)
}

// run does what comes before the first packet.
func (h *handshake) run() (*frames, error) {
	defer h.give()
	if h.ended.Load() {
		return nil, errHandshakeTime
	}
	w := h.socket.conn.listener.WebSocket
	if h.tls == nil {
		return upgrade(h, w)
	}
	if err := h.tls.HandshakeContext(context.Background()); err != nil || w == nil {
		return nil, err
	}
	return upgrade(h.tls, w)
}

// give ends the turn, if there is one.
func (h *handshake) give() {
	h.uncount() // before the next one is dealt, who looks for the shaker with the fewest
	h.server.dealLater(h.place, h.place.Done(h.server.clock.Now(), &h.turn))
	h.uncount() // it may have been dealt just now, to one that was ended
}

func (h *handshake) uncount() {
	if h.has.Swap(false) {
		h.by.Load().count(-1)
	}
}

// signal tells that the descriptor is ready. It is called by the loop.
func (h *handshake) signal() {
	if !h.ended.Load() && h.rests.CompareAndSwap(true, false) {
		h.ask(&h.socket.conn.place)
	}
}

// abort ends the handshake wherever it waits. It is called by the loop.
func (h *handshake) abort() {
	if !h.ended.Swap(true) {
		h.shaker().push(h)
	}
}

// await lets go of the turn until the descriptor is ready.
func (h *handshake) await(mask uint32) error {
	s := h.socket
	h.place.Busy(false)
	h.give()
	h.rests.Store(true)
	if err := s.poll.control(unix.EPOLL_CTL_MOD, int(s.fd), s.conn.ref.Slot, s.conn.ref.Gen, mask|unix.EPOLLONESHOT); err != nil && h.rests.CompareAndSwap(true, false) {
		return err
	}
	if !h.ended.Load() {
		h.rest()
	}
	if h.ended.Load() {
		return errHandshakeTime
	}
	return nil
}

// Read implements net.Conn for the time of the handshake.
func (h *handshake) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(h.socket.fd), b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := h.await(unix.EPOLLIN); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write implements net.Conn for the time of the handshake.
func (h *handshake) Write(b []byte) (int, error) {
	h.giveWay()
	for sent := 0; ; {
		n, err := unix.Write(int(h.socket.fd), b[sent:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := h.await(unix.EPOLLOUT); err != nil {
				return sent, err
			}
		case err != nil:
			return sent, err
		default:
			if sent += n; sent == len(b) {
				return sent, nil
			}
		}
	}
}

// The rest of net.Conn: deadlines are the loop's, the descriptor the socket's.

// Close implements net.Conn.
func (h *handshake) Close() error { return nil }

// LocalAddr implements net.Conn.
func (h *handshake) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (h *handshake) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.place.From(), h.socket.conn.port))
}

// SetDeadline implements net.Conn.
func (h *handshake) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (h *handshake) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (h *handshake) SetWriteDeadline(time.Time) error { return nil }
