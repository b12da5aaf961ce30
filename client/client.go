// Package client is an MQTT client for 3.1, 3.1.1 and 5.0 over TLS or TCP: what
// `redoubt pub` and `redoubt sub` stand on, and what tests and the bench can
// drive. When something fails it says in words which check failed, on what, and
// what to do about it; see Error.
//
// It does not reconnect, it keeps nothing on disk, and it has no callbacks: a
// Client is one network connection, and when that ends the Client has ended. The
// flags and the output of the commands are package cli's.
//
// Every Client has two goroutines, one that reads and one that writes and keeps
// alive. Both end when the connection does, and Close and Disconnect wait for
// them.
//
// Rules: MQTT 5.0 and 3.1.1, chapters 3 and 4, in the role of the client. One
// departure [MQTT-3.2.2-4]: a session that the server still has is taken up
// although nothing of it is known here, because a command has no memory from one
// run to the next.
package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Client is one connection to a server. Its methods may be called from several
// goroutines.
//
// Lock order: inbox.mu before outbox.mu. Client.mu is taken alone.
type Client struct {
	// Set by Dial, then never changed.
	opt     Options
	conn    net.Conn
	tls     *tlsSetup // nil without TLS
	version mqtt.Version
	connack mqtt.Connack
	id      string
	began   time.Time     // origin of lastRead
	slots   chan struct{} // one entry per QoS 1 or 2 message under way
	done    chan struct{} // closed when the connection has ended, after err is set
	wg      sync.WaitGroup

	out outbox
	in  inbox

	lastRead atomic.Int64 // time since began at which bytes last came
	pinged   atomic.Bool  // a PINGREQ waits for its PINGRESP
	flooded  atomic.Bool  // the server did not read our acknowledgements

	mu      sync.Mutex          // guards the fields below
	pending map[uint16]*Pending // by packet identifier; at most one per slot, and the SUBSCRIBEs
	lastID  uint16
	leaving bool  // Disconnect was called: the server's closing is what we want
	err     error // why the connection ended; nil until then
}

// Connack is what the server answered: its limits, and the session it found.
func (c *Client) Connack() mqtt.Connack { return c.connack }

// ClientID is ours, or the one the server assigned.
func (c *Client) ClientID() string { return c.id }

// Done is closed when the connection has ended. Err tells why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the connection ended, always an *Error, and nil while it has not.
// After Close, and after a Disconnect to which the server had nothing to add, it
// is of KindClosed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection; the first cause counts. It does not wait for the
// goroutines, because they call it.
func (c *Client) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	pending := c.pending
	c.pending = nil
	close(c.done)
	c.mu.Unlock()
	_ = c.conn.Close() // wakes the goroutines; there is nothing left to lose
	for _, p := range pending {
		p.finish(c.unfinished(p, cause))
	}
}

// Close ends the connection at once, without DISCONNECT: the server publishes the
// will. It waits for the goroutines.
func (c *Client) Close() {
	c.fail(&Error{Kind: KindClosed, What: "closed by the caller"})
	c.wg.Wait()
}

// farewellMax is how long Disconnect waits for the server to close after
// DISCONNECT; what it still had to say is lost after that.
const farewellMax = 2 * time.Second

// Disconnect sends what is queued and DISCONNECT, waits until the server has
// closed the connection, and answers what it said against us meanwhile, if
// anything: a message of QoS 0 has no other way to be refused. In 5.0 d may carry
// a Session Expiry Interval and user properties.
func (c *Client) Disconnect(ctx context.Context, d mqtt.Disconnect) error {
	c.mu.Lock()
	ended, twice := c.err, c.leaving
	c.leaving = true
	c.mu.Unlock()
	if ended != nil || twice {
		return c.departed()
	}
	c.tracef("sending DISCONNECT")
	c.out.finish(d.Append(nil, c.version, c.connack.MaximumPacketSize))
	c.in.discard()
	timer := time.NewTimer(farewellMax)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	c.fail(errLeft)
	return c.departed()
}

// departed waits for the end and answers why it came, nil if it was our wish.
func (c *Client) departed() error {
	<-c.done
	c.wg.Wait()
	if err := c.Err(); err != errLeft {
		return err
	}
	return nil
}

// errLeft is the end we asked for.
var errLeft error = &Error{Kind: KindClosed, What: "disconnected"}

// tracef tells Trace, if there is one.
func (c *Client) tracef(format string, args ...any) {
	if c.opt.Trace != nil {
		c.opt.Trace(fmt.Sprintf(format, args...))
	}
}

func (c *Client) traceAck(verb string, a *mqtt.Ack) {
	c.tracef("%s %s id=%d reason=%s", verb, a.Type, a.PacketID, a.Reason)
}
