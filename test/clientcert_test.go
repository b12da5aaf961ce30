package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// deviceCA is a CA of clients with its revocation list, as an operator would have them.
type deviceCA struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newDeviceCA(t *testing.T, name string) *deviceCA {
	t.Helper()
	ca := &deviceCA{t: t, dir: testkit.TempDir(t), n: 1}
	ca.cert, ca.key = ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
	ca.write("ca.pem", "CERTIFICATE", ca.cert.Raw)
	ca.revoke()
	return ca
}

func (ca *deviceCA) path(name string) string { return filepath.Join(ca.dir, name) }

func (ca *deviceCA) write(name, kind string, der []byte) {
	ca.t.Helper()
	testkit.WriteFile(ca.t, ca.path(name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func (ca *deviceCA) sign(tmpl *x509.Certificate, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.n++
	tmpl.SerialNumber, tmpl.BasicConstraintsValid = big.NewInt(ca.n), true
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	signer := ca.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return x, key
}

// issue makes NAME.pem and NAME.key of a device.
func (ca *deviceCA) issue(name string) *x509.Certificate {
	ca.t.Helper()
	x, key := ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(name+".pem", "CERTIFICATE", x.Raw)
	ca.write(name+".key", "PRIVATE KEY", der)
	return x
}

// server makes server.pem and server.key, of a listener.
func (ca *deviceCA) server() *x509.Certificate {
	ca.t.Helper()
	x, key := ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write("server.key", "PRIVATE KEY", der)
	ca.write("server.pem", "CERTIFICATE", x.Raw)
	return x
}

// revoke writes a new list.
func (ca *deviceCA) revoke(certs ...*x509.Certificate) {
	ca.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.cert, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write("crl.pem", "X509 CRL", der)
}

// newMTLS is a broker with that CA on mqtts and wss. The file kept is the one of both.
func newMTLS(t *testing.T, ca *deviceCA) *testkit.Broker {
	t.Helper()
	return newMTLSWith(t, ca, fmt.Sprintf("      crl: {files: [%s]}\n", ca.path("crl.pem")))
}

// newMTLSWith is newMTLS with other keys of tls, which are lines.
func newMTLSWith(t *testing.T, ca *deviceCA, keys string) *testkit.Broker {
	t.Helper()
	section := fmt.Sprintf("    authn: certificates\n    tls:\n      client_cert: required\n      client_ca: [%s]\n%s", ca.path("ca.pem"), keys)
	return testkit.Start(t, testkit.Options{
		Listeners: fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n%s  browsers:\n    protocol: wss\n    bind: [\"127.0.0.1:%d\"]\n%s", testkit.FreePort(t), section, testkit.FreePort(t), section),
		Config:    "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
}

// entrance is the port of a listener.
func entrance(t *testing.T, b *testkit.Broker, name string) int {
	t.Helper()
	text, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "  "+name+":")
	_, rest, _ = strings.Cut(rest, "127.0.0.1:")
	var n int
	if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// shows are the flags of a mosquitto program that shows a certificate; "": none.
func (ca *deviceCA) shows(b *testkit.Broker, name string) []string {
	argv := []string{"-h", "localhost", "-p", fmt.Sprint(entrance(ca.t, b, "devices")), "--cafile", b.CA(), "-V", "mqttv5"}
	if name != "" {
		argv = append(argv, "--cert", ca.path(name+".pem"), "--key", ca.path(name+".key"))
	}
	return argv
}

// webClient is connected over a WebSocket.
func webClient(t *testing.T, port int, conf *tls.Config) *tls.Conn {
	t.Helper()
	conf = conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", port), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	connect := (&mqtt.Connect{Version: mqtt.V5, ClientID: "web", CleanStart: true, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0)
	_, _ = c.Write([]byte(upgradeRequest + "\r\n"))
	var answer []byte
	for buf := make([]byte, 1); !strings.HasSuffix(string(answer), "\r\n\r\n"); answer = append(answer, buf...) {
		if _, err := c.Read(buf); err != nil {
			t.Fatalf("%v after %q", err, answer)
		}
	}
	_, _ = c.Write(frameOf(0x82, connect))
	in := make([]byte, 4) // a frame's head and CONNACK's first two bytes
	if _, err := io.ReadFull(c, in); err != nil || in[2] != 0x20 {
		t.Fatalf("% x, %v", in, err)
	}
	return c
}

// TestADeviceWithACertificate (P3.4, P3.5, S-02): a device is who its certificate says,
// another's or none is refused in words, and one that is revoked is out at once, on each
// kind of listener, and does not come back.
func TestADeviceWithACertificate(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "mosquitto_pub")
	ca, other := newDeviceCA(t, "devices"), newDeviceCA(t, "others")
	lost, kept := ca.issue("dev-lost"), ca.issue("dev-kept")
	other.issue("dev-other")
	b := newMTLS(t, ca)

	if line, ok := b.Stdout.WaitFor(patience, 0, "devices", "clients need a certificate"); !ok {
		t.Errorf("the start does not say that a certificate is needed: %s\n%s", line, b.Stdout)
	}
	live := testkit.Go(t, "", append([]string{"stdbuf", "-oL", "mosquitto_sub", "-d", "-t", "devices/dev-lost/#", "-F", "got %t %p", "-i", "live"}, ca.shows(b, "dev-lost")...)...)
	if _, ok := live.Stdout.WaitFor(patience, 0, "Subscribed (mid"); !ok {
		t.Fatalf("%s%s\n%s", live.Stdout, live.Stderr, b.Log())
	}
	say := func(who *deviceCA, name, topic string) testkit.Run {
		return testkit.Exec(t, patience, "", append([]string{"mosquitto_pub", "-q", "1", "-t", topic, "-m", "x"}, who.shows(b, name)...)...)
	}
	if r := say(ca, "dev-lost", "devices/dev-lost/a"); r.Code != 0 {
		t.Fatalf("%s\n%s", r.Text(), b.Log())
	}
	got(t, live, "devices/dev-lost/a x")
	if shown := must(t, b, "clients", "show", "live"); !strings.Contains(shown, "TLS 1.3 TLS_A") || !strings.Contains(shown, "X25519") {
		t.Errorf("nothing says what its TLS has agreed on:\n%s", shown)
	}
	if page := pageOf(t, b); page[`redoubt_tls_versions_total{version="1.3"}`] < 2 || page[`redoubt_tls_versions_total{version="1.3"}`] != page["redoubt_tls_handshakes_total"] ||
		page[`redoubt_tls_groups_total{group="X25519"}`]+page[`redoubt_tls_groups_total{group="X25519MLKEM768"}`] != page["redoubt_tls_handshakes_total"] {
		t.Error("handshakes are not counted by what was agreed on")
	}
	if s := must(t, b, "status"); !strings.Contains(s, "(mqtts, clients need a certificate)") {
		t.Errorf("status does not say that a certificate is needed:\n%s", s)
	}
	for what, row := range map[string]struct {
		who         *deviceCA
		name, topic string
		log         string
	}{
		"none":             {ca, "", "devices/dev-lost/a", "has shown no certificate"},
		"of another CA":    {other, "dev-other", "devices/dev-other/a", "was not issued by a CA of client_ca"},
		"somebody's topic": {ca, "dev-kept", "devices/dev-lost/a", "devices/dev-lost/a"},
	} {
		from := b.Stderr.Len()
		if r := say(row.who, row.name, row.topic); r.Code == 0 && !strings.Contains(r.Text(), "Not authorized") {
			t.Errorf("%s: accepted\n%s", what, r.Text())
		}
		if _, ok := b.Stderr.WaitFor(patience, from, row.log); !ok {
			t.Errorf("%s: the log does not say %q\n%s", what, row.log, b.Stderr)
		}
	}

	// Over a WebSocket, with a session ticket for later.
	conf := &tls.Config{RootCAs: trust(t, b).RootCAs, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	pair, err := tls.LoadX509KeyPair(ca.path("dev-lost.pem"), ca.path("dev-lost.key"))
	if err != nil {
		t.Fatal(err)
	}
	conf.Certificates = []tls.Certificate{pair}
	direct := func() (*tls.Conn, error) {
		c, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", entrance(t, b, "devices")), conf)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Write((&mqtt.Connect{Version: mqtt.V5, ClientID: "direct", CleanStart: true, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0))
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // in TLS 1.3 only this tells whether we are in
		}
		return c, err
	}
	first, err := direct()
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	_ = first.Close()
	again, err := direct()
	if err != nil || !again.ConnectionState().DidResume {
		t.Fatalf("%v, resumed %v", err, again != nil && again.ConnectionState().DidResume)
	}
	web := webClient(t, entrance(t, b, "browsers"), conf)

	ca.revoke(lost)
	from := b.Stderr.Len()
	if r := b.Redoubt("", "reload"); r.Code != 0 {
		t.Fatal(r.Text())
	}
	for _, c := range []interface {
		SetDeadline(time.Time) error
		Read([]byte) (int, error)
	}{again, web} {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var err error
		for buf := make([]byte, 256); err == nil; {
			_, err = c.Read(buf)
		}
		if os.IsTimeout(err) {
			t.Error("a live connection of a revoked certificate is still there after 10 s")
		}
	}
	if _, ok := b.Stderr.WaitFor(patience, from, "was revoked by its issuer", `"client_id":"`); !ok {
		t.Errorf("the log does not say why\n%s", b.Stderr)
	}
	live.Wait(patience) // mosquitto_sub ends when it was refused, which it is when it comes back
	if _, err := direct(); err == nil {
		t.Error("a session ticket outlives the revocation")
	}
	if r := say(ca, "dev-lost", "devices/dev-lost/a"); r.Code == 0 {
		t.Errorf("a revoked certificate is accepted\n%s", r.Text())
	}
	if r := say(ca, "dev-kept", "devices/dev-kept/a"); r.Code != 0 {
		t.Errorf("%s: %s\n%s", kept.Subject, r.Text(), b.Log())
	}
}

// TestFilesOfAListenerAreWatched (P3.3, P3.5): a renewed certificate and a new revocation
// list are in use without a word to the broker and without a disconnect; what is refused
// changes nothing.
func TestFilesOfAListenerAreWatched(t *testing.T) {
	t.Parallel()
	ca := newDeviceCA(t, "everything")
	first := ca.server()
	gone, stays, early := ca.issue("gone"), ca.issue("stays"), ca.issue("early")
	port := testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{
		Listeners: fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    authn: certificates\n    tls:\n      certificates: [{cert: %s, key: \"file:%s\"}]\n      client_cert: required\n      client_ca: [%s]\n      crl: {files: [%s]}\n",
			port, ca.path("server.pem"), ca.path("server.key"), ca.path("ca.pem"), ca.path("crl.pem")),
		Config: "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	clients := 0
	enter := func(name string) *tls.Conn {
		t.Helper()
		clients++
		pair, err := tls.LoadX509KeyPair(ca.path(name+".pem"), ca.path(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", port), &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatalf("%v\n%s", err, b.Log())
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write((&mqtt.Connect{Version: mqtt.V5, ClientID: fmt.Sprint(clients), CleanStart: true, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0))
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Fatalf("%v\n%s", err, b.Log())
		}
		return c
	}
	ping := func(c *tls.Conn) error {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err := c.Write([]byte{0xc0, 0})
		if err == nil {
			_, err = c.Read(make([]byte, 2))
		}
		return err
	}
	serves := func() *big.Int { return enter("stays").ConnectionState().PeerCertificates[0].SerialNumber }
	live := []*tls.Conn{enter("gone"), enter("stays")}
	if serves().Cmp(first.SerialNumber) != 0 {
		t.Fatal("the first certificate is not served")
	}

	from := b.Stderr.Len()
	second := ca.server()
	if _, ok := b.Stderr.WaitFor(5*time.Second, from, "files of a listener were read again"); !ok {
		t.Fatalf("not within 5 s\n%s", b.Log())
	}
	if serves().Cmp(second.SerialNumber) != 0 {
		t.Error("the second certificate is not served")
	}

	from = b.Stderr.Len()
	testkit.WriteFile(t, ca.path("server.pem"), "-----BEGIN NONSENSE-----\n")
	if _, ok := b.Stderr.WaitFor(5*time.Second, from, "are refused; it goes on with what it had"); !ok {
		t.Errorf("a bad file is not refused in words\n%s", b.Stderr)
	}
	if serves().Cmp(second.SerialNumber) != 0 {
		t.Error("a bad file is not without effect")
	}
	for i, c := range live {
		if err := ping(c); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}

	out := func(c *tls.Conn, when string) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var err error
		for buf := make([]byte, 100); err == nil; {
			_, err = c.Read(buf)
		}
		if os.IsTimeout(err) {
			t.Errorf("a revoked client is there after 10 s: %s\n%s", when, b.Log())
		}
	}
	waits := enter("early")
	ca.revoke(early)
	out(waits, "while the server's certificate is refused")

	ca.server()
	ca.revoke(early, gone)
	out(live[0], "everything is good")
	if err := ping(live[1]); err != nil {
		t.Errorf("%s: %v", stays.Subject, err)
	}
}
