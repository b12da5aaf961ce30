package listener

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
)

// QUIC is the protocol of listeners whose sockets are Datagrams.
const QUIC = "quic"

// Datagrams is a UDP socket on which connections of QUIC come, in the shape of other
// listening sockets. It carries the connections, too: once somebody serves it, Close takes
// no more of them, and whoever serves it closes the socket after the last. Until then
// nobody else can have the address, and Reserve has it for the listener again.
type Datagrams struct {
	net.PacketConn
	buffer int // bytes that the kernel keeps; 0: it does not tell

	mu      sync.Mutex // guards everything below
	carrier Carrier    // nil: nobody serves it
	closed  bool
}

// Carrier is who serves a socket of QUIC, and closes it when it is shut, not held, and the
// last connection has gone.
type Carrier interface {
	// Hold keeps a socket that is shut, until Open or Shut. ok is false if it is closed.
	Hold() (ok bool)
	// Open takes connections again.
	Open()
	// Shut refuses new ones. Where there is none that goes on, the socket is closed when it returns.
	Shut()
	// Carries tells whether the socket is open.
	Carries() bool
}

// NewDatagrams is for a socket that is open.
func NewDatagrams(s net.PacketConn) *Datagrams { return &Datagrams{PacketConn: s} }

// listen opens a listening socket of l's kind and answers its backlog, if it is known.
func (l *Listener) listen(address string) (s net.Listener, granted int, err error) {
	switch l.Protocol {
	case QUIC:
		if d := l.again(address); d != nil {
			return d, backlogUnknown, nil
		}
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

// Serve says that the socket is somebody's, who closes it. ok is false if it has been closed.
func (d *Datagrams) Serve(c Carrier) (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.carrier = c
	return !d.closed
}

// Resume has whoever serves it already take connections again, unless it was closed
// meanwhile. It is false if nobody does.
func (d *Datagrams) Resume() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.carrier != nil && !d.closed {
		d.carrier.Open()
	}
	return d.carrier != nil
}

// Reserve has a socket again that was closed and still carries connections: whoever serves
// it takes no new ones before it is told to. ok is false if it is gone, and the address free.
func (d *Datagrams) Reserve() (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed || d.carrier == nil || !d.carrier.Hold() {
		return false
	}
	d.closed = false
	return true
}

// drains tells whether the socket was closed and still carries connections.
func (d *Datagrams) drains() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed && d.carrier != nil && d.carrier.Carries()
}

// Close implements net.Listener.
func (d *Datagrams) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return net.ErrClosed
	case d.carrier != nil:
		d.closed = true
		d.carrier.Shut()
		return nil
	}
	d.closed = true
	return d.PacketConn.Close()
}

// draining is a socket that takes nobody any more and carries connections still.
type draining struct {
	bound  string // the address as Move was given it
	socket *Datagrams
}

// again is the socket at an address that still carries connections; nil: there is none.
func (l *Listener) again(address string) *Datagrams {
	for _, d := range l.drains {
		if d.bound == address && d.socket.Reserve() {
			return d.socket
		}
	}
	return nil
}

// drain remembers a socket that Commit has closed.
func (l *Listener) drain(bound string, s net.Listener) {
	l.drains = slices.DeleteFunc(l.drains, func(d draining) bool { return d.socket == s || !d.socket.drains() })
	if d, ok := s.(*Datagrams); ok && d.drains() {
		l.drains = append(l.drains, draining{bound, d})
	}
}

// Draining are the addresses of sockets that take nobody any more, and carry connections of
// QUIC that came in there.
func (l *Listener) Draining() (addresses []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.drains {
		if d.socket.drains() {
			addresses = append(addresses, d.socket.Addr().String())
		}
	}
	return addresses
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
