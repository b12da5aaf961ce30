package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// tlsRow is something that is shown in the handshake, and must not get in.
type tlsRow struct {
	id    string
	asked bool // at the doors that ask for certificates only
	shows func() tls.Certificate
	with  func(*tls.Config)
	said  string // in the log; empty: nothing is said of it
}

// besiegeTLS is a siege whose broker has two more doors, where a certificate of ca is
// required.
func besiegeTLS(t *testing.T, ca *deviceCA) *siege {
	t.Helper()
	mqtts, wss := testkit.FreePort(t), testkit.FreePort(t)
	asks := fmt.Sprintf("    authn: certificates\n    tls: {client_cert: required, client_ca: [%s], crl: {files: [%s]}}\n", ca.path("ca.pem"), ca.path("crl.pem"))
	s := besiege(t, testkit.Options{
		Listeners: fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n%s  browsers:\n    protocol: wss\n    bind: [\"127.0.0.1:%d\"]\n%s", mqtts, asks, wss, asks),
		Config:    "authn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
	web := trust(t, s.b)
	web.NextProtos = []string{"http/1.1"}
	s.doors = append(s.doors, door{name: "mqtts that asks", port: mqtts, tls: trust(t, s.b), no: 5}, door{name: "wss that asks", port: wss, tls: web, web: true, no: 6})
	return s
}

// asks tells whether a door wants a certificate.
func (d door) asks() bool { return strings.HasSuffix(d.name, "asks") }

// greets goes through a handshake and says CONNECT, or asks for a WebSocket. Only the first
// byte that is read tells whether it is in: in TLS 1.3 the client is done before the broker
// has judged it.
func (d door) greets(from net.IP, conf *tls.Config) (greeted, error) {
	if d.quic {
		return d.greetsQUIC(from, conf)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
	conn, err := dialer.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", d.port))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	secured := tls.Client(conn, conf)
	hello := connectOf(mqtt.V5, "greets", func(c *mqtt.Connect) {
		if d.asks() {
			c.HasUsername, c.HasPassword, c.Username, c.Password = false, false, "", nil
		}
	})
	if d.web {
		hello = []byte(upgradeRequest + "\r\n")
	}
	if _, err = secured.Write(hello); err == nil {
		_, err = io.ReadFull(secured, make([]byte, 1))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// TestTLSAttackRows shows what no listener may accept, at every door with TLS, and each
// time what differs in that only and gets in.
func TestTLSAttackRows(t *testing.T) {
	t.Parallel()
	ca, other := newDeviceCA(t, "devices"), newDeviceCA(t, "others")
	s := besiegeTLS(t, ca)
	defer s.report(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	show := func(chain ...[]byte) func() tls.Certificate {
		return func() tls.Certificate { return tls.Certificate{Certificate: chain, PrivateKey: key} }
	}
	device := &x509.Certificate{Subject: pkix.Name{CommonName: "dev-1"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	sub := &x509.Certificate{Subject: pkix.Name{CommonName: "field CA"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	good := ca.certify(device, key.Public(), nil)
	rows := []tlsRow{
		{id: "A131 a DSA key", asked: true, shows: show(ca.certify(device, dsaKey, nil)), said: "kind or size"},
		{id: "A131 a key of no known kind", asked: true, shows: show(ca.certify(device, unknownKey, nil)), said: "kind or size"},
		{id: "A131 a DSA key of a CA between", asked: true, shows: show(ca.certify(device, key.Public(), ca.authority(sub, nil)), ca.certify(sub, dsaKey, nil)), said: "was not issued by a CA of client_ca"},
		{id: "A135 an RSA key of 16,384 bits", asked: true, shows: show(ca.certify(device, hugeKey, nil)), said: "kind or size"},
		{id: "A135 an RSA key of 16,384 bits of a CA between", asked: true, shows: show(good, ca.certify(sub, hugeKey, nil)), said: "kind or size"},
		{id: "A129 10,000 names", asked: true, shows: show(ca.certify(withNames(device, 10_000), key.Public(), nil)), said: "the most is 32768"},
		{id: "A130 3,000 names and as many constraints", asked: true, shows: show(hostileChain(ca, device, sub, 3000, key)...), said: "the most is 32768"},
		{id: "A130 1,000 of both, of another CA", asked: true, shows: show(hostileChain(other, device, sub, 600, key)...), said: "was not issued by a CA of client_ca"},
		{id: "D-05 a chain of 100 certificates", asked: true, shows: show(repeat(good, 100)...), said: "the most is"},
		{id: "D-05 six CAs of one name", asked: true, shows: show(good, sameName(other, 1), sameName(other, 2), sameName(other, 3), sameName(other, 4), sameName(other, 5)), said: "two certificates of the CA"},
		{id: "D-05 a certificate that is none", asked: true, shows: show([]byte("\x30\x82\xff\xff nonsense")), said: "cannot be read"},
		{id: "A142 another service's ALPN", with: func(c *tls.Config) { c.NextProtos = []string{"h2", "acme-tls/1"} }, said: "asks for other protocols"},
		{id: "D-05 ALPN junk", with: func(c *tls.Config) { c.NextProtos = []string{strings.Repeat("x", 255), "\x00"} }, said: "asks for other protocols"},
		{id: "D-05 a server name with NUL", with: func(c *tls.Config) { c.ServerName = "localhost\x00.evil.example" }, said: "the handshake failed"},
		{id: "A141 TLS 1.1", with: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, said: "share no TLS version"},
		{id: "A141 suites with CBC", with: func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
		}, said: "share no TLS version"},
	}
	for i, row := range rows {
		for _, d := range s.doors {
			if d.tls == nil || row.asked && !d.asks() {
				continue
			}
			t.Run(row.id+" "+d.name, func(t *testing.T) { s.showing(t, i, row, d, good, key) })
		}
	}
	for _, d := range s.doors {
		if d.tls != nil {
			t.Run("D-05 renegotiation "+d.name, func(t *testing.T) { s.renegotiates(t, d, ca, good, key) })
			t.Run("D-05 tickets "+d.name, func(t *testing.T) { s.resumes(t, d, good, key) })
		}
	}
	t.Run("A127 resumed after its CA was taken out", func(t *testing.T) { s.resumesWithout(t, ca, other, good, key) })
}

// showing tries one row at one door in both versions.
func (s *siege) showing(t *testing.T, no int, row tlsRow, d door, good []byte, key *ecdsa.PrivateKey) {
	m := s.mark(t)
	const times = 3
	tried := 0
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := d.tls.Clone()
		conf.MaxVersion, conf.InsecureSkipVerify = version, true // the server is not what is tried here
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{good}, PrivateKey: key}}
		from := source(no, d, int(version-tls.VersionTLS12))
		c, err := d.greets(from, conf)
		if err != nil {
			t.Fatalf("what differs in that only does not get in: %v\n%s", err, s.b.Stderr.String()[m.log:])
		}
		_ = c.Close()
		if row.with != nil {
			row.with(conf)
		}
		if row.shows != nil {
			conf.Certificates = nil
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				c := row.shows()
				return &c, nil
			}
		}
		for range times {
			tried++
			if c, err := d.greets(from, conf); err == nil {
				_ = c.Close()
				t.Errorf("%s: it gets in", tls.VersionName(version))
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: it is not closed", tls.VersionName(version))
			}
		}
	}
	s.held(t, m, row.id+" "+d.name, tried, handshakesFailed, []string{row.said}, source(no, d, 0))
}

// handshakesFailed is the series of handshakes that the broker ended.
var handshakesFailed = []string{
	`redoubt_tls_handshakes_failed_total{reason="client_certificate"}`, `redoubt_tls_handshakes_failed_total{reason="other"}`, `redoubt_tls_handshakes_failed_total{reason="version_or_cipher"}`,
}
