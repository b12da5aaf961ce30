package conn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// handshake is a TLS handshake, a WebSocket upgrade or both on a goroutine of
// their own, begun when a whole ClientHello had come, or a first byte where there
// is no TLS. It computes only while it has a turn, and gives it back whenever it
// waits for the client; the connection's absolute deadline ends it.
type handshake struct {
	computing
	socket *fdSocket
	ready  chan struct{} // the loop saw the descriptor ready
	giveUp chan struct{} // ended of computing
	once   sync.Once
}

// begin starts the handshake. From here on the loop only signals.
func (s *fdSocket) begin() {
	c, e := s.conn, s.poll.engine
	s.inLine = false
	k := new(cover)
	h := &handshake{socket: s, ready: make(chan struct{}, 1), giveUp: make(chan struct{})}
	h.computing = computing{server: e.server, place: c.place, ended: h.giveUp}
	k.shake, s.cover = h, k
	c.stage = shaking
	v := c.more()
	v.trust = c.listener.Clients.Load()
	c.with(v)
	var t *tls.Conn // nil where there is no TLS
	if c.listener.TLS != nil {
		k.wire = tlsWire{before: h, append: func(b []byte) {
			r := s.waiting()
			r.bytes = append(r.bytes, b...)
		}}
		t = tls.Server(&k.wire, c.listener.TLS)
	}
	s.disarm()
	c.place.Busy(true)
	home := s.poll.loop
	e.shakes.Add(1)
	home.shaking++
	go func() {
		defer e.shakes.Done()
		ws, err := survive(e.server, func() (*frames, error) { return h.run(t) })
		home.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			l.shaking--
			k.shake, k.wire.before = nil, nil
			if err == nil {
				k.tls = t
				v := c.more()
				v.ws = ws
				c.with(v)
			}
			if t == nil {
				s.cover = nil
			}
			l.guard(c, func() { s.shaken(err) })
		}})
	}()
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

// run does what comes before the first packet. t is nil where there is no TLS.
func (h *handshake) run(t *tls.Conn) (*frames, error) {
	if !h.take() {
		return nil, errHandshakeTime
	}
	defer h.give()
	w := h.socket.conn.listener.WebSocket
	if t == nil {
		return upgrade(h, w)
	}
	if err := t.HandshakeContext(context.Background()); err != nil || w == nil {
		return nil, err
	}
	return upgrade(t, w)
}

// signal tells that the descriptor is ready. It is called by the loop.
func (h *handshake) signal() {
	select {
	case h.ready <- struct{}{}:
	default:
	}
}

// abort ends the handshake wherever it waits. It is called by the loop.
func (h *handshake) abort() { h.once.Do(func() { close(h.giveUp) }) }

// await lets go of the turn until the descriptor is ready.
func (h *handshake) await(mask uint32) error {
	s := h.socket
	if err := s.poll.control(unix.EPOLL_CTL_MOD, int(s.fd), s.conn.ref.Slot, s.conn.ref.Gen, mask|unix.EPOLLONESHOT); err != nil {
		return err
	}
	h.place.Busy(false)
	h.give()
	select {
	case <-h.ready:
	case <-h.ended:
		return errHandshakeTime
	}
	h.place.Busy(true)
	if !h.take() {
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
