package conn

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// unnamed is a connection of a proxy before its PROXY header: a descriptor, a place, and
// a deadline. The header is looked at where the kernel has it, and taken from there when
// it is whole, so that what is behind it finds everything as if nothing had been before.
type unnamed struct {
	listener *listener.Listener
	place    listener.Admission
	proxy    netip.AddrPort
	accepted time.Time
	until    time.Time
	closed   bool // it is over, or somebody else's
}

// unnamedMask is what is waited for: more bytes, or that no more come. Half a header and
// the end would be readable for ever.
const unnamedMask = unix.EPOLLIN | unix.EPOLLRDHUP

// admitProxy is admit where a proxy speaks first.
func (p *epoller) admitProxy(l *listener.Listener, fd int, proxy netip.AddrPort) {
	var u *unnamed
	p.loop.rescue(func() { p.placeProxy(&u, l, fd, proxy) }, func() {
		if u != nil {
			p.dropUnnamed(int32(fd), u)
			return
		}
		_ = unix.Close(fd)
	})
}

// placeProxy is place for it.
func (p *epoller) placeProxy(to **unnamed, l *listener.Listener, fd int, proxy netip.AddrPort) {
	now, s := p.loop.now, p.engine.server
	place, refusal := l.AdmitProxy(proxy.Addr())
	if refusal != "" {
		_ = unix.Close(fd)
		s.keptOut(now, refusal, "", proxy, l)
		return
	}
	u := &unnamed{listener: l, place: place, proxy: proxy, accepted: now, until: l.ProxyDeadline(now)}
	*to = u
	if err := p.add(fd, uint32(fd), genUnnamed, unnamedMask); err != nil { // out of kernel memory, or of watches
		p.dropUnnamed(int32(fd), u)
		return
	}
	if p.unnamed == nil {
		p.unnamed = map[int32]*unnamed{}
	}
	p.unnamed[int32(fd)] = u
	loop := p.loop
	u.place.Evictable(func() {
		loop.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			if p.unnamed[int32(fd)] == u {
				l.count.Inc(closedBy(broker.CauseEvicted))
				p.dropUnnamed(int32(fd), u)
			}
		}})
	})
}

// header looks at what has come of a header.
func (p *epoller) header(fd int32, u *unnamed, mask uint32) {
	s := p.engine.server
	hungUp := mask&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	n, _, err := unix.Recvfrom(int(fd), p.in[:listener.ProxyHeaderMax], unix.MSG_PEEK)
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
		return
	case err != nil || n <= 0:
		s.misled(p.loop.now, u.proxy, u.listener, errProxyEnd, false)
		p.dropUnnamed(fd, u)
		return
	}
	need, err := listener.ProxySize(p.in[:n])
	switch {
	case err != nil:
	case need > n && hungUp:
		err = errProxyEnd
	case need > n:
		// Half a header is not looked at again and again.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, need)
		return
	default:
		err = p.name(fd, u, need)
	}
	if err != nil {
		s.misled(p.loop.now, u.proxy, u.listener, err, true)
		p.dropUnnamed(fd, u)
	}
}

// name takes the header, which is whole, and lets the client in whom it is about.
func (p *epoller) name(fd int32, u *unnamed, size int) error {
	allowed := u.listener.Proxy.Load()
	n, err := unix.Read(int(fd), p.in[:size])
	if err != nil || n != size || allowed == nil { // it was there a moment ago; or a reload has taken PROXY away
		return errProxyEnd
	}
	client, v, err := introduce(allowed, p.in[:size], u.proxy)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1)
	_ = p.control(unix.EPOLL_CTL_DEL, int(fd), 0, 0, 0)
	u.place.Leave()
	delete(p.unnamed, fd)
	u.closed = true // for us
	p.admit(u.listener, int(fd), client, u.accepted, v)
	return nil
}

// dropUnnamed ends a connection that no client came to have. A second time, after a bug, it
// does nothing: the descriptor may be another's.
func (p *epoller) dropUnnamed(fd int32, u *unnamed) {
	if u.closed {
		return
	}
	u.closed = true
	delete(p.unnamed, fd)
	_ = unix.Close(int(fd))
	u.place.Leave()
}

// sweepUnnamed ends those whose time is over.
func (p *epoller) sweepUnnamed(now time.Time) {
	if len(p.unnamed) == 0 && p.unnamedMost == 0 {
		return
	}
	p.unnamedMost.Note(len(p.unnamed))
	for fd, u := range p.unnamed {
		if !now.Before(u.until) {
			drop := func() { p.dropUnnamed(fd, u) }
			p.loop.rescue(func() { p.engine.server.misled(now, u.proxy, u.listener, errProxyLate, true); drop() }, drop)
		}
	}
	p.unnamed = shrink.Map(p.unnamed, &p.unnamedMost)
}

// stopUnnamed ends all of them: nobody waits for what they would be.
func (p *epoller) stopUnnamed() {
	for fd, u := range p.unnamed {
		p.loop.count.Inc(metrics.ConnectionsRefusedShuttingDown)
		p.dropUnnamed(fd, u)
	}
}
