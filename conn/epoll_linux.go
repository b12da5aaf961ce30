package conn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/cores"
	"github.com/redoubtmq/redoubt/listener"
)

// Epoll is the engine for Linux: each loop owns its sockets from accept on and
// waits for all of them with one level-triggered epoll. An idle connection has
// no goroutine, no timer and no buffer; TLS handshakes are coroutines of a few threads.
type Epoll struct {
	server  *Server
	shakes  sync.WaitGroup // handshakes
	threads sync.WaitGroup // of the shakers

	mu        sync.Mutex // guards everything below
	bells     []int      // eventfds, for as many shakers as there may be
	shakers   []*shaker
	pollers   []*epoller
	listeners []*entrance
	stopped   bool // the loops end, and their pollers with them
}

// entrance is a listening socket as the loops see it.
type entrance struct {
	listener *listener.Listener
	socket   net.Listener
	fd       int // a duplicate of the net.Listener's, so that both can be closed
}

// NewEpoll makes the engine for s.
func NewEpoll(s *Server) Engine {
	return &Epoll{server: s}
}

// Native is the engine for this system.
func Native(s *Server) Engine { return NewEpoll(s) }

// duplicate is a descriptor of its own for a listening socket.
func duplicate(s net.Listener) (int, error) {
	withFile, ok := s.(interface{ File() (*os.File, error) })
	if !ok {
		return 0, errors.New("the listener has no file")
	}
	f, err := withFile.File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // File has made it blocking
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// Stop implements Engine.
func (e *Epoll) Stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	for _, p := range e.pollers {
		p.loop.inbox.post(event{kind: evCall, fn: func(*Loop) { p.stop() }})
	}
}

// Close implements Engine. The loops have ended, and with them their sockets.
func (e *Epoll) Close() {
	e.shakes.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.shakers {
		k.close()
	}
	e.threads.Wait()
	for _, in := range e.listeners {
		_ = unix.Close(in.fd)
	}
	for _, bell := range e.bells {
		_ = unix.Close(bell)
	}
	e.bells = nil
}

// Poller implements Engine.
func (e *Epoll) Poller(l *Loop) (poller, error) {
	p, err := newEpoller(e, l)
	if err == nil {
		err = e.hang(p)
	}
	if err != nil {
		n, bells := len(e.server.loops), cores.Count()
		return nil, fmt.Errorf("the event loops need %d descriptors (%d loops, %d each, and %d for handshakes), and loop %d did not get its own: %w%s",
			n*pollerFiles+bells, n, pollerFiles, bells, l.id+1, err, filesHint(err))
	}
	return p, nil
}

// hang adds the poller of a loop, with the first of them the bells of the shakers: a handshake that begins needs no descriptor that is not there.
func (e *Epoll) hang(p *epoller) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.bells) < cores.Count() {
		bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			p.close()
			return fmt.Errorf("eventfd: %w", err)
		}
		e.bells = append(e.bells, bell)
	}
	e.pollers = append(e.pollers, p)
	return nil
}

// pollerFiles is how many descriptors a loop waits with: epoll and an eventfd.
const pollerFiles = 2

// filesHint is what to do when there are no descriptors left; otherwise nothing.
func filesHint(err error) string {
	var files unix.Rlimit
	if !errors.Is(err, unix.EMFILE) || unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil {
		return ""
	}
	return fmt.Sprintf(". The open file limit is %d and all are in use: raise it (ulimit -n, or LimitNOFILE= in the unit); see P1.1", files.Cur)
}
