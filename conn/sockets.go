package conn

import (
	"net"
	"slices"
	"sync/atomic"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
)

// Opening is sockets at which clients can be let in: all that can fail has been done. It is
// opened or taken back, once; whoever opened the sockets closes them.
type Opening struct {
	s          *Server
	l          *listener.Listener
	open, drop func()
}

// Ready prepares to let clients in at sockets of l, which may be served already. After an
// error nothing is accepted at any of them.
func (s *Server) Ready(l *listener.Listener, sockets []net.Listener) (*Opening, error) {
	open, drop, err := s.engineFor(l).Ready(l, sockets)
	if err != nil {
		return nil, err
	}
	return &Opening{s, l, open, drop}, nil
}

// Open lets clients in. From now on Shutdown closes the sockets of the listener.
func (o *Opening) Open() {
	o.s.mu.Lock()
	if !slices.Contains(o.s.listeners, o.l) {
		o.s.listeners = append(o.s.listeners, o.l)
	}
	o.s.mu.Unlock()
	o.open()
}

// Undo takes it back.
func (o *Opening) Undo() { o.drop() }

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

// Empty ends the connections that l has now, a few in each turn of a loop. done is closed
// when every loop has come to its end; one that ends with the server never does.
func (s *Server) Empty(l *listener.Listener) (done <-chan struct{}) {
	all := make(chan struct{})
	left := new(atomic.Int64)
	left.Store(int64(len(s.loops)))
	for _, loop := range s.loops {
		loop.inbox.post(event{kind: evCall, fn: func(loop *Loop) {
			loop.empty(l, 0, func() {
				if left.Add(-1) == 0 {
					close(all)
				}
			})
		}})
	}
	return all
}

// dismissSome is how many connections a loop ends before it does something else: each is a
// packet, perhaps a will and what that brings, and a goodbye of TLS, some 30 us.
const dismissSome = 64

// empty goes on with the connections from this slot on.
func (l *Loop) empty(of *listener.Listener, from int, done func()) {
	ended := 0
	for i := from; i < len(l.conns); i++ {
		if i == from+enforceSome || ended == dismissSome {
			l.inbox.post(event{kind: evCall, fn: func(l *Loop) { l.empty(of, i, done) }})
			return
		}
		if c := l.conns[i]; c != nil && c.listener == of && c.stage != closing {
			l.guard(c, func() { l.dismiss(c) })
			ended++
		}
	}
	done()
}

// dismiss ends a connection because an operator has ended its listener.
func (l *Loop) dismiss(c *Conn) {
	if c.stage != open {
		l.abort(c, broker.CauseKicked)
		return
	}
	l.home.Kick(l.now, c.session)
}

// Ready implements Engine. Nothing can fail.
func (p *Portable) Ready(l *listener.Listener, sockets []net.Listener) (open, drop func(), err error) {
	return func() {
		for _, socket := range sockets {
			p.wait.Add(1)
			go func() {
				defer p.wait.Done()
				p.accept(l, socket)
			}()
		}
	}, func() {}, nil
}

// Unserve implements Engine: the accepting goroutines end with their sockets.
func (p *Portable) Unserve([]net.Listener) {}
