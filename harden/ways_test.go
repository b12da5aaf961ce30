package harden

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// behind is a listener that hears the proxies of these networks.
func behind(protocol string, sources ...string) config.Listener {
	return config.Listener{Protocol: protocol, ProxyProtocol: config.ProxyRequired, ProxySources: sources, ProxyTLS: config.ProxyTLSIgnore}
}

// where is an address for a listener of a protocol.
func where(t *testing.T, protocol string) string {
	if protocol == "unix" {
		return t.TempDir() + "/mqtt.sock"
	}
	return "127.0.0.1:0"
}

// text is a report with all its evidence.
func text(t *testing.T, rep *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// On QUIC, on a unix socket and behind a proxy a good broker passes the same rows by the same probes, and the
// evidence says which way they went.
func TestEveryWayToAGoodBroker(t *testing.T) {
	t.Parallel()
	for _, w := range []struct {
		protocol, scope, way string
		proxied              bool
	}{
		{"quic", "@udp:127.0.0.1:", "QUIC version 1", false},
		{"unix", "@unix:/", "the unix socket /", false},
		{"mqtts", "@127.0.0.1:", "a PROXY header of version 2 comes first", true},
		{"wss", "@127.0.0.1:", "a PROXY header of version 2 comes first", true},
		{"mqtt", "@127.0.0.1:", "a PROXY header of version 2 comes first", true},
	} {
		t.Run(w.protocol, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, flaws{})
			l := config.Listener{Protocol: w.protocol}
			if w.proxied {
				l = behind(w.protocol, "127.0.0.1/32")
			}
			f.config = map[string]config.Listener{"way": l}
			f.listen("way", w.protocol, where(t, w.protocol))
			for _, id := range []string{"P3.1", "P3.2", "P4.1", "P4.2", "P4.3", "P4.4"} {
				rep := examine(t, f.alone(f.env()), id)
				seen := false
				for _, r := range rep.Rows[0].Results {
					want := Pass
					switch {
					case id[:2] == "P3" && w.protocol == "unix", id == "P4.4" && w.protocol == "unix" && r.Scope != "node":
						want = NotApplicable
					case id[:2] == "P3" && w.protocol == "mqtt": // TLS ends at the proxy, and nobody says where
						want = Unknown
					}
					if strings.Contains(r.Scope, w.scope) {
						seen = true
						if id[:2] != "P3" || want == Pass {
							if !strings.Contains(observed(&r), w.way) {
								t.Errorf("%s %s does not say how it was seen: %s", id, r.Scope, observed(&r))
							}
						}
					}
					if r.State != want && r.State != NotApplicable || r.State == Pass && r.Confidence != Behavioural {
						t.Errorf("%s %s is %s, want %s: %s\n%s", id, r.Scope, r.State, want, r.Summary, observed(&r))
					}
				}
				if !seen {
					t.Errorf("%s did not look at %s: %s", id, w.scope, text(t, rep))
				}
			}
			if len(f.users) > 0 || len(f.banned) > 0 {
				t.Errorf("left behind: %d users, %d bans", len(f.users), len(f.banned))
			}
		})
	}
}

