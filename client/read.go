package client

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// packetLimits is what one packet from a server may make us keep besides its
// bytes; the size of a packet is limited already.
var packetLimits = mqtt.Limits{UserProperties: 1000}

// readBufferBytes is the buffer a connection begins with, and goes back to.
const readBufferBytes = 16 << 10

// reader takes packets off a connection.
type reader struct {
	conn    net.Conn
	version mqtt.Version
	limit   int    // the largest packet, in bytes
	buf     []byte // received
	taken   int    // bytes at the front of buf that packets already handed out occupied
}

// rest is what was received and not yet handed out.
func (r *reader) rest() []byte { return r.buf[r.taken:] }

// packet reads the next packet. Its body is valid until the next call. Memory
// grows with what arrived, never with what a header announces.
func (r *reader) packet() (mqtt.Header, []byte, error) {
	for {
		b := r.rest()
		h, ok, err := mqtt.ReadHeader(b, r.version)
		if err != nil {
			return h, nil, err
		}
		if ok {
			size := h.Size + h.Remaining
			if size > r.limit {
				return h, nil, &mqtt.Error{
					Reason: mqtt.PacketTooLarge,
					Detail: fmt.Sprintf("%s of %d bytes, over the %d we accept", h.Type, size, r.limit),
				}
			}
			if len(b) >= size {
				r.taken += size
				return h, b[h.Size:size], nil
			}
		}
		if err := r.more(); err != nil {
			return h, nil, err
		}
	}
}

// more reads once. What is left of an incomplete packet moves to the front, and
// the buffer doubles when it is full of one.
func (r *reader) more() error {
	left := r.rest()
	switch {
	case cap(r.buf) == 0 || len(left) == 0 && cap(r.buf) > 4*readBufferBytes:
		r.buf = append(make([]byte, 0, readBufferBytes), left...)
	case len(left) == cap(r.buf):
		r.buf = append(make([]byte, 0, 2*cap(r.buf)), left...)
	case r.taken > 0:
		r.buf = append(r.buf[:0], left...)
	}
	r.taken = 0
	n, err := r.conn.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil // the error, if any, comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// readLoop is the goroutine that reads. It ends when the connection does.
func (c *Client) readLoop(r *reader) {
	defer c.wg.Done()
	for {
		h, body, err := r.packet()
		if err == nil {
			c.lastRead.Store(int64(c.opt.Clock.Now().Sub(c.began)))
			err = c.handle(h, body)
		}
		if err == nil {
			continue
		}
		var said *Error
		switch {
		case errors.As(err, &said): // a DISCONNECT, or the end of this side
			c.fail(said)
		case c.isLeaving() && isEnd(err):
			c.fail(errLeft)
		default:
			c.protest(err)
			c.fail(c.ended(err))
		}
		return
	}
}

func (c *Client) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// protest tells a server that broke the protocol so, if the version can: it is
// what its operator will find in the log.
func (c *Client) protest(err error) {
	var broken *mqtt.Error
	if c.version != mqtt.V5 || !errors.As(err, &broken) {
		return
	}
	d := mqtt.Disconnect{Reason: broken.Reason}
	c.tracef("sending DISCONNECT reason=%s", d.Reason.String())
	c.out.finish(d.Append(nil, c.version, c.connack.MaximumPacketSize))
	timer := time.NewTimer(lastWordsMax)
	defer timer.Stop()
	select {
	case <-c.out.flushed:
	case <-c.done:
	case <-timer.C:
	}
}

// handle does what one packet asks for.
func (c *Client) handle(h mqtt.Header, body []byte) error {
	switch h.Type {
	case mqtt.PUBLISH:
		return c.handlePublish(h, body)
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		var a mqtt.Ack
		if err := mqtt.DecodeAck(body, h, c.version, packetLimits, &a); err != nil {
			return err
		}
		c.traceAck("received", &a)
		if a.Type == mqtt.PUBREL {
			return c.handlePubrel(&a)
		}
		return c.handleAck(&a)
	case mqtt.SUBACK:
		var a mqtt.Suback
		if err := mqtt.DecodeSuback(body, h, c.version, packetLimits, &a); err != nil {
			return err
		}
		c.tracef("received SUBACK id=%d reasons=%v", a.PacketID, a.Reasons)
		return c.handleAnswer(mqtt.SUBACK, a.PacketID, a.Reasons, a.ReasonString)
	case mqtt.UNSUBACK:
		var a mqtt.Unsuback
		if err := mqtt.DecodeUnsuback(body, h, c.version, packetLimits, &a); err != nil {
			return err
		}
		c.tracef("received UNSUBACK id=%d reasons=%v", a.PacketID, a.Reasons)
		return c.handleAnswer(mqtt.UNSUBACK, a.PacketID, a.Reasons, a.ReasonString)
	case mqtt.PINGRESP:
		c.tracef("received PINGRESP")
		c.pinged.Store(false)
		return nil
	case mqtt.DISCONNECT:
		var d mqtt.Disconnect
		if err := mqtt.DecodeDisconnectClient(body, h, c.version, packetLimits, &d); err != nil {
			return err
		}
		c.tracef("received DISCONNECT reason=%s", d.Reason.String())
		return c.explainDisconnect(&d)
	}
	return &mqtt.Error{Reason: mqtt.ProtocolError, Detail: h.Type.String() + " from a server that was not asked for it"}
}

// randomID is where packet identifiers begin in a session that is resumed. An
// earlier process may have left a QoS 2 identifier waiting for its PUBREL in the
// server, which would take our first message for its repetition.
func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}
