package conn

import (
	"net"
	"slices"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
)

// More lets clients in at sockets that l has got since it was served. After an error
// nothing is accepted at any of them; whoever opened them closes them.
func (s *Server) More(l *listener.Listener, sockets []net.Listener) error {
	return s.engineFor(l).More(l, sockets)
}

// Unserve accepts nothing more at these sockets, which the caller closes afterwards. Who has
// come in there stays.
func (s *Server) Unserve(sockets []net.Listener) {
	s.engine.Unserve(slices.DeleteFunc(slices.Clone(sockets), func(l net.Listener) bool {
		_, carries := l.(*listener.Datagrams)
		return carries // nobody waits for these
	}))
}

// Dismiss ends the connections of a listener that is gone for good, with a word where the
// protocol has one. It returns at once; the loops do it beside their work.
func (s *Server) Dismiss(l *listener.Listener) {
	l.Gone.Store(true)
	s.mu.Lock()
	s.listeners = slices.DeleteFunc(slices.Clone(s.listeners), func(o *listener.Listener) bool { return o == l })
	s.mu.Unlock()
	s.Empty(l)
}

// Empty ends the connections that l has now.
func (s *Server) Empty(l *listener.Listener) {
	for _, loop := range s.loops {
		loop.inbox.post(event{kind: evCall, fn: func(loop *Loop) { loop.empty(l, 0) }})
	}
}

// empty goes on with the connections from this slot on.
func (l *Loop) empty(of *listener.Listener, from int) {
	for i := from; i < len(l.conns); i++ {
		if i == from+enforceSome {
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.empty(of, i) }})
			return
		}
		if c := l.conns[i]; c != nil && c.listener == of && c.stage != closing {
			l.guard(c, func() { l.dismiss(c) })
		}
	}
}

// dismiss ends a connection because an operator has ended its listener.
func (l *Loop) dismiss(c *Conn) {
	if c.stage != open {
		l.abort(c, broker.CauseKicked)
		return
	}
	l.home.Kick(l.now, c.session)
}

// More implements Engine.
func (p *Portable) More(l *listener.Listener, sockets []net.Listener) error {
	for _, socket := range sockets {
		p.wait.Add(1)
		go func() {
			defer p.wait.Done()
			p.accept(l, socket)
		}()
	}
	return nil
}

// Unserve implements Engine: the accepting goroutines end with their sockets.
func (p *Portable) Unserve([]net.Listener) {}
