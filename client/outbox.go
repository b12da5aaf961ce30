package client

import (
	"context"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Bounds of what waits to be written, in bytes.
const (
	// outRoomBytes is from where on publishers wait.
	outRoomBytes = 256 << 10
	// outBytesMax is from where on we hang up: only a server that sends and does
	// not read gets there, with acknowledgements that nobody can hold back.
	outBytesMax = 1 << 20
	// writeChunkBytes is what one write deadline is for.
	writeChunkBytes = 64 << 10
)

// outbox is what the writing goroutine will write next. Everybody appends whole
// packets; what waits together leaves together.
type outbox struct {
	wake    chan struct{} // holds one entry when there is something to do
	flushed chan struct{} // closed when nothing more will be written: all was, or it failed

	mu       sync.Mutex // guards the fields below
	buf      []byte
	spare    []byte        // the buffer that was written last
	room     chan struct{} // closed, and made anew, when buf was taken
	finished bool          // DISCONNECT is queued: nothing may follow it [MQTT-3.14.4-1]
}

func (o *outbox) init() {
	o.wake, o.flushed, o.room = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// put appends a packet that may wait, and waits while there is no room. It
// answers false when the connection or ctx ended first.
func (o *outbox) put(ctx context.Context, done <-chan struct{}, packet []byte) bool {
	for {
		o.mu.Lock()
		if o.finished {
			o.mu.Unlock()
			return false
		}
		if len(o.buf) < outRoomBytes {
			o.buf = append(o.buf, packet...)
			o.mu.Unlock()
			o.signal()
			return true
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-done:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// control appends a packet that must not wait, by calling encode with the
// buffer. It answers false when the server has stopped reading.
func (o *outbox) control(encode func(dst []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.finished {
		return true // we said DISCONNECT; the server no longer expects it
	}
	if len(o.buf) > outBytesMax {
		return false
	}
	o.buf = encode(o.buf)
	o.signal()
	return true
}

// finish queues the last packet.
func (o *outbox) finish(packet []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.finished {
		o.buf = append(o.buf, packet...)
		o.finished = true
	}
	o.signal()
}

// take hands over what waits; last means that nothing will follow.
func (o *outbox) take() (buf []byte, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) == 0 {
		return nil, o.finished
	}
	buf = o.buf
	o.buf, o.spare = o.spare[:0], nil
	close(o.room)
	o.room = make(chan struct{})
	return buf, o.finished
}

// giveBack returns a buffer that was written, unless one message made it large.
func (o *outbox) giveBack(buf []byte) {
	if cap(buf) > 2*outRoomBytes {
		return
	}
	o.mu.Lock()
	o.spare = buf
	o.mu.Unlock()
}

// writeLoop is the goroutine that writes. It also keeps the connection alive: it
// knows when something was last written, and PINGREQ is only needed if that is
// long ago [MQTT-3.1.2-20].
func (c *Client) writeLoop() {
	defer c.wg.Done()
	var tick <-chan time.Time
	every := c.keepAlive() / 4
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	lastWrite, pingAt := c.opt.Clock.Now(), time.Time{}
	for {
		select {
		case <-c.done:
			return
		case <-tick:
			if now := c.opt.Clock.Now(); !c.alive(now, lastWrite, &pingAt) {
				return
			}
		case <-c.out.wake:
		}
		buf, last := c.out.take()
		if len(buf) > 0 {
			if err := c.writeAll(buf); err != nil {
				c.writeFailed(err)
				return
			}
			lastWrite = c.opt.Clock.Now()
			c.out.giveBack(buf)
		}
		if last {
			c.closeWrite()
			close(c.out.flushed)
			return
		}
	}
}

// writeAll writes buf in pieces, each with a deadline of its own.
func (c *Client) writeAll(buf []byte) error {
	limit := c.keepAlive()
	for len(buf) > 0 {
		n := min(len(buf), writeChunkBytes)
		if limit > 0 {
			if err := c.conn.SetWriteDeadline(c.opt.Clock.Now().Add(limit)); err != nil {
				return err
			}
		}
		if _, err := c.conn.Write(buf[:n]); err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// lastWordsMax is how long a failed write waits for the reading side to find out
// why: a server that hangs up has often said so, in a packet we have yet to read.
const lastWordsMax = time.Second

func (c *Client) writeFailed(err error) {
	close(c.out.flushed)
	timer := time.NewTimer(lastWordsMax)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	}
	c.fail(c.ended(err))
}

// closeWrite tells the server that nothing will follow, and leaves our reading
// side open for its last words.
func (c *Client) closeWrite() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the reading goroutine learns of the end either way
	}
}

// keepAlive is the interval both sides agreed on; 0 means none.
func (c *Client) keepAlive() time.Duration {
	seconds := c.opt.Connect.KeepAlive
	if c.connack.ServerKeepAlive != nil { // [MQTT-3.2.2-21]
		seconds = *c.connack.ServerKeepAlive
	}
	return time.Duration(seconds) * time.Second
}

// alive sends PINGREQ when three quarters of the interval passed without a
// packet, in either direction, and gives the server one interval to answer. It
// answers false when the server did not.
func (c *Client) alive(now, lastWrite time.Time, pingAt *time.Time) bool {
	interval := c.keepAlive()
	lastRead := c.began.Add(time.Duration(c.lastRead.Load()))
	if c.pinged.Load() {
		// While our own inbox is full we do not read, and that is not the server's
		// silence.
		if c.in.stalled() {
			*pingAt = now
		}
		if now.Sub(*pingAt) >= interval && now.Sub(lastRead) >= interval {
			c.fail(&Error{
				Kind: KindClosed,
				What: "the server has not answered for " + interval.String() + ": the connection is dead",
				Help: []string{"the network in between lost it, or the server stands still"},
			})
			return false
		}
		return true
	}
	if due := interval - interval/4; now.Sub(lastWrite) >= due || now.Sub(lastRead) >= due {
		*pingAt = now
		c.pinged.Store(true)
		c.tracef("sending PINGREQ")
		if !c.out.control(mqtt.AppendPingreq) {
			c.fail(errFlooded)
			return false
		}
	}
	return true
}

// errFlooded is the end of a connection whose other side sends and does not read.
var errFlooded error = &Error{Kind: KindProtocol, What: "the server sends and does not read: more than 1 MiB of acknowledgements wait for it"}
