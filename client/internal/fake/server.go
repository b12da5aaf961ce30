// Package fake is the other side of a connection for the tests of package client
// and what stands on it: a listener whose handler is a function of the test, the
// packets as values, a small broker, and certificates for every mistake. It is
// no broker to rely on: it checks little, keeps everything in memory, and fails
// the test instead of answering.
package fake

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// patience is how long a handler waits for bytes before it gives up, so that a
// broken test ends.
const patience = 20 * time.Second

// Server listens on loopback.
type Server struct {
	Host string
	Port uint16

	t    testing.TB
	l    net.Listener
	conf *tls.Config
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	ended bool
}

// Start listens, with TLS if conf is not nil, and calls handle for every
// connection. At the end of the test everything is closed and waited for.
func Start(t testing.TB, conf *tls.Config, handle func(*Conn)) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port), t: t, l: l, conf: conf, conns: map[net.Conn]bool{}}
	s.wg.Add(1)
	go s.accept(handle)
	t.Cleanup(s.Close)
	return s
}

// Close ends the listener and waits for the handlers: they end when the clients
// have. One that does not is cut off, and the test fails.
func (s *Server) Close() {
	_ = s.l.Close()
	ended := make(chan struct{})
	go func() { s.wg.Wait(); close(ended) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended:
		return
	case <-timer.C:
		s.t.Error("fake server: a connection was left open")
	}
	s.mu.Lock()
	s.ended = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	<-ended
}

func (s *Server) accept(handle func(*Conn)) {
	defer s.wg.Done()
	for {
		raw, err := s.l.Accept()
		if err != nil {
			return
		}
		if !s.adopt(raw) {
			continue
		}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			defer s.drop(raw)
			conn := raw
			if s.conf != nil {
				conn = tls.Server(raw, s.conf)
			}
			handle(NewConn(s.t, conn))
			_ = conn.Close()
		}()
	}
}

func (s *Server) adopt(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		_ = c.Close()
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) drop(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Conn is the server's end of one connection.
type Conn struct {
	net.Conn
	Version mqtt.Version // of the CONNECT that came, 0 before
	Connect mqtt.Connect

	t   testing.TB
	buf []byte
}

// NewConn is a Conn over any connection, such as one end of a pipe.
func NewConn(t testing.TB, c net.Conn) *Conn { return &Conn{Conn: c, t: t} }

// Packet is a packet from the client.
type Packet struct {
	mqtt.Header
	Body []byte
}

// Next reads a packet. The error is io.EOF at the end of the connection, however
// it came.
func (c *Conn) Next() (Packet, error) {
	for {
		h, ok, err := mqtt.ReadHeader(c.buf, c.Version)
		if err != nil {
			c.t.Errorf("fake server: the client sent % x: %v", c.buf[:min(len(c.buf), 16)], err)
			return Packet{}, err
		}
		if n := h.Size + h.Remaining; ok && len(c.buf) >= n {
			p := Packet{h, append([]byte(nil), c.buf[h.Size:n]...)}
			c.buf = append(c.buf[:0], c.buf[n:]...)
			return p, nil
		}
		b := make([]byte, 64<<10)
		_ = c.SetReadDeadline(clock.System{}.Now().Add(patience)) // fails on a closed connection, as does Read
		n, err := c.Read(b)
		c.buf = append(c.buf, b[:n]...)
		if n == 0 && err != nil {
			return Packet{}, io.EOF
		}
	}
}

// Want reads a packet and wants it to be of this type. It answers false, and
// fails the test, if it is not.
func (c *Conn) Want(want mqtt.Type) (Packet, bool) {
	p, err := c.Next()
	if err != nil || p.Type != want {
		c.t.Errorf("fake server: got %s (%v), want %s", p.Type, err, want)
		return p, false
	}
	return p, true
}

// Send writes bytes, or packets as bytes.
func (c *Conn) Send(b []byte) {
	if _, err := c.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		return // the client has gone; what it makes of that is the test's business
	}
}

// Greet reads CONNECT and answers ack. It answers false when no CONNECT came.
func (c *Conn) Greet(ack mqtt.Connack) bool {
	p, err := c.Next()
	if err != nil {
		return false
	}
	if err := mqtt.DecodeConnect(p.Body, mqtt.Limits{UserProperties: -1}, &c.Connect); err != nil {
		c.t.Errorf("fake server: CONNECT: %v", err)
		return false
	}
	c.Version = c.Connect.Version
	c.Send(ack.Append(nil, c.Version, 0))
	return true
}

// Publish reads a PUBLISH.
func (c *Conn) Publish() (mqtt.Publish, bool) {
	p, ok := c.Want(mqtt.PUBLISH)
	if !ok {
		return mqtt.Publish{}, false
	}
	return c.DecodePublish(p), true
}

// DecodePublish decodes a PUBLISH; the test fails if it is malformed.
func (c *Conn) DecodePublish(p Packet) (m mqtt.Publish) {
	if err := mqtt.DecodePublish(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &m); err != nil {
		c.t.Errorf("fake server: PUBLISH: %v", err)
	}
	return m
}

// Ack reads an acknowledgement of this type.
func (c *Conn) Ack(want mqtt.Type) (a mqtt.Ack, ok bool) {
	p, ok := c.Want(want)
	if !ok {
		return a, false
	}
	if err := mqtt.DecodeAck(p.Body, p.Header, c.Version, mqtt.Limits{UserProperties: -1}, &a); err != nil {
		c.t.Errorf("fake server: %s: %v", want, err)
		return a, false
	}
	return a, true
}

// SendAck sends an acknowledgement.
func (c *Conn) SendAck(t mqtt.Type, id uint16, reason mqtt.ReasonCode, words string) {
	a := mqtt.Ack{Type: t, PacketID: id, Reason: reason, ReasonString: words}
	c.Send(a.Append(nil, c.Version, 0))
}

// SendPublish sends a message.
func (c *Conn) SendPublish(p mqtt.Publish) { c.Send(p.Append(nil, c.Version)) }

// Drain reads until the client has closed.
func (c *Conn) Drain() {
	for {
		if _, err := c.Next(); err != nil {
			return
		}
	}
}