// What is wrong is found there as it is on TCP.
func TestEveryWayFindsFlaws(t *testing.T) {
	t.Parallel()
	for _, m := range []struct {
		protocol, row string
		flaws         flaws
		state         State
		want          string
	}{
		{"quic", "P4.1", flaws{everybody}, Fail, "no user name, no password: CONNACK 0x00"},
		{"quic", "P4.1", flaws{emptyPassword}, Fail, "a known user with an empty password: CONNACK 0x00"},
		{"quic", "P4.1", flaws{nobody}, Unknown, "(positive control)"},
		{"quic", "P4.1", flaws{closesOnly}, Unknown, "connection closed"},
		{"quic", "P4.2", flaws{deliversDenied}, Fail, "delivered: a watched topic/denied/0"},
		{"quic", "P4.2", flaws{freeShare}, Fail, "subscribe to $share/g/# without a grant: SUBACK 0x02"},
		{"quic", "P4.2", flaws{loses}, Unknown, "(positive control)"},
		{"quic", "P4.3", flaws{noLevels}, Fail, "publish to a topic of 5 levels: PUBACK"},
		{"quic", "P3.2", flaws{noHybrid}, Warn, "X25519 is chosen"},
		{"quic", "P3.2", flaws{loneP521}, Warn, "group P-521: accepted"},
		{"quic", "P3.2", flaws{takesEarlyData}, Fail, "(0-RTT), in a session that is resumed: accepted"},
		{"unix", "P4.1", flaws{everybody}, Fail, "no user name, no password: CONNACK 0x00"},
		{"unix", "P4.1", flaws{nobody}, Unknown, "(positive control)"},
		{"unix", "P4.2", flaws{acceptsDenied}, Fail, "at QoS 1 without a grant: PUBACK 0x00"},
		{"mqtts", "P4.1", flaws{noPassword}, Fail, "a known user without a password: CONNACK 0x00"},
		{"mqtts", "P4.2", flaws{freeSubscribe}, Fail, "subscribe to # without a grant: SUBACK 0x02"},
		{"mqtts", "P3.1", flaws{oldTLS}, Fail, "ServerHello for TLS 1.0"},
		{"mqtts", "P3.2", flaws{goCBC}, Fail, "CBC: accepts ECDHE-ECDSA-AES256-SHA"},
		{"mqtt", "P4.1", flaws{everybody}, Fail, "no user name, no password: CONNACK 0x00"},
	} {
		t.Run(m.protocol+"/"+m.row+"/"+string(m.flaws[0]), func(t *testing.T) {
			t.Parallel()
			fixture(m.row, "by "+m.protocol+": "+string(m.flaws[0]), m.state)
			f := newFake(t, m.flaws)
			l := behind(m.protocol, "127.0.0.1/32")
			if m.protocol == "quic" || m.protocol == "unix" {
				l = config.Listener{Protocol: m.protocol}
			}
			f.config = map[string]config.Listener{"way": l}
			f.listen("way", m.protocol, where(t, m.protocol))
			rep := examine(t, f.alone(f.env()), m.row)
			if out := text(t, rep); rep.Rows[0].State() != m.state || !strings.Contains(out, m.want) || strings.Contains(out, canary) {
				t.Errorf("%s, want %s and %q in\n%s", rep.Rows[0].State(), m.state, m.want, out)
			}
		})
	}
}

// forged answers the hellos of QUIC by hand: with what say makes of the datagram, after as many times as it says nothing.
func forged(t *testing.T, f *fake, say func(n int, to []byte) (frames []byte)) {
	t.Helper()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	f.opened(socket)
	f.listeners = append(f.listeners, ListenerReport{"way", socket.LocalAddr().String(), "quic"})
	f.config = map[string]config.Listener{"way": {Protocol: "quic"}}
	done := make(chan struct{})
	t.Cleanup(func() { _ = socket.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for n := 0; ; n++ {
			size, from, err := socket.ReadFromUDP(buf)
			if err != nil {
				return
			}
			kind, p, _, _, err := quicHeader(buf[:size])
			if err != nil || kind != quicInitialKind {
				continue
			}
			_, own, err := initialKeys(p.to)
			if err != nil {
				continue
			}
			if frames := say(n, p.to); frames != nil {
				answer := quicInitial{to: p.from, from: p.to, frames: frames}
				_, _ = socket.WriteToUDP(answer.seal(own), from)
			}
		}
	}()
}

// cryptoFrame carries a message of the handshake.
func cryptoFrame(message []byte) []byte {
	return append(appendVarint([]byte{6, 0}, uint64(len(message))), message...)
}

// A server of QUIC that answers what has to be refused, or nothing that can be believed, is never good.
func TestForgedQUIC(t *testing.T) {
	t.Parallel()
	refused := appendVarint([]byte{0x1c}, 0x100+alertProtocolVersion)
	refused = append(refused, 0, 0)
	for name, c := range map[string]struct {
		say   func(n int, to []byte) []byte
		state State
		want  string
	}{
		"speaks TLS 1.2": {func(int, []byte) []byte { return cryptoFrame(serverHelloOf(0xc02b, 0, false, 0)[5:]) }, Fail, "TLS 1.2 in supported_versions for localhost: ServerHello for TLS 1.2"},
		"speaks whatever it is asked for": {func(n int, _ []byte) []byte {
			if n == 0 {
				return cryptoFrame(serverHelloOf(0x1301, 0, true, 29)[5:])
			}
			return cryptoFrame(serverHelloOf(0xc02b, 0, false, 0)[5:])
		}, Fail, "ServerHello for TLS 1.2"},
		"refuses everybody": {func(int, []byte) []byte { return refused }, Unknown, "proves nothing: the positive control failed"},
		"says nothing":      {func(int, []byte) []byte { return nil }, Unknown, "silence"},
		"is full":           {func(int, []byte) []byte { return []byte{0x1c, 2, 0, 0} }, Unknown, "refused at the door"},
		"says nonsense":     {func(int, []byte) []byte { return []byte{0x1f, 0xff} }, Unknown, "not QUIC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P3.1", "QUIC that "+name, c.state)
			f := newFake(t, flaws{})
			forged(t, f, c.say)
			e := f.alone(f.env())
			if name == "says nothing" { // the others need not wait for it
				e.Step = 50 * time.Millisecond
			}
			rep := examine(t, e, "P3.1")
			if out := text(t, rep); rep.Rows[0].State() != c.state || !strings.Contains(out, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", rep.Rows[0].State(), c.state, c.want, out)
			}
		})
	}
}

