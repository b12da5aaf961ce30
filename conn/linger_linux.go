package conn

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/shrink"
	"github.com/redoubtmq/redoubt/listener"
)

// linger is a socket whose connection has ended politely: our half is shut, and
// what the client still sends is read and forgotten for a moment, because
// closing with unread bytes would reset the connection and take the DISCONNECT
// back out of the client's hands.
type linger struct {
	listener *listener.Listener
	place    listener.Admission
	until    time.Time
	left     int // bytes it may still send
}

const (
	lingersMax  = 1024 // more are closed at once: politeness has a limit
	lingerSweep = 250 * time.Millisecond
)

// linger takes fd over, or answers false.
func (p *epoller) linger(fd int32, l *listener.Listener, place listener.Admission) bool {
	if len(p.lingers) >= lingersMax || p.add(int(fd), uint32(fd), genLinger, unix.EPOLLIN) != nil {
		return false
	}
	p.lingers[fd] = &linger{listener: l, place: place, until: p.loop.now.Add(goodbyeMax), left: drainMax}
	return true
}

// drain forgets what a lingering client sent.
func (p *epoller) drain(fd int32, g *linger) {
	n, err := unix.Read(int(fd), p.in)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if g.left -= max(n, 0); err != nil || n == 0 || g.left <= 0 {
		p.finish(fd, g)
	}
}

// sweep ends lingering whose moment is over, and listens again after a pause.
func (p *epoller) sweep(now time.Time) {
	p.lingered.Note(len(p.lingers))
	for fd, g := range p.lingers {
		if !now.Before(g.until) {
			if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && n > 0 {
				forsake(fd) // it was told and does not read
			}
			p.loop.guard(nil, func() { p.finish(fd, g) })
		}
	}
	p.lingers = shrink.Map(p.lingers, &p.lingered)
	if p.deaf && !p.closed {
		p.deaf = false // listen may say otherwise
		for i := range p.entries {
			p.listen(i)
		}
	}
}

// finish closes fd. A second time, after a bug, it does nothing: the descriptor may be
// another's.
func (p *epoller) finish(fd int32, g *linger) {
	if p.lingers[fd] != g {
		return
	}
	delete(p.lingers, fd)
	hangUp(fd, g.listener, &g.place)
}
