package conn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
)

// realSockets is the door of a rig on the engine of this system.
type realSockets struct {
	socket net.Listener
	tls    *tls.Config // of clients; nil on plaintext
	wait   sync.WaitGroup
}

// patience is how long a real packet that must come may take.
const patience = 10 * time.Second

// newRealRig is the engine of this system on a loopback socket, with TLS if there
// is a certificate.
func newRealRig(t *testing.T, cert *tls.Certificate, change ...func(*rig)) *rig {
	return newRealRigWith(t, cert, func(m *clock.Manual) clock.Clock { return m }, change...)
}

// newRealRigWith is newRealRig by another clock, made of the rig's.
func newRealRigWith(t *testing.T, cert *tls.Certificate, made func(*clock.Manual) clock.Clock, change ...func(*rig)) *rig {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, clock: clock.NewManual(time.Unix(1_800_000_000, 0)), real: &realSockets{socket: socket}}
	var secure *tls.Config
	if cert != nil {
		secure = &tls.Config{Certificates: []tls.Certificate{*cert}, DynamicRecordSizingDisabled: true}
		roots := x509.NewCertPool()
		roots.AddCert(cert.Leaf)
		r.real.tls = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	}
	t.Cleanup(r.real.wait.Wait) // runs after the clients' connections are closed
	r.start(Native, made(r.clock), socket, secure, change)
	return r
}

// connection is a client's end of a new connection.
func (r *rig) connection() net.Conn {
	r.t.Helper()
	if r.web != nil {
		return r.openWebSocket()
	}
	return r.transport()
}

// transport is what a connection begins with.
func (r *rig) transport() net.Conn {
	r.t.Helper()
	if r.quic != nil {
		if r.proxy != nil {
			return r.proxy()
		}
		c, err := r.quic.dial()
		if err != nil {
			r.t.Fatal(err)
		}
		return c
	}
	nc := r.bare()
	if r.real == nil {
		return nc
	}
	if r.real.tls != nil {
		return tls.Client(nc, r.real.tls)
	}
	return nc
}

// bare is a connection without TLS, which a proxy may have begun.
func (r *rig) bare() net.Conn {
	r.t.Helper()
	if r.proxy != nil {
		return r.proxy()
	}
	if r.real == nil {
		return r.pipes.dial()
	}
	nc, err := net.Dial("tcp", r.real.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// hardlyBuffers leaves a client that will not read the least of the kernel's receive
// buffer, so that few megabytes make it a slow one: each is encrypted, framed and watched.
func hardlyBuffers(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			_ = c.SetReadBuffer(4 << 10)
			return
		case *webSocket:
			conn = c.Conn
		case *tls.Conn:
			conn = c.NetConn()
		default: // a pipe
			return
		}
	}
}

// running starts a goroutine of a client, which must end before the test does.
func (r *rig) running(f func()) {
	var all *sync.WaitGroup
	switch {
	case r.real != nil:
		all = &r.real.wait
	case r.quic != nil:
		all = &r.quic.wait
	default: // a bubble waits by itself
		go f()
		return
	}
	all.Go(f)
}

// settle returns when nothing moves any more: in a bubble for certain, with real
// sockets as far as many turns of every loop without an effect can tell. What
// must come is therefore waited for; settle is for what must not.
func (r *rig) settle() {
	if r.quic != nil {
		passes(quicCalm)
	}
	if r.real == nil {
		synctest.Wait()
		return
	}
	for calm, last := 0, int64(-1); calm < 40; calm++ {
		r.turn()
		if now := r.activity(); now != last {
			calm, last = 0, now
		}
	}
}

// onLoops runs f on each loop, one after the other.
func (r *rig) onLoops(f func(l *Loop)) {
	for _, l := range r.server.loops {
		done := make(chan struct{})
		l.inbox.post(event{kind: evCall, fn: func(l *Loop) {
			defer close(done)
			f(l)
		}})
		<-done
	}
}

// turn lets every loop go round.
func (r *rig) turn() {
	r.server.Each(func(time.Time, *broker.Home) {})
	runtime.Gosched()
}

func (r *rig) activity() (sum int64) {
	for _, id := range []metrics.ID{metrics.BytesReceived, metrics.BytesSent, metrics.ConnectionsAccepted, metrics.Connections, metrics.Handshakes, metrics.AuthnSuccess} {
		sum = sum*31 + r.metrics.Value(id)
	}
	return sum*31 + r.heard.Load()
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	if r.real == nil {
		time.Sleep(d)
		return
	}
	for ; d > 0; d -= 100 * time.Millisecond {
		r.clock.Advance(min(d, 100*time.Millisecond))
		r.turn()
	}
}

// now is the time of the broker.
func (r *rig) now() time.Time {
	if r.real == nil {
		return time.Now()
	}
	return r.clock.Now()
}

func (r *rig) sessions() int64    { return int64(r.broker.Sessions()) }
func (r *rig) connections() int64 { return r.metrics.Value(metrics.Connections) }

// becomes waits until a number is what it should be.
func (r *rig) becomes(what string, want int64, read func() int64) {
	r.t.Helper()
	r.settle()
	for end := time.Now().Add(patience); read() != want; {
		if r.real == nil || time.Now().After(end) {
			r.t.Errorf("%s: %d, want %d\n%s", what, read(), want, r.log)
			return
		}
		r.turn()
	}
}

var testCertificateOnce = sync.OnceValues(func() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		// From before the time of bubbles on: whichever rig comes first makes it.
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})

func testCertificate(t *testing.T) *tls.Certificate {
	c, err := testCertificateOnce()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
