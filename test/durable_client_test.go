package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// This file is what publishers and subscribers of the load have in common: a session
// that outlives connections, and the payload by which a message is known again.
// It knows no testing.T, because it runs in goroutines that may not end a test.

// How a client comes back: it cannot know that the broker is down, so it knocks until
// somebody opens, but not for ever.
const (
	retryLeast  = 30 * time.Millisecond
	retrySpread = 40 * time.Millisecond
	retryMost   = 2000 // attempts in a row: more than a minute
)

// errTurnedAway is a CONNECT that will never be accepted.
var errTurnedAway = errors.New("turned away")

// link is a client whose session outlives its connections. All but cut belongs to
// one goroutine.
type link struct {
	addr, secret string
	id           string
	version      mqtt.Version
	receiveMax   uint16 // what the broker may send unacknowledged

	w       *wire    // connection of now
	granted uint16   // what we may send unacknowledged
	out     []byte   // not written yet
	known   bool     // the broker has acknowledged something that comes behind the session in the log, or has found it: CONNACK alone does not wait for the disk
	lost    int      // times the session was gone all the same
	losses  int      // connections that ended
	told    []string // DISCONNECTs, of which a load that breaks no rule gets none
	gone    error    // why the client gave up

	mu        sync.Mutex // guards everything below
	conn      net.Conn   // nil between two connections
	disturbed int        // connections that disturb has ended
}

// open connects, again and again, and answers whether the session was there.
func (l *link) open(ctx context.Context) (present bool, err error) {
	pause := time.NewTimer(rand.N(retryLeast))
	defer pause.Stop()
	for range retryMost {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-pause.C:
		}
		if present, err = l.knock(ctx); err == nil || errors.Is(err, errTurnedAway) {
			return present, err
		}
		pause.Reset(retryLeast + rand.N(retrySpread))
	}
	return false, fmt.Errorf("not connected after %d attempts, the last: %w", retryMost, err)
}

// knock is one attempt.
func (l *link) knock(ctx context.Context) (present bool, err error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp4", l.addr)
	if err != nil {
		return false, err
	}
	l.hold(conn)
	if ctx.Err() != nil { // whoever cancelled may have looked before there was a connection
		l.cut()
		return false, ctx.Err()
	}
	l.w, l.out = &wire{conn: conn, in: newReader(conn), v: l.version}, l.out[:0]
	hello := connectOf(l.version, l.id, func(c *mqtt.Connect) {
		lasting(c)
		c.Username, c.Password, c.ReceiveMaximum, c.KeepAlive = user, []byte(l.secret), l.receiveMax, 300
	})
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err = conn.Write(hello); err == nil {
		present, err = l.welcome()
	}
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		l.cut()
		return false, err
	}
	if l.known && !present {
		l.lost++
	}
	l.known = l.known || present
	return present, nil
}

// welcome reads CONNACK.
func (l *link) welcome() (present bool, err error) {
	p, err := l.w.next()
	if err != nil {
		return false, err
	}
	if p.Type != mqtt.CONNACK {
		return false, fmt.Errorf("%v in place of CONNACK", p.Type)
	}
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(p.Body, p.Header, l.version, unlimited, &ack); err != nil {
		return false, err
	}
	switch ack.Reason {
	case mqtt.Success:
		if l.granted = ack.ReceiveMaximum; l.granted == 0 {
			l.granted = 65535
		}
		return ack.SessionPresent, nil
	case mqtt.ServerBusy, mqtt.ServerUnavailable, mqtt.QuotaExceeded, mqtt.ConnectionRateExceeded:
		return false, fmt.Errorf("CONNACK %v", ack.Reason)
	}
	return false, fmt.Errorf("%w: CONNACK %v", errTurnedAway, ack.Reason)
}

func (l *link) hold(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
}

// cut ends the connection without a word; what is on its way may be lost. Anybody may
// call it.
func (l *link) cut() (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return false
	}
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // forgets what was not sent yet, as a client that dies does
	}
	_ = l.conn.Close()
	l.conn = nil
	return true
}

// disturb is the fault: the client loses its socket, keeps what it knows, and
// connects again.
func (l *link) disturb() (was bool) {
	if was = l.cut(); was {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.disturbed++
	}
	return was
}

// flush writes what has gathered.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.w.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// next is the next packet. What has gathered is written when there is nothing more
// to read at once, so that one write answers many packets.
func (l *link) next() (packet, error) {
	if l.w.in.Buffered() == 0 {
		if err := l.flush(); err != nil {
			return packet{}, err
		}
	}
	return l.w.next()
}

// say gathers an acknowledgement.
func (l *link) say(typ mqtt.Type, id uint16, reason mqtt.ReasonCode) {
	l.out = (&mqtt.Ack{Type: typ, PacketID: id, Reason: reason}).Append(l.out, l.version, 0)
}

// ack decodes one.
func (l *link) ack(p packet) (a mqtt.Ack, err error) {
	err = mqtt.DecodeAck(p.Body, p.Header, l.version, unlimited, &a)
	return a, err
}

// farewell notes a DISCONNECT. There is none in a load that breaks no rule.
func (l *link) farewell(p packet) error {
	if len(l.told) < 2 { // the first ones say why
		l.told = append(l.told, fmt.Sprintf("DISCONNECT %x %q", p.Body[:min(1, len(p.Body))], p.Body))
	}
	return errClosed
}

// live runs one connection after another until serve says that it is over, or the
// context does.
func (l *link) live(ctx context.Context, serve func(present bool) (over bool, err error)) {
	defer context.AfterFunc(ctx, func() { l.cut() })()
	defer l.cut()
	for {
		present, err := l.open(ctx)
		if err != nil {
			if ctx.Err() == nil {
				l.gone = fmt.Errorf("%s: %w", l.id, err)
			}
			return
		}
		over, err := serve(present)
		if over || ctx.Err() != nil {
			return
		}
		var broken *mqtt.Error
		if errors.As(err, &broken) {
			l.gone = fmt.Errorf("%s was sent what is not MQTT: %w", l.id, err)
			return
		}
		if l.cut(); !errors.Is(err, errAway) {
			l.losses++
		}
	}
}

// Every message of the load is payloadBytes long: who sent it, which of theirs it is,
// and a part of filler that follows from it.
const payloadBytes = 256

var filler = func() []byte {
	b := make([]byte, 2*payloadBytes)
	for i := range b {
		b[i] = byte(i*i + i>>3)
	}
	return b
}()

func fillerOf(seq uint32) []byte { return filler[seq%payloadBytes:][:payloadBytes-6] }

func appendPayload(dst []byte, from uint16, seq uint32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, from)
	dst = binary.BigEndian.AppendUint32(dst, seq)
	return append(dst, fillerOf(seq)...)
}

// readPayload is the way back; ok is false for bytes that nobody sent.
func readPayload(b []byte) (from uint16, seq uint32, ok bool) {
	if len(b) != payloadBytes {
		return 0, 0, false
	}
	from, seq = binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
	return from, seq, bytes.Equal(b[6:], fillerOf(seq))
}
