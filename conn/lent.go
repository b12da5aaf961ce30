package conn

import "github.com/redoubtmq/redoubt/mqtt"

// The payload of a large message is written from the memory in which all its subscribers share
// it, where the engine can do that: over TCP and Unix sockets, without TLS and WebSocket, on Linux.

// Less than lentMin bytes are copied behind what else is written. More than lentMax have left the caches of
// the processor when they are written: the system takes as long to copy them from there as a copy and its own
// take together.
const (
	lentMin = 8 << 10
	lentMax = mqtt.RoomMax
)

// lent is bytes of a payload, with a reference to the frame that has them.
type lent struct {
	bytes []byte
	of    *mqtt.Frame
}

// done gives the reference back.
func (p *lent) done() {
	if p.of != nil {
		p.of.Release()
	}
	*p = lent{}
}

// borrower is a socket that writes what is lent to it.
type borrower interface {
	Borrows() bool
	// WriteLent is Write of b and of what is lent behind it, which it gives back.
	WriteLent(b []byte, behind lent) (done bool)
}

// borrower is the socket of c if payloads can be lent to it.
func (c *Conn) borrower() borrower {
	if s, ok := c.sock.(borrower); ok && c.ws() == nil && s.Borrows() {
		return s
	}
	return nil
}
