package conn

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// epoller is one loop's epoll. What the kernel hands back names a slot and a
// generation, never a descriptor or a pointer: a descriptor that was closed and
// opened again in the same batch of events must not be taken for the old one.
type epoller struct {
	engine *Epoll
	loop   *Loop
	epfd   int
	bell   int // eventfd
	own    shaker

	events [256]unix.EpollEvent
	n      int // of them found by the last wait
	waiting
	in       []byte
	plain    []byte
	rests    []*rest // to lend
	entries  []*entrance
	closed   bool // takes no more connections
	deaf     bool // some entrances are not waited for until the next sweep, as when descriptors are out
	lingers  map[int32]*linger
	lingered shrink.Most // of lingers
	swept    time.Time

	unnamed     map[int32]*unnamed // connections of proxies before their header, by descriptor
	unnamedMost shrink.Most
}

// waiting is whose events wait for others of the same turn, by their place in events.
type waiting struct {
	bulky []int // those who have more to say than a turn allows
	later []int // those who are not in
	first int   // of those, who is looked at first
}

// Generations that are no connection's.
const (
	genBell     = 1<<32 - 1
	genEntrance = 1<<32 - 2 // slot: index of entries
	genLinger   = 1<<32 - 3 // slot: descriptor
	genUnnamed  = 1<<32 - 4 // slot: descriptor
)

func newEpoller(e *Epoll, l *Loop) (*epoller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &epoller{engine: e, loop: l, epfd: epfd, bell: bell, in: make([]byte, readMax), plain: make([]byte, readMax), lingers: map[int32]*linger{}}
	p.own.engine, p.own.loop = e, l
	if err := p.add(bell, 0, genBell, unix.EPOLLIN); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return p, nil
}

func (p *epoller) add(fd int, slot, gen uint32, mask uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, slot, gen, mask)
}

func (p *epoller) control(op, fd int, slot, gen uint32, mask uint32) error {
	return unix.EpollCtl(p.epfd, op, fd, &unix.EpollEvent{Events: mask, Fd: int32(slot), Pad: int32(gen)})
}

func (p *epoller) wait(d time.Duration) {
	if len(p.lingers) > 0 || len(p.unnamed) > 0 || p.deaf {
		d = min(d, lingerSweep)
	}
	if !p.own.resting.IsZero() && d > 0 && !p.own.idle() {
		d = min(d, max(0, p.own.resting.Sub(p.engine.server.clock.Now())))
	}
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	n, err := unix.EpollWait(p.epfd, p.events[:], ms)
	if err != nil { // EINTR; anything else shows itself by nothing coming
		n = 0
	}
	p.n = n
}

func (p *epoller) wake() { ring(p.bell) }

// ring wakes who waits for an eventfd.
func ring(bell int) {
	one := [8]byte{7: 1}
	_, _ = unix.Write(bell, one[:]) // EAGAIN: it is rung already
}

func (p *epoller) busy() bool { return len(p.lingers) > 0 }

func (p *epoller) abandon() {
	for fd, g := range p.lingers {
		p.finish(fd, g)
	}
}

func (p *epoller) close() {
	_ = unix.Close(p.bell)
	_ = unix.Close(p.epfd)
}

// dispatch hands what the last wait found to whom it is about.
func (p *epoller) dispatch() {
	for i := range p.n {
		ev := &p.events[i]
		slot, gen := uint32(ev.Fd), uint32(ev.Pad)
		switch gen {
		case genBell:
			var b [8]byte
			_, _ = unix.Read(p.bell, b[:])
		case genEntrance:
			p.later = append(p.later, i)
		case genLinger:
			if g := p.lingers[int32(slot)]; g != nil {
				p.loop.rescue(func() { p.drain(int32(slot), g) }, func() { p.finish(int32(slot), g) })
			}
		case genUnnamed:
			if u := p.unnamed[int32(slot)]; u != nil {
				p.loop.rescue(func() { p.header(int32(slot), u, ev.Events) }, func() { p.dropUnnamed(int32(slot), u) })
			}
		default:
			switch c := p.loop.at(broker.ConnRef{Slot: slot, Gen: gen}); {
			case c == nil:
			case c.stranger() && c.sock.(*fdSocket).armed != 0: // else it is told once
				p.later = append(p.later, i)
			case c.bulky() && p.loop.accompanied():
				p.bulky = append(p.bulky, i)
			default:
				p.loop.guard(c, func() { c.sock.(*fdSocket).event(ev.Events) })
			}
		}
	}
	p.n = 0
	p.dispatchBulky()
	if now := p.loop.now; now.Sub(p.swept) >= lingerSweep {
		p.swept = now
		p.loop.guard(nil, func() { p.sweep(now) })
		p.loop.guard(nil, func() { p.sweepUnnamed(now) })
	}
}

// dispatchBulky is the turn of those who have more to say than a turn allows, when what the others have said is on its way: to
// read what they send takes as long as many others do.
func (p *epoller) dispatchBulky() {
	if len(p.bulky) == 0 {
		return
	}
	p.loop.answer()
	for _, i := range p.bulky {
		ev := &p.events[i]
		if c := p.loop.at(broker.ConnRef{Slot: uint32(ev.Fd), Gen: uint32(ev.Pad)}); c != nil {
			p.loop.guard(c, func() { c.sock.(*fdSocket).event(ev.Events) })
		}
	}
	p.bulky = p.bulky[:0]
}

// strangers looks at those who are not in.
func (p *epoller) strangers() {
	p.lookAtLater()
	p.shake()
}

