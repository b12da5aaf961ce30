package conn

import (
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/listener"
)

// More implements Engine: every loop accepts on every socket.
func (e *Epoll) More(l *listener.Listener, sockets []net.Listener) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var opened []*entrance
	for _, s := range sockets {
		fd, err := duplicate(s)
		if err != nil {
			for _, in := range opened {
				_ = unix.Close(in.fd)
			}
			return fmt.Errorf("listeners.%s: another descriptor for %s: %w%s", l.Name, s.Addr(), err, filesHint(err))
		}
		opened = append(opened, &entrance{listener: l, socket: s, fd: fd})
	}
	e.listeners = append(e.listeners, opened...)
	for _, in := range opened {
		for _, p := range e.pollers {
			p.loop.inbox.post(event{kind: evCall, fn: func(*Loop) { p.enter(in) }})
		}
	}
	return nil
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
