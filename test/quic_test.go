package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	xquic "golang.org/x/net/quic"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// greeted is a client that was answered.
type greeted interface {
	io.Closer
	ConnectionState() tls.ConnectionState
}

// quicClient is one on QUIC.
type quicClient struct {
	*quic.Stream
	conn    *quic.Conn
	carrier *quic.Transport
}

func (c *quicClient) ConnectionState() tls.ConnectionState { return c.conn.ConnectionState().TLS }

func (c *quicClient) Close() error {
	_ = c.conn.CloseWithError(0, "")
	_ = c.carrier.Close()
	return c.carrier.Conn.Close()
}

// dialQUIC connects from an address and opens the stream.
func dialQUIC(from net.IP, port int, conf *tls.Config) (*quicClient, error) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: from})
	if err != nil {
		return nil, err
	}
	c := &quicClient{carrier: &quic.Transport{Conn: socket}}
	conf = conf.Clone()
	conf.NextProtos, conf.MaxVersion = []string{"mqtt"}, 0
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if c.conn, err = c.carrier.Dial(ctx, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, conf, nil); err == nil {
		c.Stream, err = c.conn.OpenStream()
	}
	if err != nil {
		_ = c.carrier.Close()
		_ = socket.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, nil
}

// greetsQUIC is greets on QUIC.
func (d door) greetsQUIC(from net.IP, conf *tls.Config) (greeted, error) {
	c, err := dialQUIC(from, d.port, conf)
	if err != nil {
		return nil, err
	}
	hello := connectOf(mqtt.V5, "greets", func(c *mqtt.Connect) {
		c.HasUsername, c.HasPassword, c.Username, c.Password = false, false, "", nil
	})
	if _, err = c.Write(hello); err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// newQUIC is a broker that serves QUIC, QUIC with certificates of clients, and a unix
// socket.
func newQUIC(t *testing.T, servers *serverCA, devices *deviceCA) (b *testkit.Broker, open, closed int, socket string) {
	t.Helper()
	open, closed, socket = testkit.FreePort(t), testkit.FreePort(t), testkit.TempDir(t)+"/mqtt.sock"
	certs := fmt.Sprintf("certificates: [{cert: %s, key: \"file:%s\"}]", servers.path("server.pem"), servers.path("server.key"))
	b = testkit.Start(t, testkit.Options{
		Users: testkit.Users(t, "alice", "wonderland-7-rabbits"),
		Listeners: fmt.Sprintf("  udp: {protocol: quic, bind: [\"127.0.0.1:%d\"], tls: {%s}}\n", open, certs) +
			fmt.Sprintf("  must: {protocol: quic, bind: [\"127.0.0.1:%d\"], authn: certificates, tls: {%s, client_cert: required, client_ca: [%s], crl: {files: [%s]}}}\n", closed, certs, devices.path("ca.pem"), devices.path("crl.pem")) +
			fmt.Sprintf("  local: {protocol: unix, bind: [%s]}\n", socket),
		Config: "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
	return b, open, closed, socket
}

// leaf writes a server certificate into the files that the listeners read.
func (ca *serverCA) leaf(t *testing.T) *x509.Certificate {
	key := ecKey(t)
	x := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public())
	ca.writeKey("server.key", key)
	ca.write("server.pem", "CERTIFICATE", x.Raw)
	return x
}

// TestQUICAndUnixEndToEnd is the program as a person meets it: its own client and those of
// others on QUIC and on a unix socket, new certificates while a connection lives, and the
// end of one whose certificate was revoked.
func TestQUICAndUnixEndToEnd(t *testing.T) {
	t.Parallel()
	servers, devices := newServerCA(t, "servers"), newDeviceCA(t, "devices")
	first := servers.leaf(t)
	devices.revoke()
	key := sure(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	device := devices.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "dev-1"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key.Public(), nil)
	b, open, closed, socket := newQUIC(t, servers, devices)
	roots := x509.NewCertPool()
	roots.AddCert(servers.cert)
	conf := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	who := []string{"-u", "alice", "-P", "wonderland-7-rabbits", "-t", "devices/alice/x", "-q", "1"}
	at := []string{"-h", "localhost", "-p", fmt.Sprint(open), "--protocol", "quic", "--cafile", servers.path("ca.pem")}
	must(t, b, append(append([]string{"pub"}, at...), append(who, "-r", "-m", "by QUIC")...)...)
	if got := must(t, b, append([]string{"sub", "--unix", socket, "-C", "1"}, who...)...); !strings.Contains(got, "by QUIC") {
		t.Errorf("our client on the unix socket got %q", got)
	}
	r := testkit.Exec(t, patience, "", append([]string{testkit.Need(t, "mosquitto_sub"), "--unix", socket, "-C", "1"}, who...)...)
	if r.Code != 0 || !strings.Contains(r.Stdout, "by QUIC") {
		t.Errorf("mosquitto_sub: %d %s", r.Code, r.Text())
	}
	if log := b.Stderr.String(); !strings.Contains(log, "a process connected to a socket file") {
		t.Errorf("the log does not say who connected to the socket file\n%s", log)
	}

	live, err := dialQUIC(net.IPv4(127, 0, 0, 1), closed, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{{Certificate: [][]byte{device}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	speak(t, live, connectOf(mqtt.V5, "live", func(c *mqtt.Connect) {
		c.HasUsername, c.HasPassword, c.Username, c.Password = false, false, "", nil
	}), mqtt.CONNACK)
	if got := must(t, b, "clients", "list"); !strings.Contains(got, "live") {
		t.Errorf("the list of clients is %q", got)
	}

	foreignQUIC(t, open, conf)

	second := servers.leaf(t)
	must(t, b, "reload")
	newer, err := dialQUIC(net.IPv4(127, 0, 0, 1), open, conf)
	if err != nil {
		t.Fatal(err)
	}
	if shown := newer.ConnectionState().PeerCertificates[0]; shown.Equal(first) || !shown.Equal(second) {
		t.Error("a new connection is shown the old certificate")
	}
	_ = newer.Close()
	speak(t, live, []byte{0xC0, 0}, mqtt.PINGRESP)

	devices.revoke(sure(x509.ParseCertificate(device)))
	must(t, b, "reload")
	_ = live.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(live)
	if err != nil && len(said) == 0 || len(said) == 0 || said[0] != 0xE0 {
		t.Errorf("a live connection outlives its certificate: % x, %v", said, err)
	}
}

// foreignQUIC speaks MQTT with a QUIC that is not the broker's.
func foreignQUIC(t *testing.T, port int, conf *tls.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := xquic.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(ctx)
	conf = conf.Clone()
	conf.NextProtos, conf.MinVersion = []string{"mqtt"}, tls.VersionTLS13
	c, err := e.Dial(ctx, "udp", fmt.Sprintf("127.0.0.1:%d", port), &xquic.Config{TLSConfig: conf})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.SetReadContext(ctx)
	s.SetWriteContext(ctx)
	both := flushing{s}
	speak(t, both, connectOf(mqtt.V5, "foreign", func(c *mqtt.Connect) { c.Username, c.Password = "alice", []byte("wonderland-7-rabbits") }), mqtt.CONNACK)
	sub := mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "devices/alice/x"}}}
	speak(t, both, sub.Append(nil, mqtt.V5, 0), mqtt.SUBACK)
	speak(t, both, nil, mqtt.PUBLISH) // the retained one
	p := mqtt.Publish{Topic: []byte("devices/alice/x"), Payload: []byte("from afar")}
	speak(t, both, p.Append(nil, mqtt.V5), mqtt.PUBLISH)
	_ = c.Close()
}

// flushing sends each write at once.
type flushing struct{ *xquic.Stream }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Stream.Write(b)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}

// speak writes and expects a packet of this type.
func speak(t *testing.T, c io.ReadWriter, b []byte, want mqtt.Type) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	if mqtt.Type(head[0]>>4) != want {
		t.Fatalf("got % x, want %v", head, want)
	}
	if _, err := io.ReadFull(c, make([]byte, head[1])); err != nil {
		t.Fatal(err)
	}
}
