package conn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
)

// fdSocket is the epoll engine's socket. It belongs to its connection's loop;
// while a handshake runs, the goroutine doing it has the descriptor too, and the
// loop only signals.
type fdSocket struct {
	poll  *epoller
	conn  *Conn
	cover *cover // nil: plaintext, and no handshake runs
	rest  *rest  // what the kernel has not taken; nil while idle

	fd     int32
	armed  uint32 // what epoll waits for
	joined bool
	broken bool
	inLine bool // its handshake is put off
}

// cover is what a socket over TLS has more, and any while its handshake runs.
type cover struct {
	tls    *tls.Conn // nil before the handshake is over
	wire   tlsWire
	shake  *handshake // while one runs
	barren int32      // bytes of ciphertext since the last plaintext
}

// rest is bytes of which the kernel has taken those before from. Its poller lends it for a
// write.
type rest struct {
	bytes []byte
	from  int
	lent  lent // behind them
}

// len is how many bytes the kernel has not taken.
func (r *rest) len() int { return len(r.bytes) + len(r.lent.bytes) - r.from }

// write offers the kernel what it has not taken.
func (r *rest) write(fd int) (int, error) {
	switch within := r.from - len(r.bytes); {
	case len(r.lent.bytes) == 0:
		return unix.Write(fd, r.bytes[r.from:])
	case within >= 0:
		return unix.Write(fd, r.lent.bytes[within:])
	default:
		return unix.Writev(fd, [][]byte{r.bytes[r.from:], r.lent.bytes})
	}
}

// restsMax is how many a poller keeps.
const restsMax = 64

// tls is nil on plaintext and before the handshake.
func (s *fdSocket) tls() *tls.Conn {
	if s.cover == nil {
		return nil
	}
	return s.cover.tls
}

// shake is the handshake that runs; nil: none does.
func (s *fdSocket) shake() *handshake {
	if s.cover == nil {
		return nil
	}
	return s.cover.shake
}

// left is how many bytes the kernel has not taken.
func (s *fdSocket) left() int {
	if s.rest == nil {
		return 0
	}
	return s.rest.len()
}

// waiting is what the kernel has not taken, to be appended to.
func (s *fdSocket) waiting() *rest {
	if s.rest == nil {
		s.keep(getBuffer())
	}
	return s.rest
}

// keep takes over b, which came from getBuffer.
func (s *fdSocket) keep(b []byte) {
	p := s.poll
	if n := len(p.rests); n > 0 {
		s.rest, p.rests[n-1] = p.rests[n-1], nil
		p.rests = p.rests[:n-1]
	} else {
		s.rest = new(rest)
	}
	s.rest.bytes = b
}

// taken lets go of what the kernel has taken, or will never take.
func (s *fdSocket) taken() {
	r, p := s.rest, s.poll
	if r == nil {
		return
	}
	s.rest = nil
	putBuffer(r.bytes)
	r.lent.done()
	*r = rest{}
	if len(p.rests) < restsMax {
		p.rests = append(p.rests, r)
	}
}

// barrenMax is how much ciphertext may come without a byte of plaintext. A
// message of 16 KiB is the longest a record can be; more of it is a handshake
// message that never ends, which would grow inside crypto/tls.
const barrenMax = 20 << 10

// cipherMax is how much ciphertext may wait for the kernel: one write and its
// records' overhead, with room for what crypto/tls answers on its own, such as
// KeyUpdate. A peer that asks for ever more of those and reads none is closed.
const cipherMax = 256 << 10

// Read implements socket: the next readiness is an input.
func (s *fdSocket) Read() { s.arm() }

// Shown implements socket.
func (s *fdSocket) Shown() []*x509.Certificate {
	t := s.tls()
	if t == nil {
		return nil
	}
	return t.ConnectionState().PeerCertificates
}

// Agreed implements socket.
func (s *fdSocket) Agreed() Agreed {
	t := s.tls()
	if t == nil {
		return Agreed{}
	}
	return agreed(t.ConnectionState())
}

