package conn

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// trap is a transport with a bug in one of its methods, from the skip-th call on.
type trap struct {
	net.Conn
	at   string
	skip int
}

func (b *trap) trip(at string) {
	if b.at != at {
		return
	}
	if b.skip--; b.skip < 0 {
		panic("a bug in " + at)
	}
}

func (b *trap) RemoteAddr() net.Addr        { b.trip("RemoteAddr"); return b.Conn.RemoteAddr() }
func (b *trap) Read(p []byte) (int, error)  { b.trip("Read"); return b.Conn.Read(p) }
func (b *trap) Write(p []byte) (int, error) { b.trip("Write"); return b.Conn.Write(p) }
func (b *trap) SetDeadline(t time.Time) error {
	b.trip("SetDeadline")
	return b.Conn.SetDeadline(t)
}
func (b *trap) Close() error {
	_ = b.Conn.Close()
	b.trip("Close")
	return nil
}

// left is what a connection that is over must not have kept.
func (r *rig) left(faults int64) {
	r.t.Helper()
	r.becomes("connections", 1, r.connections)
	if n := r.metrics.Value(metrics.FaultsRecovered); n < faults {
		r.t.Errorf("%d bugs were caught, want %d", n, faults)
	}
	if n, m := r.metrics.Value(metrics.Unauthenticated), r.metrics.Value(metrics.Handshakes); n != 0 || m != 0 {
		r.t.Errorf("%d places of strangers and %d of handshakes were not given back", n, m)
	}
	if n := r.server.live.Load(); n != 1 {
		r.t.Errorf("the loops have %d connections, want 1", n)
	}
}

// A bug wherever the portable engine runs what a peer has set off ends that connection
// alone, and gives its places back (A158).
func TestABugInThePortableEngineEndsOneConnection(t *testing.T) {
	cert := testCertificate(t)
	secure := &tls.Config{Certificates: []tls.Certificate{*cert}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("a bug in TLS") }}
	proxy := &listener.Proxy{Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, c := range []struct {
		name  string
		trap  trap
		tls   *tls.Config
		proxy *listener.Proxy
		say   string // nothing: a CONNECT, and the end
		bye   bool   // DISCONNECT as well
	}{
		{name: "the door", trap: trap{at: "RemoteAddr"}},
		{name: "the deadline of a handshake", trap: trap{at: "SetDeadline"}, tls: &tls.Config{Certificates: secure.Certificates}},
		{name: "a callback of TLS", tls: secure},
		{name: "the first read", trap: trap{at: "Read"}},
		{name: "a later read", trap: trap{at: "Read", skip: 1}},
		{name: "a write", trap: trap{at: "Write"}},
		{name: "the goodbye", trap: trap{at: "SetDeadline"}, bye: true},
		{name: "the end", trap: trap{at: "Close"}, bye: true},
		{name: "a refusal", trap: trap{at: "Close"}, say: "\x00\x00"},
		{name: "the door for proxies", trap: trap{at: "RemoteAddr"}, proxy: proxy},
		{name: "a PROXY header", trap: trap{at: "Read"}, proxy: proxy},
		{name: "half a PROXY header", trap: trap{at: "Read", skip: 1}, proxy: proxy, say: "PROXY TCP4 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				check := r.bystander()
				l := &listener.Listener{Name: "broken", Protocol: "mqtt", Chain: "default", Door: r.entrance.Door, TLS: c.tls}
				l.Proxy.Store(c.proxy)
				socket := newPipes()
				opening, err := r.server.Ready(l, []net.Listener{socket})
				if err != nil {
					t.Fatal(err)
				}
				opening.Open()
				client, server := net.Pipe()
				c.trap.Conn = &addressed{server, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
				socket.conns <- &c.trap
				say := []byte(c.say)
				if c.say == "" {
					p := &mqtt.Connect{Version: mqtt.V5, CleanStart: true, KeepAlive: 60, ClientID: "x", Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice")}
					say = p.Append(nil, mqtt.V5, 0)
				}
				go func() {
					var out net.Conn = client
					if c.tls != nil {
						out = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
					}
					_, _ = out.Write(say)
					if c.bye {
						_, _ = out.Read(make([]byte, 100))
						_, _ = out.Write([]byte{0xE0, 0})
					}
					for err := error(nil); err == nil; {
						_, err = out.Read(make([]byte, 100))
					}
				}()
				time.Sleep(2 * time.Second) // of the bubble
				synctest.Wait()
				r.left(1)
				if n := l.Open.Load(); n != 0 {
					t.Errorf("%d connections at the listener after the end", n)
				}
				check()
				_, _ = client.Close(), socket.Close()
				r.ended = true
				r.server.Shutdown(context.Background())
			})
		})
	}
}

// So does one on the goroutines that quic-go and crypto/tls run for a connection, wherever
// they call us.
func TestABugOverQUICEndsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trip atomic.Pointer[string]
		bug := func(at string) {
			if want := trip.Load(); want != nil && *want == at {
				panic("a bug in " + at)
			}
		}
		r := newQUICRig(t, func(r *rig) {
			r.quic.broken = func(l *listener.Listener) {
				l.Door.Bar(func(time.Time, netip.Addr) bool { bug("the door"); return false })
				inner := l.TLS.Clone()
				inner.VerifyConnection = func(tls.ConnectionState) error { bug("a certificate"); return nil }
				inner.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					bug("our certificate")
					return &inner.Certificates[0], nil
				}
				l.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { bug("the settings of TLS"); return inner, nil }
			}
		})
		check := r.bystander()
		faults := int64(0)
		for _, at := range []string{"the door", "the settings of TLS", "our certificate", "a certificate"} {
			trip.Store(&at)
			c, err := r.quic.dial(func(_ *tls.Config, q *quic.Config) { q.HandshakeIdleTimeout = 2 * time.Second })
			if err == nil { // the client's part of the handshake was over
				_, _ = c.Write([]byte{0x10})
				if _, err = c.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s: it is answered", at)
				}
				_ = c.Close()
			}
			passes(time.Second)
			if n := r.metrics.Value(metrics.FaultsRecovered); n <= faults {
				t.Errorf("%s: no bug was caught", at)
			} else {
				faults = n
			}
			r.left(faults)
			if n := r.entrance.Open.Load(); n != 1 {
				t.Errorf("%s: %d connections at the listener, want 1", at, n)
			}
			check()
		}
		trip.Store(nil)
		r.connect(mqtt.V5, "alice/next").silent()
		r.ended = true
		r.server.Shutdown(context.Background())
	})
}