// lookAtLater does so in turns: whoever is left is found again by the next wait, as what
// is waited for is told for as long as it is so, and in the same order.
func (p *epoller) lookAtLater() {
	all := len(p.later)
	for n := range all {
		at := (p.first + n) % all
		if n > 0 && !p.loop.strangersMay() {
			p.first, p.later = at, p.later[:0]
			return
		}
		ev := &p.events[p.later[at]]
		slot, gen := uint32(ev.Fd), uint32(ev.Pad)
		if gen == genEntrance {
			if in := p.entries[slot]; in != nil { // else it has left in this batch
				p.loop.guard(nil, func() { p.accept(in) })
			}
		} else if c := p.loop.at(broker.ConnRef{Slot: slot, Gen: gen}); c != nil {
			p.loop.guard(c, func() { c.sock.(*fdSocket).event(ev.Events) })
		}
	}
	p.first, p.later = 0, p.later[:0]
}

// enter accepts connections on a listening socket from now on. Of all loops that
// wait for it, one is woken.
func (p *epoller) enter(in *entrance) {
	if p.closed {
		return
	}
	i := slices.Index(p.entries, nil)
	if i < 0 {
		i = len(p.entries)
		p.entries = append(p.entries, nil)
	}
	p.entries[i] = in
	if !p.deaf { // else the sweep does
		p.listen(i)
	}
}

// listen waits for connections at an entrance. If the system does not let us, that is tried
// again with the next sweep.
func (p *epoller) listen(i int) {
	if p.entries[i] == nil {
		return
	}
	err := p.add(p.entries[i].fd, uint32(i), genEntrance, unix.EPOLLIN|unix.EPOLLEXCLUSIVE)
	if err != nil && err != unix.EEXIST { // it is waited for already
		p.deaf = true
		p.engine.server.broker.Log().Event(p.loop.now, slog.LevelError, "cannot wait for connections", p.entries[i].listener.Name,
			slog.String("listener", p.entries[i].listener.Name), slog.String("error", err.Error()))
	}
}

// stop takes no more connections.
func (p *epoller) stop() {
	p.closed = true
	for _, in := range p.entries {
		if in != nil {
			_ = p.control(unix.EPOLL_CTL_DEL, in.fd, 0, 0, 0)
		}
	}
	p.stopUnnamed()
}

// acceptsPerTurn bounds what a storm of connections takes of a turn.
const acceptsPerTurn = 16

func (p *epoller) accept(in *entrance) {
	for n := range acceptsPerTurn {
		if n > 0 && !p.loop.strangersMay() {
			return
		}
		fd, sa, err := unix.Accept4(in.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			if in.listener.Proxy.Load() != nil {
				p.admitProxy(in.listener, fd, addrPort(sa))
			} else {
				p.admit(in.listener, fd, addrPort(sa), p.loop.now, nil)
			}
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			// Level-triggered: to leave it armed would only burn the processor that
			// could close some.
			p.loop.count.Inc(metrics.ConnectionsRefusedOpenFiles)
			p.engine.server.broker.Log().Event(p.loop.now, slog.LevelError, "cannot accept connections", in.listener.Name,
				slog.String("listener", in.listener.Name), slog.String("error", err.Error()))
			p.deafen()
			return
		default: // EAGAIN: another loop was first, or all are in
			return
		}
	}
}

// deafen leaves the entrances alone until the next sweep.
func (p *epoller) deafen() {
	p.deaf = true
	for _, in := range p.entries {
		if in != nil {
			_ = p.control(unix.EPOLL_CTL_DEL, in.fd, 0, 0, 0)
		}
	}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// admit lets a client in, or closes fd. v is nil unless a proxy has brought it. A bug ends
// this connection alone.
func (p *epoller) admit(l *listener.Listener, fd int, from netip.AddrPort, accepted time.Time, v *via) {
	var c *Conn
	p.loop.rescue(func() { p.place(&c, l, fd, from, accepted, v) }, func() {
		switch {
		case c == nil:
			_ = unix.Close(fd)
		case c.loop == nil:
			p.engine.server.died()
			hangUp(int32(fd), l, &c.place)
		case c.stage != gone:
			p.loop.endFaulty(c)
		}
	})
}

// place asks the door and gives the connection its place on this loop. What there is to
// close after a bug is in to.
func (p *epoller) place(to **Conn, l *listener.Listener, fd int, from netip.AddrPort, accepted time.Time, v *via) {
	now := p.loop.now
	place, refusal, by := l.Admit(now, from.Addr())
	if refusal != "" {
		_ = unix.Close(fd)
		p.engine.server.keptOut(now, refusal, by, from, l)
		return
	}
	l.Open.Add(1)
	s := &fdSocket{poll: p, fd: int32(fd)}
	c := &Conn{sock: s, place: place, listener: l, port: from.Port()}
	c.with(seldom{via: v})
	p.engine.server.born()
	s.conn = c
	*to = c
	if l.Protocol == listener.Unix {
		p.hail(l, fd)
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	c.pace.until = p.engine.server.instant(l.Door.Deadline(accepted))
	if l.Shakes() {
		c.stage = greeting
	}
	if !p.loop.receive(c) {
		return
	}
	loop, ref := p.loop, c.ref
	c.place.Evictable(func() { loop.evict(ref) })
	s.Join(p.loop)
	if l.Shakes() {
		s.awaitGreeting()
		return
	}
	p.loop.resumeReading(c)
}
