package test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The addresses of this test: where the proxy connects from, and where its client does.
const (
	proxyAddress  = "127.0.0.9"
	clientAddress = "127.0.0.77"
	deniedAddress = "127.0.0.78"
)

// proxyMatrix is HAProxy in front of four listeners, and what it is told of each.
type proxyMatrix struct {
	t     *testing.T
	b     *testkit.Broker
	ca    *deviceCA
	front map[string]int // port of HAProxy by listener
	back  map[string]int // of the listener
}

var proxyServers = []struct{ listener, protocol, more, server, front string }{
	{"one", "mqtt", "", "send-proxy", ""},
	{"two", "mqtts", "", "send-proxy-v2 check-send-proxy check inter 200ms", ""},
	{"three", "mqtt", "", "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id", ""},
	{"names", "mqtt", "    proxy_tls: trust\n    authn: certificates\n", "send-proxy-v2-ssl-cn", "ssl crt %s ca-file %s verify optional"},
}

func newProxyMatrix(t *testing.T) *proxyMatrix {
	m := &proxyMatrix{t: t, ca: newDeviceCA(t, "devices behind a proxy"), front: map[string]int{}, back: map[string]int{}}
	m.ca.server()
	m.ca.issue("dev1")
	var pem []byte
	for _, file := range []string{"server.pem", "server.key"} {
		b, err := os.ReadFile(m.ca.path(file))
		if err != nil {
			t.Fatal(err)
		}
		pem = append(pem, b...)
	}
	testkit.WriteFile(t, m.ca.path("both.pem"), string(pem))
	listeners := ""
	conf := "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
	for _, s := range proxyServers {
		m.front[s.listener], m.back[s.listener] = testkit.FreePort(t), testkit.FreePort(t)
		listeners += fmt.Sprintf("  %s:\n    protocol: %s\n    bind: [\"127.0.0.1:%d\"]\n    proxy_protocol: required\n    proxy_sources: [%s/32]\n    access: [deny %s]\n%s",
			s.listener, s.protocol, m.back[s.listener], proxyAddress, deniedAddress, s.more)
		front := s.front
		if front != "" {
			front = fmt.Sprintf(front, m.ca.path("both.pem"), m.ca.path("ca.pem"))
		}
		conf += fmt.Sprintf("listen %s\n  bind 127.0.0.1:%d %s\n  unique-id-format %%{+X}o\\ %%ci:%%cp\n  source %s\n  server b 127.0.0.1:%d %s\n", s.listener, m.front[s.listener], front, proxyAddress, m.back[s.listener], s.server)
	}
	m.b = start(t, testkit.Options{Listeners: listeners, Config: "authn: {chains: {certificates: [x509]}}\n"})
	file := filepath.Join(testkit.TempDir(t), "haproxy.cfg")
	testkit.WriteFile(t, file, conf)
	p := testkit.Go(t, "", haproxyProgram(t), "-db", "-f", file)
	t.Cleanup(func() { p.Stop() })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.front["one"])); err == nil {
			_ = nc.Close()
			return m
		}
		if p.Ended() || time.Now().After(end) {
			t.Fatalf("HAProxy does not listen\n%s%s", p.Stdout, p.Stderr)
		}
	}
}

// haproxyProgram is where Debian has it, which no user's PATH names.
func haproxyProgram(t *testing.T) string {
	const program = "/usr/sbin/haproxy"
	if _, err := os.Stat(program); err != nil {
		t.Fatal("haproxy is not installed; run: sudo make deps")
	}
	return program
}

// from is a connection from this address to a port of this host.
func (m *proxyMatrix) from(address string, port int, secure *tls.Config) *wire {
	m.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	nc, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		m.t.Fatal(err)
	}
	if secure != nil {
		nc = tls.Client(nc, secure)
	}
	m.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return &wire{t: m.t, conn: nc, in: bufio.NewReader(nc), v: mqtt.V5}
}

// enters connects as dev1, with a password unless the certificate says who it is.
func (w *wire) enters(clientID string, withPassword bool) mqtt.ReasonCode {
	w.t.Helper()
	c := mqtt.Connect{Version: mqtt.V5, ClientID: clientID, CleanStart: true, KeepAlive: 60, ReceiveMaximum: 10}
	if withPassword {
		c.HasUsername, c.Username, c.HasPassword, c.Password = true, user, true, []byte(password)
	}
	w.send(c.Append(nil, mqtt.V5, 0))
	p := w.want(mqtt.CONNACK)
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
		w.t.Fatal(err)
	}
	return ack.Reason
}

