package conn

import (
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/listener"
)

// Ready implements Engine: every loop will accept on every socket.
func (e *Epoll) Ready(l *listener.Listener, sockets []net.Listener) (open, drop func(), err error) {
	var ready []*entrance
	drop = func() {
		for _, in := range ready {
			_ = unix.Close(in.fd)
		}
	}
	for _, s := range sockets {
		fd, err := duplicate(s)
		if err != nil {
			drop()
			return nil, nil, fmt.Errorf("listeners.%s: another descriptor for %s: %w%s", l.Name, s.Addr(), err, filesHint(err))
		}
		ready = append(ready, &entrance{listener: l, socket: s, fd: fd})
	}
	if err := e.try(ready); err != nil {
		drop()
		return nil, nil, fmt.Errorf("listeners.%s: the event loops cannot wait for connections: %w", l.Name, err)
	}
	return func() { e.open(ready) }, drop, nil
}

// try has every loop wait for every entrance once, for nothing, and not any more: the system
// may be out of watches (fs.epoll.max_user_watches) or of memory.
func (e *Epoll) try(ready []*entrance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped && len(ready) > 0 {
		return net.ErrClosed
	}
	for _, in := range ready {
		for _, p := range e.pollers {
			if err := p.add(in.fd, 0, genBell, 0); err != nil {
				return err
			}
			_ = p.control(unix.EPOLL_CTL_DEL, in.fd, 0, 0, 0)
		}
	}
	return nil
}

// open has every loop accept.
func (e *Epoll) open(ready []*entrance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		for _, in := range ready {
			_ = unix.Close(in.fd)
		}
		return
	}
	e.listeners = append(e.listeners, ready...)
	for _, in := range ready {
		for _, p := range e.pollers {
			p.loop.inbox.post(event{kind: evCall, fn: func(*Loop) { p.enter(in) }})
		}
	}
}

// Unserve implements Engine. Each loop lets go of a descriptor before the last closes it: it
// must not be another socket's while one still waits for it.
func (e *Epoll) Unserve(sockets []net.Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, in := range e.listeners {
		if !slices.Contains(sockets, in.socket) {
			continue
		}
		left := len(e.pollers)
		for _, p := range e.pollers {
			p.loop.inbox.post(event{kind: evCall, fn: func(*Loop) {
				p.leave(in)
				e.mu.Lock()
				defer e.mu.Unlock()
				if left--; left == 0 {
					_ = unix.Close(in.fd)
					e.listeners = slices.DeleteFunc(e.listeners, func(o *entrance) bool { return o == in })
				}
			}})
		}
	}
}

// leave accepts nothing more on a listening socket. What proxies have begun there goes on.
func (p *epoller) leave(in *entrance) {
	i := slices.Index(p.entries, in)
	if i < 0 {
		return
	}
	_ = p.control(unix.EPOLL_CTL_DEL, in.fd, 0, 0, 0)
	p.entries[i] = nil // and not taken out: the kernel names the others by their places
}