// arm brings what epoll waits for in line with what is wanted.
func (s *fdSocket) arm() {
	if !s.joined || s.shake() != nil {
		return
	}
	var want uint32
	if s.inLine {
		return
	}
	if s.conn.pace.reading || s.conn.stage == greeting {
		want |= unix.EPOLLIN
	}
	if s.conn.stage == greeting {
		want |= unix.EPOLLRDHUP // half a ClientHello and the end would be readable for ever
	}
	if s.rest != nil {
		want |= unix.EPOLLOUT
	}
	if want != s.armed {
		s.armed = want
		s.control(unix.EPOLL_CTL_MOD, want)
	}
}

func (s *fdSocket) control(op int, mask uint32) {
	if err := s.poll.control(op, int(s.fd), s.conn.ref.Slot, s.conn.ref.Gen, mask); err != nil && op != unix.EPOLL_CTL_DEL {
		s.fault(err) // out of kernel memory, or of watches
	}
}

// Join implements socket.
func (s *fdSocket) Join(l *Loop) {
	s.poll = l.poll.(*epoller)
	s.joined, s.armed = true, 0
	s.control(unix.EPOLL_CTL_ADD, 0)
	s.arm()
}

// Leave implements socket.
func (s *fdSocket) Leave() {
	s.control(unix.EPOLL_CTL_DEL, 0)
	s.joined = false
}