// Whose certificates are judged on QUIC is tried as it is on TCP.
func TestCertificatesOnQUIC(t *testing.T) {
	t.Parallel()
	tried := []string{"good", "takes none for an answer", "asks for none"}
	for _, c := range deviceFlaws {
		if strings.Contains(c.name, "on one listener") || !slices.Contains(tried, c.name) && c.row != "P3.5" || c.row == "P3.5" && !slices.Contains([]State{Pass, Fail}, c.state) {
			continue
		}
		t.Run(c.row+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			r := newDeviceRig(t)
			c.change(r)
			r.listen("devices", "quic", "127.0.0.1:0")
			l := r.listener
			l.Protocol = config.ProtocolQUIC
			r.env.Config.Listeners = map[string]config.Listener{"devices": l}
			r.env.Config.Authn.Chains = map[string][]string{"devices": r.chain}
			rep := examine(t, r.alone(r.env), c.row)
			if got := rep.Rows[0].State(); got != c.state {
				t.Errorf("%s, want %s\n%s", got, c.state, text(t, rep))
			}
		})
	}
}

// The certificate that QUIC shows is judged like any.
func TestServerCertificatesOnQUIC(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *certRig)
		state  State
		want   string
	}{
		"good": {func(*certRig) {}, Pass, "certificate that is shown for probe.plant.example"},
		"another one in the file": {func(r *certRig) {
			served := r.pair
			r.issue(nil)
			r.serve(served)
		}, Fail, "which no file has"},
		"a name that nobody uses": {func(r *certRig) {
			r.listener.Advertised = []string{"mqtt.example:1"} // of which the port is set below
		}, Fail, "clients that connect to mqtt.example refuse it"},
		"without its issuer": {func(r *certRig) {
			short := r.pair
			short.Certificate = short.Certificate[:1]
			r.serve(short)
		}, Fail, "the chain behind it is another one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCertRig(t)
			c.change(r)
			r.listener.Protocol = config.ProtocolQUIC
			at := r.listen("way", "quic", "127.0.0.1:0")
			for i, a := range r.listener.Advertised {
				r.listener.Advertised[i] = strings.TrimSuffix(a, "1") + at.String()[strings.LastIndex(at.String(), ":")+1:]
			}
			r.config = map[string]config.Listener{"way": r.listener}
			e := r.alone(r.env())
			e.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			rep := examine(t, e, "P3.3")
			if out := text(t, rep); rep.Rows[0].State() != c.state || !strings.Contains(out, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", rep.Rows[0].State(), c.state, c.want, out)
			}
		})
	}
}

// relay is a balancer: it takes connections and passes them on from an address of its own, with a header.
func relay(t *testing.T, from, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	open := make(chan net.Conn, 1000)
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for len(open) > 0 {
			_ = (<-open).Close()
		}
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			far, err := d.Dial("tcp", to)
			if err != nil || announceClient(far, "") != nil {
				_ = c.Close()
				continue
			}
			open <- c
			open <- far
			go func() { _, _ = io.Copy(far, c); _ = far.(*net.TCPConn).CloseWrite() }()
			go func() { _, _ = io.Copy(c, far); _ = c.Close(); _ = far.Close() }()
		}
	}()
	return l.Addr().String()
}

