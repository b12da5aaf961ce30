package bench

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// epoll is the engine for TCP on Linux, and for TLS once hands are shaken: one loop on one thread, sockets that do
// not block, and one write for each connection at the end of a turn, whatever
// was queued during it.
type epoll struct {
	fd      int
	to      unix.Sockaddr
	family  int
	sources int // addresses of loopback to connect from; 0: the system's choice
	opened  int
	tick    func() int64 // before what came is handed on; the time, in nanoseconds
	yielded int64        // when
	exact   bool         // waits shorter than a millisecond are as short as they are to be
	times   *arrivals    // nil: nobody asks when it came
	procs   int          // GOMAXPROCS before us

	lines  []*line // by descriptor
	turned []*line // have something to send
	spare  []*line // the other half of turned
	events [eventsOfWait]unix.EpollEvent
	buf    []byte

	hands *handshakes // nil: plaintext
	plain []byte      // what records hold
}

const (
	// eventsOfWait is how many connections one wait may name: with all of a thousand pairs in one
	// turn, an acknowledgement and the delivery that was sent with it bring one write, and not two.
	eventsOfWait = 4096
	// watched is what epoll tells of each connection, once for each time it comes about, so that none
	// is looked at again that has been read; full is for one that connects, and from the first time
	// on that its socket was full: it may be written to nearly always, and of that nobody wants to hear.
	watched = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	full    = watched | unix.EPOLLOUT
	// yieldEvery is less than the runtime leaves anybody alone for, 10 ms.
	yieldEvery = int64(4 * time.Millisecond)
	// writesOfYield are about as long, and nobody looks at the clock between them.
	writesOfYield = 256
	// readBytes is how much one read may bring: the sockets of a thousand clients share it.
	readBytes = 256 << 10
	// portsOfOne is how many connections to one port come from one address before the next
	// address of loopback takes its turn: the system has 28,000 ports to give.
	portsOfOne = 20000
)

// newFast makes the engine for so many connections. exact is for a run that sends at a rate.
func newFast(ctx context.Context, r *run, connections int, exact bool) (engine, error) {
	c := &r.opt.Client
	addr, err := resolve(ctx, c.Host)
	if err != nil {
		return nil, err
	}
	e := &epoll{tick: r.tick, buf: make([]byte, readBytes), family: unix.AF_INET6}
	if addr.Is4() {
		e.family, e.to = unix.AF_INET, &unix.SockaddrInet4{Port: int(c.Port), Addr: addr.As4()}
		if addr.IsLoopback() && connections > portsOfOne {
			e.sources = connections/portsOfOne + 1
		}
	} else {
		e.to = &unix.SockaddrInet6{Port: int(c.Port), Addr: addr.As16()}
	}
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if err := e.secure(r); err != nil {
			_ = unix.Close(e.fd)
			return nil, err
		}
	}
	// With one processor the runtime looks every 20 us whether somebody else could have it while we
	// are in the kernel, which takes a tenth of it. With another to give away it does not, as long as
	// it sees us yield (yieldEvery).
	if e.procs = runtime.GOMAXPROCS(0); e.procs < 2 {
		runtime.GOMAXPROCS(2)
	}
	if e.exact = exact; exact {
		e.times = newArrivals(r)
		runtime.LockOSThread()
		// Waits of less than 50 us are to be that short.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	return e, nil
}

// resolve is the first address of host.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	as, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range as { // the order of net.Dialer where both are there and one is refused is not worth its cost here
		if a.Unmap().Is4() {
			return a.Unmap(), nil
		}
	}
	return as[0], nil
}

func (e *epoll) name() string { return "epoll" }

func (e *epoll) open(l *line) {
	l.out, l.sent, l.part, l.secured = l.out[:0], 0, nil, nil
	if e.hands != nil {
		l.fd, l.live, l.blocked = -1, true, true
		e.hands.begin(l)
		return
	}
	fd, err := unix.Socket(e.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		l.owner.ended(err)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if e.sources > 0 {
		e.opened++
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		_ = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(e.opened % e.sources >> 8), byte(1 + e.opened%e.sources)}})
	}
	if err = unix.Connect(fd, e.to); err == nil || err == unix.EINPROGRESS {
		err = e.adopt(l, fd, full)
	}
	if err != nil {
		_ = unix.Close(fd)
		l.owner.ended(err)
		return
	}
	l.live, l.blocked, l.full = true, true, true // opened when it can be written to
}

// adopt makes fd that of l, and watches it.
func (e *epoll) adopt(l *line, fd int, events uint32) error {
	for fd >= len(e.lines) {
		e.lines = append(e.lines, nil)
	}
	if err := unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return err
	}
	e.times.watch(fd)
	l.fd, e.lines[fd] = fd, l
	return nil
}

func (e *epoll) queue(l *line) {
	if l.live && !l.queued {
		l.queued = true
		e.turned = append(e.turned, l)
	}
}