// TestBehindHAProxy (A157): clients behind the proxy that most people have are themselves, in
// each version of its protocol, with TLS here, at the proxy, or nowhere; and who is no proxy
// says in vain that he is.
func TestBehindHAProxy(t *testing.T) {
	t.Parallel()
	m := newProxyMatrix(t)
	behind := &tls.Config{RootCAs: trust(t, m.b).RootCAs, ServerName: "localhost"}
	pair, err := tls.LoadX509KeyPair(m.ca.path("dev1.pem"), m.ca.path("dev1.key"))
	if err != nil {
		t.Fatal(err)
	}
	devices := x509.NewCertPool()
	devices.AddCert(m.ca.cert)
	shown := &tls.Config{RootCAs: devices, ServerName: "localhost", Certificates: []tls.Certificate{pair}}
	silent := &tls.Config{RootCAs: shown.RootCAs, ServerName: "localhost"}

	one := m.from(clientAddress, m.front["one"], nil)
	for _, row := range []struct {
		listener     string
		w            *wire
		withPassword bool
		want         mqtt.ReasonCode
	}{
		{"one", one, true, mqtt.Success},
		{"two", m.from(clientAddress, m.front["two"], behind), true, mqtt.Success},
		{"three", m.from(clientAddress, m.front["three"], nil), true, mqtt.Success},
		{"names", m.from(clientAddress, m.front["names"], shown), false, mqtt.Success},
		{"names", m.from(clientAddress, m.front["names"], silent), true, mqtt.BadUserNameOrPassword},
	} {
		if got := row.w.enters(row.listener, row.withPassword); got != row.want {
			t.Errorf("%s: %v, want %v\n%s", row.listener, got, row.want, m.b.Log())
		}
	}
	for _, s := range proxyServers {
		if at := rowsOf(t, m.b, "ip_address", "clients", "list", "--listener", s.listener, "--user", user); len(at) != 1 || at[clientAddress] != 1 {
			t.Errorf("%s: clients come from %v", s.listener, at)
		}
		m.from(deniedAddress, m.front[s.listener], map[string]*tls.Config{"two": behind, "names": shown}[s.listener]).isCut()
	}

	// A header of somebody who is no proxy, at a listener that has one and at one that has not.
	spoof := "PROXY TCP4 10.9.8.7 127.0.0.1 4711 1883\r\n"
	for _, port := range []int{m.back["one"], m.back["two"], m.b.Port} {
		w := m.from("127.0.0.1", port, nil)
		_, _ = w.conn.Write([]byte(spoof)) // it may be closed already
		w.isCut()
	}
	if strings.Contains(m.b.Log(), "10.9.8.7") {
		t.Errorf("a header from nowhere was believed:\n%s", m.b.Log())
	}
	one.wantAlive()

	// A rule that a reload brings is for who is connected, too.
	text, err := os.ReadFile(m.b.Config)
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, m.b.Config, strings.Replace(string(text), "deny "+deniedAddress, "deny "+clientAddress, 1))
	if r := m.b.Redoubt("", "reload"); r.Code != 0 || !strings.Contains(r.Stdout, "listeners.one.access") {
		t.Fatalf("reload: %d\n%s", r.Code, r.Text())
	}
	one.wantDisconnect(mqtt.NotAuthorized)
	if at := rowsOf(t, m.b, "listener", "clients", "list", "--user", user); len(at) != 3 || at["one"] != 0 {
		t.Errorf("after the reload there are clients at %v", at)
	}
}

// isCut expects that the connection ends without a packet.
func (w *wire) isCut() {
	w.t.Helper()
	b := make([]byte, 64)
	for {
		n, err := w.conn.Read(b)
		if n > 0 && b[0] != 0x15 { // a TLS alert
			w.t.Errorf("% x was answered", b[:n])
		}
		if err != nil {
			if strings.Contains(err.Error(), "timeout") {
				w.t.Error("it is still open")
			}
			return
		}
	}
}
