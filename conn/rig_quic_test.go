package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/pki"
)

// quicNet is a network of datagrams in memory, without delay: whoever has no room
// loses them.
type quicNet struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]*quicHost
	sent  map[string]*atomic.Int64 // bytes that arrived at an address
}

func newQUICNet() *quicNet {
	return &quicNet{hosts: map[string]*quicHost{}, sent: map[string]*atomic.Int64{}}
}

// quicHost is a UDP socket of it.
type quicHost struct {
	net   *quicNet
	addr  atomic.Pointer[net.UDPAddr]
	queue chan quicDatagram
	done  chan struct{}
	once  sync.Once

	mu    sync.Mutex // guards below
	until time.Time
	woken chan struct{} // closed when until changes
}

type quicDatagram struct {
	b    []byte
	from *net.UDPAddr
}

// host opens a socket at an address.
func (n *quicNet) host(addr string) *quicHost {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		panic(err)
	}
	h := &quicHost{net: n, queue: make(chan quicDatagram, 4096), done: make(chan struct{}), woken: make(chan struct{})}
	h.addr.Store(a)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[a.String()] = h
	return h
}

// moveTo gives a socket another address, as a phone that leaves the house has it.
func (h *quicHost) moveTo(addr string) {
	a, _ := net.ResolveUDPAddr("udp", addr)
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.hosts[a.String()] = h
	h.addr.Store(a)
}

func (h *quicHost) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		h.mu.Lock()
		until, woken := h.until, h.woken
		h.mu.Unlock()
		var late <-chan time.Time
		if !until.IsZero() {
			late = time.After(time.Until(until))
		}
		select {
		case d := <-h.queue:
			return copy(b, d.b), d.from, nil
		case <-h.done:
			return 0, nil, net.ErrClosed
		case <-late:
			return 0, nil, os.ErrDeadlineExceeded
		case <-woken:
		}
	}
}

func (h *quicHost) WriteTo(b []byte, to net.Addr) (int, error) {
	h.net.mu.Lock()
	other := h.net.hosts[to.String()]
	h.net.mu.Unlock()
	if other != nil {
		select {
		case other.queue <- quicDatagram{append([]byte(nil), b...), h.addr.Load()}:
		default:
		}
	}
	return len(b), nil
}

func (h *quicHost) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *quicHost) SetReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = t
	close(h.woken)
	h.woken = make(chan struct{})
	return nil
}

func (h *quicHost) LocalAddr() net.Addr              { return h.addr.Load() }
func (h *quicHost) SetDeadline(t time.Time) error    { return h.SetReadDeadline(t) }
func (h *quicHost) SetWriteDeadline(time.Time) error { return nil }

// quicRig is the door of a rig whose packets travel over QUIC, in a bubble.
type quicRig struct {
	net    *quicNet
	server *quicHost
	tls    *tls.Config // of clients
	next   int
	t      *testing.T
	wait   sync.WaitGroup           // what clients run
	broken func(*listener.Listener) // changes the entrance; nil: nothing
}

// newQUICRig is the portable engine in a bubble with QUIC in front.
func newQUICRig(t *testing.T, change ...func(*rig)) *rig {
	cert := testCertificate(t)
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	q := &quicRig{t: t, net: newQUICNet(), tls: &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{pki.ALPN}, Time: quicNow}}
	q.server = q.net.host("192.0.2.1:14567")
	r := &rig{t: t, quic: q}
	t.Cleanup(q.wait.Wait) // behind all others: a bubble ends with nothing in it
	secure := &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{pki.ALPN}}
	r.start(NewPortable, clock.System{}, nil, secure, change)
	return r
}

// quicNow is when the test's certificate is valid: the bubble has a time of its own.
func quicNow() time.Time { c, _ := testCertificateOnce(); return c.Leaf.NotBefore.Add(time.Minute) }

// serveDatagrams makes l a listener of QUIC.
func (q *quicRig) entrance(l *listener.Listener) {
	l.Protocol, l.Sockets = listener.QUIC, []net.Listener{listener.NewDatagrams(q.server)}
	if q.broken != nil {
		q.broken(l)
	}
}

// quicClient is a client's end.
type quicClient struct {
	*quic.Stream
	conn    *quic.Conn
	carrier *quic.Transport
	host    *quicHost
}

func (c *quicClient) LocalAddr() net.Addr  { return c.conn.LocalAddr() }
func (c *quicClient) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

func (c *quicClient) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if err != nil && n > 0 {
		err = nil
	}
	return n, err
}

// Close ends the stream, and then the connection, which loses what has not arrived.
func (c *quicClient) Close() error {
	_ = c.Stream.Close()
	passes(10 * time.Millisecond)
	_ = c.conn.CloseWithError(0, "")
	_ = c.carrier.Close()
	return c.host.Close()
}

// refusedConn is what is left of a connection that was not let in.
type refusedConn struct{ net.Conn }

func (refusedConn) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (refusedConn) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (refusedConn) Close() error                     { return nil }
func (refusedConn) SetDeadline(time.Time) error      { return nil }
func (refusedConn) SetReadDeadline(time.Time) error  { return nil }
func (refusedConn) SetWriteDeadline(time.Time) error { return nil }

// dial makes a connection and opens the stream.
func (q *quicRig) dial(change ...func(*tls.Config, *quic.Config)) (*quicClient, error) {
	q.next++
	return q.dialFrom((&net.UDPAddr{IP: net.IPv4(198, 51, byte(100+q.next/250), byte(1+q.next%250)), Port: 4433}).String(), change...)
}

// dialFrom does it from an address.
func (q *quicRig) dialFrom(address string, change ...func(*tls.Config, *quic.Config)) (*quicClient, error) {
	h := q.net.host(address)
	t := &quic.Transport{Conn: h}
	q.t.Cleanup(func() {
		_ = t.Close()
		_ = h.Close()
	})
	secure, conf := q.tls.Clone(), &quic.Config{
		MaxIdleTimeout: 24 * time.Hour, InitialStreamReceiveWindow: 32 << 10, InitialConnectionReceiveWindow: 32 << 10,
		MaxStreamReceiveWindow: 64 << 10, MaxConnectionReceiveWindow: 64 << 10, // a client that will not read is a slow one
	}
	for _, f := range change {
		f(secure, conf)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := t.Dial(ctx, q.server.addr.Load(), secure, conf)
	if err != nil {
		return nil, errors.Join(err, t.Close(), h.Close())
	}
	s, err := c.OpenStream()
	if err != nil {
		return nil, err
	}
	return &quicClient{Stream: s, conn: c, carrier: t, host: h}, nil
}

// quicCalm is how long acknowledgements may wait, and who paces itself.
const quicCalm = 30 * time.Millisecond

// passes lets the time of a bubble go by.
func passes(d time.Duration) { <-time.After(d) }

// arrives is the next packet, for which QUIC may take its time.
func (c *client) arrives() (packet, bool) {
	for range 5000 {
		synctest.Wait()
		if p, ok, over := c.in.take(); ok || over {
			return p, ok
		}
		passes(time.Millisecond)
	}
	return packet{}, false
}
