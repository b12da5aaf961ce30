package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// proxyAt is where the proxy of these tests lives.
const proxyAt = "127.0.0.9"

// addressed is a pipe with an address at its end.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// from is a connection from this address, on either engine.
func (r *rig) from(address string) net.Conn {
	r.t.Helper()
	if r.quic != nil {
		r.quic.next++
		c, err := r.quic.dialFrom(net.JoinHostPort(address, strconv.Itoa(4711+r.quic.next)))
		if err != nil {
			return refusedConn{}
		}
		return c
	}
	if r.real == nil {
		a, b := net.Pipe()
		r.pipes.conns <- addressed{a, &net.TCPAddr{IP: net.ParseIP(address), Port: 4711}}
		return b
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	nc, err := d.Dial("tcp", r.real.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// headed writes a header before the first bytes of the client: in one write with them, or
// in pieces before.
type headed struct {
	net.Conn
	header []byte
	pieces int // 0: in one write with what follows
}

func (h *headed) Write(b []byte) (int, error) {
	header := h.header
	h.header = nil
	if header == nil {
		return h.Conn.Write(b)
	}
	if h.pieces == 0 {
		n, err := h.Conn.Write(append(header, b...))
		return max(0, n-len(header)), err
	}
	for i := range h.pieces {
		if _, err := h.Conn.Write(header[len(header)*i/h.pieces : len(header)*(i+1)/h.pieces]); err != nil {
			return 0, err
		}
	}
	return h.Conn.Write(b)
}

// proxied has the listener believe a proxy from now on; connections come through it.
func (r *rig) proxied(header func() string, pieces int) {
	r.server.listeners[0].Proxy.Store(&listener.Proxy{Sources: []netip.Prefix{netip.MustParsePrefix(proxyAt + "/32")}})
	r.proxy = func() net.Conn { return &headed{Conn: r.from(proxyAt), header: []byte(header()), pieces: pieces} }
}

func v1From(address string) func() string {
	return func() string { return "PROXY TCP4 " + address + " 192.0.2.1 4711 1883\r\n" }
}

// v2From is IPv4 in version 2, with an unknown TLV of a hundred bytes.
func v2From(address string) func() string {
	a, b := netip.MustParseAddr(address).As4(), netip.MustParseAddr("192.0.2.1").As4()
	body := string(a[:]) + string(b[:]) + "\x12\x67\x07\x5b" + "\xea\x00\x64" + strings.Repeat("x", 100)
	return func() string { return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00" + string([]byte{byte(len(body))}) + body }
}

// cameFrom is where the client of this name comes from, as an operator sees it.
func (r *rig) cameFrom(user string) (from netip.Addr) {
	r.t.Helper()
	rows, _, err := r.server.Clients(context.Background(), &Place{}, &broker.Selection{}, 100)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range rows {
		if row.By.Username == user {
			from = row.From.Addr()
			if row.By.Addr != from {
				r.t.Errorf("%s: rules see %s, and the list says %s", user, row.By.Addr, from)
			}
		}
	}
	return from
}

// A157: behind a proxy a client is who the header says, however it comes, before TLS and
// before WebSocket, for the list, the log, the limits and the access rules.
func TestBehindAProxy(t *testing.T) {
	playTCP(t, func(r *rig) {
		check := r.bystander()
		open := int64(1)
		for i, header := range []func() string{v1From("203.0.113.7"), v2From("203.0.113.7")} {
			for _, pieces := range []int{0, 1, 2, 40} {
				r.proxied(header, pieces)
				user := fmt.Sprintf("u%d-%d", i, pieces)
				r.connect(mqtt.V5, user+"/a").subscribe("open/#", 0)
				open++
				if got := r.cameFrom(user); got != netip.MustParseAddr("203.0.113.7") {
					t.Errorf("%s comes from %s\n%s", user, got, r.log)
				}
			}
		}
		r.becomes("connections", open, r.connections)

		// A cap of one client each: it is the client's and not the proxy's.
		r.limits(listener.DoorLimits{ConnectionsTotal: 100, UnauthenticatedTotal: 100, HandshakesTotal: 100, ConnectDeadline: 10 * time.Second, PerPrefix: map[string]int{"/32": 1}})
		for i := range 3 {
			r.proxied(v1From(fmt.Sprint("203.0.114.", i+1)), 0)
			r.connect(mqtt.V5, fmt.Sprint("w", i, "/a"))
		}
		nc := r.from(proxyAt)
		r.running(func() { _, _ = io.WriteString(nc, v1From("203.0.114.2")()) })
		r.ends(nc)
		r.becomes("refused for its prefix", 1, r.counted(metrics.ConnectionsRefusedPrefixLimit))

		r.server.listeners[0].Access.Store(listener.NewAccess([]listener.AccessRule{{Network: netip.MustParsePrefix("203.0.115.0/24"), Text: "deny 203.0.115.0/24"}}))
		nc = r.from(proxyAt)
		r.running(func() { _, _ = io.WriteString(nc, v2From("203.0.115.9")()) })
		r.ends(nc)
		r.becomes("refused by a rule", 1, r.counted(metrics.ConnectionsRefusedAccess))
		if !strings.Contains(r.log.String(), "203.0.115.9") {
			t.Errorf("the log does not name the client:\n%s", r.log)
		}
		check()
	})
}

// ends expects that the broker closes nc and says nothing, but for a TLS alert or an HTTP
// status that refuse.
func (r *rig) ends(nc net.Conn) {
	r.t.Helper()
	defer nc.Close()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	var late net.Error
	if b, err := io.ReadAll(nc); errors.As(err, &late) && late.Timeout() || len(b) > 0 && b[0] != 0x15 && b[0] != 'H' {
		r.t.Errorf("got % x and %v, want the end\n%s", b, err, r.log)
	}
}

// A157: nobody comes in without a header, nor from another address than a proxy's.
func TestNobodyPassesForAProxy(t *testing.T) {
	playTCP(t, func(r *rig) {
		check := r.bystander()
		connect := (&mqtt.Connect{Version: mqtt.V311, ClientID: "plain", CleanStart: true}).Append(nil, mqtt.V311, 0)

		// The listener is not behind a proxy: a header is nothing but a bad beginning.
		nc := r.from(proxyAt)
		r.running(func() { _, _ = io.WriteString(nc, v1From("203.0.113.7")()+"\r\n") })
		r.ends(nc)
		if strings.Contains(r.log.String(), "203.0.113.7") {
			t.Errorf("a header counted where none is wanted:\n%s", r.log)
		}
		r.becomes("connections", 1, r.connections)

		r.proxied(nil, 0)
		nc = r.from("127.0.0.10")
		r.ends(nc) // before a byte was sent
		r.becomes("refused for their address", 1, r.counted(metrics.ConnectionsRefusedProxySource))
		for i, bad := range []string{
			string(connect), "GET / HTTP/1.1\r\n", "\x16\x03\x01\x02", "PROXY TCP4 203.0.113.7 192.0.2.1 04711 1883\r\n",
			"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", strings.Replace(v2From("203.0.113.7")(), "\xea\x00\x64", "\xea\x00\x65", 1),
		} {
			nc := r.from(proxyAt)
			r.running(func() { _, _ = io.WriteString(nc, bad) })
			r.ends(nc)
			r.becomes("headers refused", int64(i+1), r.counted(metrics.ConnectionsRefusedProxyHeader))
		}
		nc = r.from(proxyAt)
		_ = nc.Close()
		r.becomes("without a header", 1, r.counted(metrics.ConnectionsRefusedProxyWait))
		r.becomes("connections", 1, r.connections)
		check()
	})
}

// A header must be there within three seconds, however slowly it comes, and what it took is
// taken off the deadline for the CONNECT.
func TestProxyHeaderInTime(t *testing.T) {
	playTCP(t, func(r *rig) {
		check := r.bystander()
		r.proxied(nil, 0)
		header := v1From("203.0.113.7")()
		var held []net.Conn
		for _, part := range []string{"", header[:1], header[:10], header[:len(header)-1]} {
			nc := r.from(proxyAt)
			if _, err := io.WriteString(nc, part); err != nil {
				t.Fatal(err)
			}
			held = append(held, nc)
		}
		r.becomes("connections", 5, r.connections)
		r.pass(2700 * time.Millisecond)
		r.becomes("connections after 2.7 s", 5, r.connections)
		late := r.from(proxyAt)
		r.pass(600 * time.Millisecond)
		r.becomes("connections after 3.3 s", 2, r.connections)
		r.becomes("headers that did not come", 4, r.counted(metrics.ConnectionsRefusedProxyWait))
		for _, nc := range held {
			r.ends(nc)
		}
		r.pass(1700 * time.Millisecond)
		r.running(func() { _, _ = io.WriteString(late, header) })
		r.becomes("accepted with a header", 2, r.counted(metrics.ConnectionsAccepted))
		r.pass(7800 * time.Millisecond)
		r.becomes("connections after the deadline", 1, r.connections)
		r.ends(late)
		check()
	})
}

// A proxy that speaks for itself is a client at its own address.
func TestAProxySpeaksForItself(t *testing.T) {
	playTCP(t, func(r *rig) {
		r.proxied(func() string { return "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" }, 0)
		r.connect(mqtt.V5, "health/check")
		if got := r.cameFrom("health"); got != netip.MustParseAddr(proxyAt) {
			t.Errorf("it comes from %s", got)
		}
	})
}

// Connections whose header does not come have the places of strangers, and make room like
// them; the rate and the cap of the proxy's own address stand in nobody's way.
func TestHeadersThatNeverComeMakeRoom(t *testing.T) {
	playTCP(t, func(r *rig) {
		check := r.bystander()
		r.limits(listener.DoorLimits{
			ConnectionsTotal: 100, UnauthenticatedTotal: 4, HandshakesTotal: 100, ConnectDeadline: 2 * time.Second,
			PerPrefix: map[string]int{"/32": 1}, RatePerPrefix: map[string]int{"/24": 1},
		})
		r.proxied(nil, 0)
		var silent []net.Conn
		for i := range 7 {
			silent = append(silent, r.from(proxyAt))
			r.becomes("connections", int64(min(i+2, 5)), r.connections)
		}
		for _, nc := range silent[:3] {
			r.ends(nc)
		}
		r.becomes("evicted", 3, r.counted(metrics.ConnectionsClosedEvicted))
		r.proxied(v1From("203.0.113.7"), 0)
		r.connect(mqtt.V5, "alice/a")
		check()
		// The rest goes with the broker.
	})
}

// What a proxy says of certificates counts where the operator says so, and then all of it.
func TestCertificatesSeenByAProxy(t *testing.T) {
	tls := func(client byte, verify byte, cn string) []byte {
		sub := ""
		if cn != "" {
			sub = "\x22\x00" + string([]byte{byte(len(cn))}) + cn
		}
		said := string([]byte{0x20, 0, byte(5 + len(sub)), client, 0, 0, 0, verify}) + sub
		body := "\xcb\x00\x71\x07\xc0\x00\x02\x01\x12\x67\x07\x5b" + said
		return []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00" + string([]byte{byte(len(body))}) + body)
	}
	for _, row := range []struct {
		name   string
		header []byte
		trust  bool
		cn     string
		err    error
	}{
		{"ignored", tls(7, 0, "dev-1"), false, "", nil},
		{"ignored, not accepted", tls(7, 1, "dev-1"), false, "", nil},
		{"trusted", tls(7, 0, "dev-1"), true, "dev-1", nil},
		{"trusted, resumed", tls(5, 0, "dev-1"), true, "dev-1", nil},
		{"none shown", tls(1, 0, ""), true, "", nil},
		{"none shown, with a name", tls(1, 0, "dev-1"), true, "", nil},
		{"not accepted", tls(7, 10, "dev-1"), true, "", errProxyCert},
		{"no name", tls(7, 0, ""), true, "", errProxyNoName},
		{"version 1", []byte(v1From("203.0.113.7")()), true, "", nil},
	} {
		from, v, err := introduce(&listener.Proxy{Trust: row.trust}, row.header, netip.AddrPort{})
		if !errors.Is(err, row.err) || err == nil && (v.certificate().Name != row.cn || from.String() != "203.0.113.7:4711") {
			t.Errorf("%s: %v %+v %v", row.name, from, v, err)
		}
	}
}
