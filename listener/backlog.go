package listener

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// ListenBacklog is how many connections may wait in the kernel for each listening
// socket until a loop accepts them, connections. It is room for what arrives while
// a loop is busy for a tenth of a second after a power cut, when 40,000 devices a
// second come back; more would only wait longer. Linux gives no more than
// net.core.somaxconn, which is 4096 since 5.4 (D-06).
//
// The standard library asks for somaxconn too, but where it cannot read
// /proc/sys/net/core/somaxconn, as in some sandboxes, it asks for 128 and says
// nothing. So we ask ourselves, and read back what was granted.
const ListenBacklog = 4096

// backlogUnknown is what is granted where the system does not tell.
const backlogUnknown = -1

// listen opens a listening socket with this backlog and answers what the kernel
// granted. Multipath TCP, which the standard library would offer, is off: nothing
// here was tried with it.
func listen(address string, backlog int) (s net.Listener, granted int, err error) {
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	if s, err = c.Listen(context.Background(), "tcp", address); err != nil {
		return nil, 0, err
	}
	raw, err := s.(*net.TCPListener).SyscallConn()
	if err == nil {
		granted, err = control(raw, backlog)
	}
	if err != nil {
		_ = s.Close()
		return nil, 0, fmt.Errorf("set the listen backlog to %d: %w", backlog, err)
	}
	return s, granted, nil
}

// control asks for the backlog and reads back what was granted.
func control(raw syscall.RawConn, backlog int) (granted int, err error) {
	outer := raw.Control(func(fd uintptr) {
		if err = listenAgain(fd, backlog); err == nil {
			granted, err = backlogOf(fd)
		}
	})
	if outer != nil {
		return 0, outer
	}
	return granted, err
}

// Backlog is the smallest number of connections that the kernel lets wait for one
// of l's sockets; known is false where the system does not tell, or l has no
// socket.
func (l *Listener) Backlog() (connections int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.backlogs {
		if b == backlogUnknown {
			return 0, false
		}
		if !known || b < connections {
			connections, known = b, true
		}
	}
	return connections, known
}

// ShortBacklog is what to tell the operator when the kernel granted less than was
// asked for, with the sum and the remedy; otherwise "".
func (l *Listener) ShortBacklog() string {
	granted, known := l.Backlog()
	if !known || granted >= ListenBacklog {
		return ""
	}
	return fmt.Sprintf("the kernel lets %d connections wait for accept: the smaller of the %d asked for and net.core.somaxconn (%s). "+
		"When many devices come back at once, those beyond it are dropped and try again after a second. Raise it: sysctl -w net.core.somaxconn=%d, in a container for its own network namespace",
		granted, ListenBacklog, somaxconn(), ListenBacklog)
}
