package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wire is what crypto/tls has for a network connection: the dialer's while the
// handshake runs, which may wait; and from then on what the event loop has read,
// and room for what it is to write.
type wire struct {
	net.Conn
	taken   bool // by the loop
	in, out []byte
}

// wired is a dialer whose connections a loop can take.
func wired(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &wire{Conn: c}, nil
	}
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if !w.taken {
		return w.Conn.Read(b)
	}
	if len(w.in) == 0 {
		return 0, errNothingYet
	}
	n := copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	if !w.taken {
		return w.Conn.Write(b)
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// errNothingYet is kept by crypto/tls for no longer than the call it is for, because it says that it
// is temporary. Package conn does the same, and its tests pin it.
var errNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

// secured is the TLS of a line. It is never used for a second connection.
type secured struct {
	tls  *tls.Conn
	wire *wire
}

// handshakes are connections that come about: a goroutine for each, as long as it takes.
type handshakes struct {
	dial   func(context.Context) (net.Conn, error) // with TLS, through wired
	limit  time.Duration
	bell   int // eventfd, which the loop waits for
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex // guards all below
	done []shaken
}

// shaken is a handshake that has ended.
type shaken struct {
	l   *line
	s   *secured
	fd  int
	err error
}

func newHandshakes(dial func(context.Context) (net.Conn, error), limit time.Duration) (*handshakes, error) {
	h := &handshakes{dial: dial, limit: limit}
	var err error
	if h.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

func (h *handshakes) begin(l *line) {
	s := new(secured)
	l.secured = s
	h.wg.Go(func() {
		d := shaken{l: l, s: s}
		d.fd, d.err = h.shake(s)
		h.mu.Lock()
		h.done = append(h.done, d)
		h.mu.Unlock()
		one := [8]byte{7: 1}
		_, _ = unix.Write(h.bell, one[:]) // EAGAIN: it is rung already
	})
}

// shake makes a connection and takes its descriptor from the runtime.
func (h *handshakes) shake(s *secured) (fd int, err error) {
	ctx, cancel := context.WithTimeout(h.ctx, h.limit)
	defer cancel()
	c, err := h.dial(ctx)
	if err != nil {
		return -1, err
	}
	s.tls = c.(*tls.Conn)
	s.wire = s.tls.NetConn().(*wire)
	defer s.wire.Conn.Close() // what the loop has is a descriptor of its own
	raw, err := s.wire.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	wrong := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(wrong, err)
}

// take is what has ended since the last time.
func (h *handshakes) take() []shaken {
	var b [8]byte
	_, _ = unix.Read(h.bell, b[:])
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.done
	h.done = nil
	return list
}

// end waits for those under way, and closes what nobody has taken.
func (h *handshakes) end() {
	h.cancel()
	h.wg.Wait()
	for _, d := range h.take() {
		if d.fd >= 0 {
			_ = unix.Close(d.fd)
		}
	}
	_ = unix.Close(h.bell)
}

// secure prepares e for TLS.
func (e *epoll) secure(r *run) (err error) {
	e.plain = make([]byte, plainBytes)
	if e.hands, err = newHandshakes(r.opener.Open, r.opt.Client.ConnectTimeout); err != nil {
		return err
	}
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, e.hands.bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(e.hands.bell)})
}

// plainBytes is room for some records, which have up to 16 KiB.
const plainBytes = 64 << 10

// arrived puts connections whose handshakes have ended into the loop.
func (e *epoll) arrived() {
	for _, d := range e.hands.take() {
		l := d.l
		switch {
		case !l.live || l.secured != d.s: // closed meanwhile
			if d.fd >= 0 {
				_ = unix.Close(d.fd)
			}
			continue
		case d.err != nil:
			if d.fd >= 0 {
				_ = unix.Close(d.fd)
			}
			e.fail(l, d.err)
			continue
		}
		d.s.wire.taken = true
		if err := e.adopt(l, d.fd, watched); err != nil {
			_ = unix.Close(d.fd)
			e.fail(l, err)
			continue
		}
		l.blocked, l.full = false, false
		l.owner.opened()
		if l.live {
			e.decrypt(l, nil) // what came with the end of the handshake
		}
	}
}

// decrypt gives what was read to crypto/tls, and all that comes of it to the owner at once.
func (e *epoll) decrypt(l *line, b []byte) {
	w := l.secured.wire
	w.in = b
	for n := 0; l.live; {
		k, err := l.secured.tls.Read(e.plain[n:])
		n += k
		if err == nil && n < len(e.plain) {
			continue
		}
		if n > 0 {
			if wrong := l.take(e.plain[:n]); wrong != nil {
				e.fail(l, wrong)
				return
			}
			n = 0
		}
		switch {
		case err == nil:
		case errors.Is(err, errNothingYet):
			if len(w.out) > 0 && !l.blocked && l.live { // crypto/tls answers a KeyUpdate
				e.write(l)
			}
			return
		case errors.Is(err, io.EOF):
			e.fail(l, errClosed)
		default:
			e.fail(l, err)
		}
	}
}

// encrypt makes records of what is in out.
func (s *secured) encrypt(out []byte) error {
	_, err := s.tls.Write(out)
	return err
}

// farewell tells the broker that nothing more comes, if there is room for it.
func (s *secured) farewell(fd int) {
	s.wire.out = s.wire.out[:0]
	_ = s.tls.CloseWrite()
	_, _ = unix.Write(fd, s.wire.out)
}