// A listener that hears its proxies only is judged by their way, if there is one from here, and otherwise not at all.
func TestWhoIsNoProxyGoesTheirWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flaws      flaws
		advertised bool
		states     map[string]State
		want       string
	}{
		"by the balancer":          {flaws{}, true, map[string]State{"P1.4": Pass, "P3.1": Pass, "P4.1": Pass}, "the row is judged at advertised:"},
		"an open balancer":         {flaws{everybody}, true, map[string]State{"P4.1": Fail}, "no user name, no password: CONNACK 0x00"},
		"nobody says where":        {flaws{}, false, map[string]State{"P1.4": Unknown, "P3.1": Unknown, "P3.3": Unknown, "P4.1": Unknown, "P4.2": Unknown}, ".advertised"},
		"anybody is believed":      {flaws{believesAnybody}, true, map[string]State{"P1.4": Fail}, "from an address that is in no network of proxy_sources"},
		"anybody, and nobody asks": {flaws{believesAnybody}, false, map[string]State{"P1.4": Fail, "P4.1": Unknown}, "proxy_sources"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, c.flaws)
			l := behind("mqtts", "127.9.0.9/32")
			f.config = map[string]config.Listener{"far": l}
			at := f.listen("far", "mqtts", "127.0.0.1:0")
			if c.advertised {
				l.Advertised = []string{relay(t, "127.9.0.9", at.String())}
			}
			f.mu.Lock()
			f.config["far"] = l
			f.mu.Unlock()
			for id, want := range c.states {
				rep := examine(t, f.alone(f.env()), id)
				if id == "P1.4" {
					rep.Rows[0].Results = slices.DeleteFunc(rep.Rows[0].Results, func(r Result) bool { return r.Key == "" })
				}
				if out := text(t, rep); rep.Rows[0].State() != want || !strings.Contains(out, c.want) && id != "P3.1" && (id != "P1.4" || want == Fail) {
					t.Errorf("%s is %s, want %s and %q in\n%s", id, rep.Rows[0].State(), want, c.want, out)
				}
			}
		})
	}
}

// Row P1.4 looks whether a listener that believes proxies believes others, too.
func TestProxiesAreTheOnlyOnesHeard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flaws flaws
		state State
		want  string
	}{
		"good":                   {flaws{}, Pass, "from our own address, which is in proxy_sources (positive control): ServerHello"},
		"anybody is believed":    {flaws{believesAnybody}, Fail, "from 127.2.0.2, which is in no network of proxy_sources: ServerHello"},
		"a header is not needed": {flaws{needsNoHeader}, Fail, "without a PROXY header: ServerHello"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, c.flaws)
			f.config = map[string]config.Listener{"near": behind("mqtts", "127.0.0.1/32")}
			f.listen("near", "mqtts", "127.0.0.1:0")
			for _, r := range examine(t, f.alone(f.env()), "P1.4").Rows[0].Results {
				if strings.HasPrefix(r.Scope, "proxies:") != (r.Key == "listeners.near.proxy_sources") {
					t.Errorf("%s is waived by %s", r.Scope, r.Key)
				}
				if strings.HasPrefix(r.Scope, "proxies:") && (r.State != c.state || !strings.Contains(observed(&r), c.want)) {
					t.Errorf("%s, want %s and %q in\n%s", r.State, c.state, c.want, observed(&r))
				}
			}
		})
	}
}

// Where a proxy is believed about certificates, the probes come as one that vouches for them.
func TestAProxyThatVouches(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	l := behind("mqtt", "127.0.0.1/32")
	l.ProxyTLS, l.Authn = config.ProxyTLSTrust, "certificates"
	f.config = map[string]config.Listener{"devices": l}
	f.listen("devices", "mqtt", "127.0.0.1:0")
	for id, want := range map[string]State{"P4.1": NotApplicable, "P4.2": Pass, "P3.4": Unknown, "P3.5": Unknown} {
		e := f.alone(f.env())
		e.Config.Authn.Chains = map[string][]string{"certificates": {"x509"}}
		if rep := examine(t, e, id); rep.Rows[0].State() != want {
			t.Errorf("%s is %s, want %s\n%s", id, rep.Rows[0].State(), want, text(t, rep))
		}
	}
}

// A conversation of QUIC that ended is a conversation that ended.
func TestEndsOfQUIC(t *testing.T) {
	if got := plainQUIC(nil); got != nil {
		t.Error(got)
	}
	if got := quicFailed(io.ErrClosedPipe); !errors.Is(got, io.ErrClosedPipe) {
		t.Error(got)
	}
	for _, n := range []uint64{0, 63, 64, 16383, 16384, 1<<30 - 1, 1 << 30, 1<<62 - 1} {
		b := appendVarint(nil, n)
		if got, used := varint(b); got != n || used != len(b) {
			t.Errorf("%d is read as %d", n, got)
		}
		if _, used := varint(b[:len(b)-1]); used != 0 {
			t.Errorf("a part of %d is a number", n)
		}
	}
}
