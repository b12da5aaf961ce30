package conn

import (
	"time"
	"unsafe"

	"github.com/redoubtmq/redoubt/broker"
)

// keeper is a socket that knows how many bytes it keeps.
type keeper interface{ Held() int64 }

// connBytes is a connection itself, with its place in the tables of the loop and of the
// engine; tlsBytes is what crypto/tls keeps of an idle one, as BenchmarkIdleClients
// measures it.
const (
	connBytes = int64(unsafe.Sizeof(Conn{})) + 128
	tlsBytes  = 8 << 10
)

// Holds implements broker.Wire.
func (l *Loop) Holds(ref broker.ConnRef) broker.Holding {
	c := l.at(ref)
	if c == nil {
		return broker.Holding{}
	}
	h := broker.Holding{In: int64(cap(c.half.rest())), Out: c.out.bytes(), Silent: time.Duration(l.moment - c.pace.lastSeen)}
	if c.pace.held { // it could not have been heard
		h.Silent = 0
	}
	if s, ok := c.sock.(keeper); ok {
		h.Out += s.Held()
	}
	return h
}

// held is all that the connection keeps beside its session, without what crypto/tls
// does for a moment.
func (l *Loop) held(c *Conn) int64 {
	h := l.Holds(c.ref)
	bytes := connBytes + h.In + h.Out
	if c.listener.TLS != nil {
		bytes += tlsBytes
	}
	return bytes
}