// event handles what epoll said of this socket.
func (s *fdSocket) event(mask uint32) {
	l, c := s.poll.loop, s.conn
	if h := s.shake(); h != nil {
		h.signal()
		return
	}
	if c.stage == greeting {
		s.hello(mask&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
		return
	}
	if mask&unix.EPOLLOUT != 0 && s.rest != nil && s.push() {
		c.out.writing = false
		l.mark(c)
	}
	switch {
	case c.stage == gone:
	case mask&unix.EPOLLIN != 0 && c.pace.reading:
		s.readable()
	case mask&(unix.EPOLLHUP|unix.EPOLLERR) != 0: // also of a connection that is not read
		l.ended(c, io.EOF)
	}
}

// readable reads once and hands on what came.
func (s *fdSocket) readable() {
	l, c := s.poll.loop, s.conn
	var space []byte
	most := readMax
	if s.tls() == nil && c.ws() == nil {
		if space = l.ahead(c); len(space) > 0 {
			most = len(space) + behind
		}
	}
	n, err := s.read(space)
	if err == unix.EAGAIN || err == unix.EINTR {
		l.narrow(c)
		return
	}
	c.pace.reading = false
	c.came(n, most)
	switch {
	case err != nil:
		l.ended(c, err)
		return
	case n == 0:
		l.ended(c, io.EOF)
		return
	case s.tls() != nil:
		s.decrypt(s.poll.in[:n])
	case len(space) > 0:
		within := min(n, len(space))
		l.direct(c, within, s.poll.in[:n-within])
	default:
		l.input(c, s.poll.in[:n])
	}
	if c.stage != gone {
		l.resumeReading(c)
		s.arm()
	}
}

// read reads once: what does not fit into space goes into the loop's buffer.
func (s *fdSocket) read(space []byte) (int, error) {
	if len(space) == 0 {
		return unix.Read(int(s.fd), s.poll.in)
	}
	return unix.Readv(int(s.fd), [][]byte{space, s.poll.in[:behind]})
}

// decrypt gives ciphertext to crypto/tls and takes the plaintext out of it, until
// it wants more.
func (s *fdSocket) decrypt(raw []byte) {
	l, c, k := s.poll.loop, s.conn, s.cover
	k.wire.in = raw
	k.barren += int32(len(raw)) //nolint:gosec // at most readMax
	for c.stage != gone && c.stage != closing {
		n, err := k.tls.Read(s.poll.plain)
		if n > 0 {
			k.barren = 0
			l.input(c, s.poll.plain[:n])
			continue
		}
		if errors.Is(err, errWouldBlock) {
			break
		}
		k.wire.in = nil
		if !l.endsLater(c, surelyOver) {
			l.ended(c, err)
		}
		return
	}
	k.wire.in = nil
	if c.stage == gone {
		return
	}
	if k.barren > barrenMax {
		l.server.broker.Log().Stranger(l.now, slog.LevelWarn, "TLS records without content, closed", c.place.From(), "", func() []slog.Attr { return l.named(c) })
		l.abort(c, broker.CauseProtocol)
		return
	}
	if s.left() > cipherMax {
		l.abort(c, broker.CauseSlow)
		return
	}
	if s.rest != nil && !c.out.writing { // crypto/tls had something to say, such as a KeyUpdate
		if c.out.writing = !s.push(); c.out.writing {
			l.watch(c)
		}
	}
}

// Write implements socket.
func (s *fdSocket) Write(b []byte) (done bool) {
	t := s.tls()
	if t == nil {
		s.keep(b)
		return s.push()
	}
	_, err := t.Write(b) // appends to what waits
	putBuffer(b)
	if err != nil {
		s.fault(err)
		return true
	}
	return s.push()
}

// Borrows implements borrower.
func (s *fdSocket) Borrows() bool { return s.tls() == nil }

// WriteLent implements borrower.
func (s *fdSocket) WriteLent(b []byte, behind lent) (done bool) {
	s.keep(b)
	s.rest.lent = behind
	return s.push()
}

// push offers the kernel what waits, once.
func (s *fdSocket) push() (done bool) {
	for r := s.rest; r != nil && !s.broken; {
		n, err := r.write(int(s.fd))
		switch err {
		case nil:
			if r.from += n; r.len() > 0 {
				s.arm()
				return false
			}
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			s.arm()
			return false
		default:
			if s.broken = s.hungUp(); !s.broken {
				s.fault(err)
			}
		}
		break
	}
	s.taken()
	s.arm()
	return true
}

// hungUp tells whether the poller is about to say that the peer has gone, after what it had
// sent before: a client may say all it has to say, and go without waiting for the answers.
func (s *fdSocket) hungUp() bool {
	if !s.joined || s.conn.stage != open || !s.conn.pace.reading {
		return false
	}
	fds := [1]unix.PollFd{{Fd: s.fd}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// fault ends the connection with the next turn: its caller may be anywhere.
func (s *fdSocket) fault(err error) {
	if !s.broken {
		s.broken = true
		s.poll.loop.inbox.post(event{kind: evEnded, conn: s.conn, err: err})
	}
}

// Close implements socket.
func (s *fdSocket) Close(politely bool, place listener.Admission) {
	if h := s.shake(); h != nil { // its goroutine has the descriptor; shaken comes back here
		h.abort()
		s.conn.place = place
		return
	}
	l := s.conn.listener
	if s.joined {
		s.Leave()
	}
	politely = politely && !s.broken && s.rest == nil
	if t := s.tls(); politely && t != nil {
		_ = t.CloseWrite() // close_notify, into what waits
		politely = s.push()
	}
	if politely && unix.Shutdown(int(s.fd), unix.SHUT_WR) == nil && s.poll.linger(s.fd, l, place) {
		return
	}
	if s.left() > 0 {
		forsake(s.fd)
	}
	s.taken()
	hangUp(s.fd, l, &place)
}

// forsake makes closing fd a reset: its client does not read, and what the kernel
// still has for it would stay for many minutes.
func forsake(fd int32) {
	_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// hangUp closes the descriptor and gives the place back.
func hangUp(fd int32, l *listener.Listener, place *listener.Admission) {
	_ = unix.Close(int(fd))
	place.Leave()
	l.Open.Add(-1)
}

// Held implements keeper: what the kernel has not taken.
func (s *fdSocket) Held() int64 {
	if s.rest == nil {
		return 0
	}
	return int64(cap(s.rest.bytes)) // and not what is lent: it is others' as well
}
