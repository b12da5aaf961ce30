package listener

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// QUIC is the protocol of listeners whose sockets are Datagrams.
const QUIC = "quic"

// Datagrams is a UDP socket on which connections of QUIC come, in the shape of other
// listening sockets. It carries the connections, too: once somebody serves it, Close takes
// no more of them, and whoever serves it closes the socket after the last.
type Datagrams struct {
	net.PacketConn
	buffer int // bytes that the kernel keeps; 0: it does not tell

	mu     sync.Mutex // guards everything below
	stop   func()     // nil: nobody serves it
	closed bool
}

// NewDatagrams is for a socket that is open.
func NewDatagrams(s net.PacketConn) *Datagrams { return &Datagrams{PacketConn: s} }

// listen opens a listening socket of l's kind and answers its backlog, if it is known.
func (l *Listener) listen(address string) (s net.Listener, granted int, err error) {
	switch l.Protocol {
	case QUIC:
		s, err = listenDatagrams(address)
		return s, backlogUnknown, err
	case Unix:
		s, err = listenUnix(address, l.SocketMode)
		return s, backlogUnknown, err
	}
	return listen(address, ListenBacklog)
}

func listenDatagrams(address string) (net.Listener, error) {
	s, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	return &Datagrams{PacketConn: s, buffer: receiveBuffer(s, DatagramBuffer)}, nil
}

// Accept implements net.Listener: connections are for who serves it.
func (d *Datagrams) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// Addr implements net.Listener.
func (d *Datagrams) Addr() net.Addr { return d.LocalAddr() }

// Serve says that the socket is somebody's, who closes it. stop is called by Close. ok is
// false if it has been closed.
func (d *Datagrams) Serve(stop func()) (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = stop
	return !d.closed
}

// Close implements net.Listener.
func (d *Datagrams) Close() error {
	d.mu.Lock()
	first, stop := !d.closed, d.stop
	d.closed = true
	d.mu.Unlock()
	switch {
	case !first:
		return net.ErrClosed
	case stop != nil:
		stop()
		return nil
	}
	return d.PacketConn.Close()
}

// DatagramBuffer is how many bytes of datagrams the kernel keeps for a socket until
// somebody reads them: what 10,000 clients send in a few milliseconds. It is what
// quic-go asks for, too.
const DatagramBuffer = 7 << 20

// ShortBuffer is what to tell the operator when the kernel keeps less than
// DatagramBuffer for a socket of l; otherwise "".
func (l *Listener) ShortBuffer() string {
	for _, s := range l.Bound() {
		if d, ok := s.(*Datagrams); ok && d.buffer > 0 && d.buffer < DatagramBuffer {
			return fmt.Sprintf("the kernel keeps %d KiB of datagrams for a socket (net.core.rmem_max), where %d KiB were asked for; in a burst what does not fit is lost and sent again. "+
				"Raise it: sysctl -w net.core.rmem_max=%d", d.buffer>>10, DatagramBuffer>>10, DatagramBuffer)
		}
	}
	return ""
}