func (e *epoll) close(l *line) {
	if !l.live {
		return
	}
	l.live, l.blocked = false, false
	if l.fd < 0 { // its handshake goes on, and is of no use
		return
	}
	if l.secured != nil {
		l.secured.farewell(l.fd)
	}
	e.lines[l.fd] = nil
	_ = unix.Close(l.fd)
}

// fail ends a line and tells its owner.
func (e *epoll) fail(l *line, err error) {
	if l.live {
		e.close(l)
		l.owner.ended(err)
	}
}

func (e *epoll) turn(wait time.Duration) error {
	e.flush()
	n, err := e.wait(wait)
	if err != nil {
		return err
	}
	for i := range n {
		ev := &e.events[i]
		if e.hands != nil && int(ev.Fd) == e.hands.bell {
			e.tick()
			e.arrived()
			continue
		}
		l := e.lines[ev.Fd]
		if l == nil { // closed by what came before it in this turn
			continue
		}
		e.yield(e.tick())
		if ev.Events&unix.EPOLLOUT != 0 && l.blocked {
			e.writable(l)
		}
		if l.live && ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			e.read(l, ev.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
		}
	}
	e.flush()
	return nil
}

// yield lets the runtime see that others may run, though there are none.
func (e *epoll) yield(now int64) {
	if !e.exact && now-e.yielded > yieldEvery {
		e.yielded = now
		runtime.Gosched()
	}
}

// wait fills events. What is shorter than a millisecond is waited for all the same: a message
// that is sent late is a latency that nobody but us has made.
func (e *epoll) wait(d time.Duration) (int, error) {
	if len(e.turned) > 0 {
		d = 0
	}
	if 0 < d && d < time.Millisecond {
		t := unix.NsecToTimespec(int64(d))
		fds := [1]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}
		if k, err := unix.Ppoll(fds[:], &t, nil); k <= 0 {
			return 0, plain(err)
		}
		d = 0
	}
	n, err := unix.EpollWait(e.fd, e.events[:], int(d/time.Millisecond)) // what is left of d is another turn's
	return max(n, 0), plain(err)
}

// plain is err unless it is an interruption, which is none.
func plain(err error) error {
	if err == unix.EINTR {
		return nil
	}
	return err
}

// writable goes on with a line whose socket was full, or was connecting.
func (e *epoll) writable(l *line) {
	if soErr, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || soErr != 0 {
		if err == nil {
			err = unix.Errno(soErr)
		}
		e.fail(l, err)
		return
	}
	l.blocked = false
	if len(l.out) > 0 || l.secured != nil {
		e.write(l)
		return
	}
	if err := e.watch(l, watched); err != nil {
		e.fail(l, err)
		return
	}
	l.full = false
	l.owner.opened()
}

func (e *epoll) watch(l *line, events uint32) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_MOD, l.fd, &unix.EpollEvent{Events: events, Fd: int32(l.fd)})
}

// flush writes what was queued. Owners may queue more meanwhile: that is the next turn's.
func (e *epoll) flush() {
	list := e.turned
	e.turned = e.spare[:0]
	for i, l := range list {
		if l.queued = false; l.live && !l.blocked && len(l.out) > 0 {
			e.write(l)
		}
		if i%writesOfYield == writesOfYield-1 && !e.exact {
			runtime.Gosched()
		}
	}
	e.spare = list[:0]
}

func (e *epoll) write(l *line) {
	out := &l.out
	if s := l.secured; s != nil {
		out = &s.wire.out
		if len(l.out) > 0 {
			if err := s.encrypt(l.out); err != nil {
				e.fail(l, err)
				return
			}
			l.out = l.out[:0]
		}
	}
	for l.sent < len(*out) {
		n, err := unix.Write(l.fd, (*out)[l.sent:])
		switch err {
		case nil:
			l.sent += n
		case unix.EINTR:
		case unix.EAGAIN:
			l.blocked, l.behind = true, len(*out)-l.sent
			if l.full {
				return
			}
			l.full = true
			if err := e.watch(l, full); err != nil {
				e.fail(l, err)
			}
			return
		default:
			e.fail(l, err)
			return
		}
	}
	*out, l.sent, l.behind = (*out)[:0], 0, 0
	l.owner.drained()
}

// read takes what has come. A read that does not fill the buffer has emptied the socket: of what
// comes later, epoll tells. Only the end, which comes with no bytes of its own, needs another one.
func (e *epoll) read(l *line, ended bool) {
	for l.live {
		n, err := e.times.read(l.fd, e.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			e.fail(l, err)
			return
		case n == 0:
			e.fail(l, errClosed)
			return
		}
		if l.secured != nil {
			e.decrypt(l, e.buf[:n])
		} else if err := l.take(e.buf[:n]); err != nil {
			e.fail(l, err)
			return
		}
		if n < len(e.buf) && !ended {
			return
		}
	}
}

func (e *epoll) end() {
	for _, l := range e.lines {
		if l != nil {
			e.close(l)
		}
	}
	if e.hands != nil {
		e.hands.end()
	}
	_ = unix.Close(e.fd)
	if e.exact {
		runtime.UnlockOSThread()
	}
	if e.procs < 2 {
		runtime.GOMAXPROCS(e.procs)
	}
}
