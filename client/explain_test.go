package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// The cases of TestErrorTexts.

// dialing is the failure of a Dial.
func dialing(t *testing.T, o Options) error {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err == nil {
		c.Close()
		t.Error("Dial succeeded")
	}
	return err
}

// stubbed fails the TCP connection with err.
func stubbed(t *testing.T, err error) error {
	o := DefaultOptions()
	o.Host = "broker.example"
	o.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return dialing(t, o)
}

var networkErrors = []errorCase{
	{"no such host", func(t *testing.T) error {
		return stubbed(t, &net.DNSError{Err: "no such host", Name: "broker.example", Server: "10.0.0.1:53", IsNotFound: true})
	}},
	{"name server does not answer", func(t *testing.T) error {
		return stubbed(t, &net.DNSError{Err: "i/o timeout", Name: "broker.example", Server: "10.0.0.1:53", IsTimeout: true})
	}},
	{"nothing listens", func(t *testing.T) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o := DefaultOptions()
		o.Host, o.Port, o.TLS = "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port), nil
		_ = l.Close()
		return dialing(t, o)
	}},
	{"no route", func(t *testing.T) error { return stubbed(t, os.NewSyscallError("connect", syscall.EHOSTUNREACH)) }},
	{"packets dropped", func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			o := DefaultOptions()
			o.Host = "192.0.2.1"
			o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
			}
			err = dialing(t, o)
		})
		return err
	}},
	{"interrupted", func(t *testing.T) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Dial(ctx, DefaultOptions())
		return err
	}},
	{"TLS told not to, at a TLS port that says so", func(t *testing.T) error {
		s := fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Read(make([]byte, 1))
			c.Send([]byte{0x15, 3, 1, 0, 2, 2, 10}) // a fatal alert: unexpected message
		})
		return dialing(t, plain(s))
	}},
	{"TLS told not to, and the server hangs up", func(t *testing.T) error {
		return dialing(t, plain(fake.Start(t, nil, func(c *fake.Conn) { _, _ = c.Next() })))
	}},
	{"another service", func(t *testing.T) error {
		return dialing(t, plain(fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Read(make([]byte, 1))
			c.Send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		})))
	}},
	{"no CONNACK in time", func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			o := DefaultOptions()
			o.Host, o.TLS = "192.0.2.1", nil
			o.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
			go fake.NewConn(t, far).Drain()
			err = dialing(t, o)
		})
		return err
	}},
	{"something else than CONNACK", func(t *testing.T) error {
		return dialing(t, plain(fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Next()
			c.Send(mqtt.AppendPingresp(nil))
		})))
	}},
}

var fileErrors = []errorCase{
	{"CA file missing", func(t *testing.T) error {
		return trusting(t, TLS{CAFile: filepath.Join(t.TempDir(), "ca.pem")})
	}},
	{"CA file without a certificate", func(t *testing.T) error {
		p := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(p, []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return trusting(t, TLS{CAFile: p})
	}},
	{"CA file in DER", func(t *testing.T) error {
		p := filepath.Join(t.TempDir(), "ca.der")
		if err := os.WriteFile(p, fake.NewAuthority(t, "CA", nil).Cert.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return trusting(t, TLS{CAFile: p})
	}},
	{"CA file is a key", func(t *testing.T) error {
		return trusting(t, TLS{CAFile: fake.WritePEM(t, t.TempDir(), "ca.pem", "PRIVATE KEY", []byte{1})})
	}},
	{"CA directory without a certificate", func(t *testing.T) error { return trusting(t, TLS{CAPath: t.TempDir()}) }},
	{"certificate without key", func(t *testing.T) error { return trusting(t, TLS{CertFile: "a.crt"}) }},
	{"key missing", func(t *testing.T) error {
		dir := t.TempDir()
		cert, _ := fake.Files(t, dir, "a", fake.NewAuthority(t, "CA", nil).Leaf("a", nil))
		return trusting(t, TLS{CertFile: cert, KeyFile: filepath.Join(dir, "no.key")})
	}},
	{"key of another certificate", func(t *testing.T) error {
		ca, dir := fake.NewAuthority(t, "CA", nil), t.TempDir()
		cert, _ := fake.Files(t, dir, "a", ca.Leaf("a", nil))
		_, key := fake.Files(t, dir, "b", ca.Leaf("b", nil))
		return trusting(t, TLS{CertFile: cert, KeyFile: key})
	}},
	{"key with a passphrase", func(t *testing.T) error {
		dir := t.TempDir()
		cert, _ := fake.Files(t, dir, "a", fake.NewAuthority(t, "CA", nil).Leaf("a", nil))
		return trusting(t, TLS{CertFile: cert, KeyFile: fake.WritePEM(t, dir, "x.key", "ENCRYPTED PRIVATE KEY", []byte{1})})
	}},
}

func trusting(t *testing.T, conf TLS) error {
	o := DefaultOptions()
	o.TLS = &conf
	o.DialContext = func(context.Context, string, string) (net.Conn, error) {
		t.Error("connected before the files were read")
		return nil, syscall.ECONNREFUSED
	}
	return dialing(t, o)
}

// handshake connects as conf says to a server with these settings. Its handler
// answers CONNECT, if the handshake gets that far.
func handshake(t *testing.T, server *tls.Config, conf TLS) error {
	server.Time = func() time.Time { return fake.Noon }
	s := fake.Start(t, server, func(c *fake.Conn) {
		if c.Greet(mqtt.Connack{}) {
			c.Drain()
		}
	})
	o := plain(s)
	if conf.Now == nil {
		conf.Now = func() time.Time { return fake.Noon }
	}
	o.TLS = &conf
	return dialing(t, o)
}

// leafed is a handshake with a certificate that change altered, and its CA
// trusted.
func leafed(t *testing.T, change func(*x509.Certificate)) error {
	ca := fake.NewAuthority(t, "Plant CA", nil)
	return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", change)}}, TLS{CAFile: ca.File(t.TempDir(), "ca.pem")})
}

// clientCert is a handshake with a server that wants certificates of ca.
func clientCert(t *testing.T, version uint16, issuer func(ca *fake.Authority) *fake.Authority) error {
	ca, dir := fake.NewAuthority(t, "Plant CA", nil), t.TempDir()
	conf := TLS{CAFile: ca.File(dir, "ca.pem")}
	if issuer != nil {
		conf.CertFile, conf.KeyFile = fake.Files(t, dir, "device", issuer(ca).Leaf("device", nil))
	}
	return handshake(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Leaf("broker", nil)}, MaxVersion: version,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}, conf)
}

// lostAlert is a server that asked for a certificate and hung up; own is what it
// got.
func lostAlert(own *x509.Certificate) error {
	s := &tlsSetup{own: own}
	s.asked.Store(true)
	return explainTLS(context.Background(), &Options{Host: "broker.example", Port: 8883}, s, &net.OpError{Op: "read", Err: syscall.ECONNRESET})
}

// A server of TLS 1.3 refuses our certificate after the handshake: CONNECT then
// meets a closed connection, and the alert is what counts.
func TestAlertCountsMoreThanTheFailedWrite(t *testing.T) {
	c := &Client{tls: &tlsSetup{}}
	c.tls.asked.Store(true)
	broken := &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	alert := &net.OpError{Op: "remote error", Err: tls.AlertError(alertCertificateRequired)}
	for _, errs := range [][2]error{{broken, alert}, {alert, broken}, {nil, alert}} {
		wantKind(t, c.explainNoConnack(&reader{}, errs[0], errs[1]), KindTLSClientCertRequired)
	}
}

var tlsErrors = []errorCase{
	{"unknown CA, CA file given", func(t *testing.T) error {
		ca, other := fake.NewAuthority(t, "Plant CA", nil), fake.NewAuthority(t, "Other CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}}, TLS{CAFile: other.File(t.TempDir(), "ca.pem")})
	}},
	{"unknown CA, CA directory given", func(t *testing.T) error {
		dir := t.TempDir()
		fake.NewAuthority(t, "Other CA", nil).File(dir, "other.pem")
		ca := fake.NewAuthority(t, "Plant CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}}, TLS{CAPath: dir + "/"})
	}},
	{"unknown CA, trust store of the system", func(t *testing.T) error {
		ca := fake.NewAuthority(t, "Plant CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}}, TLS{})
	}},
	{"CA made anew", func(t *testing.T) error {
		old, now := fake.NewAuthority(t, "Plant CA", nil), fake.NewAuthority(t, "Plant CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{now.Leaf("broker", nil)}}, TLS{CAFile: old.File(t.TempDir(), "ca.pem")})
	}},
	{"CA expired", func(t *testing.T) error {
		ca := fake.NewAuthority(t, "Plant CA", func(c *x509.Certificate) { c.NotAfter = fake.Noon.AddDate(0, 0, -1) })
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}}, TLS{CAFile: ca.File(t.TempDir(), "ca.pem")})
	}},
	{"leaf given as CA", func(t *testing.T) error {
		ca, dir := fake.NewAuthority(t, "Plant CA", nil), t.TempDir()
		leaf, _ := fake.Files(t, dir, "server", ca.Leaf("some other server", nil))
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}}, TLS{CAFile: leaf})
	}},
	{"host name not in the certificate", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"broker.example", "*.plant.example"}, []net.IP{net.IPv4(10, 1, 2, 3), net.ParseIP("2001:db8::1")}
		})
	}},
	{"certificate without names", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil })
	}},
	{"certificate with many and hostile names", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"a\x1b[2Jb"}
			for i := range 30 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("host%d.example", i))
			}
		})
	}},
	{"certificate expired", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) { c.NotAfter = fake.Noon.Add(-time.Hour) })
	}},
	{"certificate not yet valid", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) { c.NotBefore = fake.Noon.Add(time.Hour) })
	}},
	{"certificate not for servers", func(t *testing.T) error {
		return leafed(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	}},
	{"insecure leaves out the name only", func(t *testing.T) error {
		ca, other := fake.NewAuthority(t, "Plant CA", nil), fake.NewAuthority(t, "Other CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}},
			TLS{CAFile: other.File(t.TempDir(), "ca.pem"), SkipHostName: true})
	}},
	{"client certificate required, TLS 1.3", func(t *testing.T) error { return clientCert(t, tls.VersionTLS13, nil) }},
	{"client certificate required, TLS 1.2", func(t *testing.T) error { return clientCert(t, tls.VersionTLS12, nil) }},
	{"client certificate of another CA, TLS 1.3", func(t *testing.T) error {
		return clientCert(t, tls.VersionTLS13, func(*fake.Authority) *fake.Authority { return fake.NewAuthority(t, "Other CA", nil) })
	}},
	{"client certificate of another CA, TLS 1.2", func(t *testing.T) error {
		return clientCert(t, tls.VersionTLS12, func(*fake.Authority) *fake.Authority { return fake.NewAuthority(t, "Other CA", nil) })
	}},
	{"client certificate wanted, alert lost", func(t *testing.T) error { return lostAlert(nil) }},
	{"client certificate sent, alert lost", func(t *testing.T) error {
		return lostAlert(fake.NewAuthority(t, "Other CA", nil).Leaf("device", nil).Leaf)
	}},
	{"old TLS only", func(t *testing.T) error {
		ca := fake.NewAuthority(t, "Plant CA", nil)
		return handshake(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, TLS{})
	}},
	{"server without a certificate for the name", func(t *testing.T) error {
		s := fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			c.Send([]byte{0x15, 3, 3, 0, 2, 2, alertUnrecognizedName})
		})
		o := plain(s)
		o.TLS = &TLS{}
		return dialing(t, o)
	}},
	{"plaintext port that answers", func(t *testing.T) error {
		s := fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			c.Send([]byte("220 mail.example ESMTP\r\n"))
		})
		o := plain(s)
		o.TLS = &TLS{}
		return dialing(t, o)
	}},
	{"plaintext port that hangs up", func(t *testing.T) error {
		o := plain(fake.Start(t, nil, func(c *fake.Conn) { _, _ = c.Read(make([]byte, 4096)) }))
		o.TLS = &TLS{}
		return dialing(t, o)
	}},
	{"no answer to the handshake", func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			o := DefaultOptions()
			o.Host = "192.0.2.1"
			o.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
			go func() { _, _ = far.Read(make([]byte, 4096)) }()
			err = dialing(t, o)
			_ = far.Close()
		})
		return err
	}},
	{"TLS complete, then closed before CONNACK", func(t *testing.T) error {
		ca := fake.NewAuthority(t, "Plant CA", nil)
		s := fake.Start(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", nil)}, Time: func() time.Time { return fake.Noon }},
			func(c *fake.Conn) { _, _ = c.Next() })
		o := plain(s)
		o.TLS = &TLS{CAFile: ca.File(t.TempDir(), "ca.pem"), Now: func() time.Time { return fake.Noon }}
		return dialing(t, o)
	}},
}

// refusing is a CONNACK with a refusal.
func refusing(t *testing.T, v mqtt.Version, ack mqtt.Connack, change func(*Options)) error {
	o := plain(fake.Start(t, nil, func(c *fake.Conn) { c.Greet(ack) }))
	o.Connect.Version = v
	if change != nil {
		change(&o)
	}
	return dialing(t, o)
}

func withUser(o *Options) { o.Connect.Username, o.Connect.HasUsername = "sensor1", true }

func withPassword(o *Options) {
	withUser(o)
	o.Password, o.Connect.HasPassword = secret.FromString("wrong"), true
}

var connackErrors = []errorCase{
	{"bad password, 5.0", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword, ReasonString: "see log entry 7f3a"}, withPassword)
	}},
	{"bad password, with a reference", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword, ReasonString: "the operator finds the reason by ref 7f3a09c2"}, withPassword)
	}},
	{"bad password, with a reference that is none", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword, ReasonString: "the operator finds the reason by ref $(rm x)"}, withPassword)
	}},
	{"bad password, 3.1.1", func(t *testing.T) error {
		return refusing(t, mqtt.V311, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword}, withPassword)
	}},
	{"no password", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword}, withUser)
	}},
	{"no user name", func(t *testing.T) error { return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.NotAuthorized}, nil) }},
	{"not authorized, 3.1.1", func(t *testing.T) error {
		return refusing(t, mqtt.V311, mqtt.Connack{Reason: mqtt.NotAuthorized}, withPassword)
	}},
	{"banned", func(t *testing.T) error { return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.Banned}, nil) }},
	{"client id refused", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.ClientIdentifierNotValid}, nil)
	}},
	{"server busy", func(t *testing.T) error { return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.ServerBusy}, nil) }},
	{"server moved", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.ServerMoved, ServerReference: "b.example:8883"}, nil)
	}},
	{"5.0 at a server that has 3.1.1 only", func(t *testing.T) error {
		return dialing(t, plain(fake.Start(t, nil, func(c *fake.Conn) {
			_, _ = c.Next()
			c.Send([]byte{0x20, 2, 0, 1})
		})))
	}},
	{"reason string that wants the terminal", func(t *testing.T) error {
		return refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.UnspecifiedError, ReasonString: "\x1b]0;x\a\r\nroot# " + strings.Repeat("long ", 300)}, nil)
	}},
}

// publishing is the failure of one message.
func publishing(t *testing.T, v mqtt.Version, m Outgoing, script func(c *fake.Conn, m mqtt.Publish)) error {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		if m, ok := c.Publish(); ok {
			script(c, m)
		}
	})
	o := plain(s)
	withPassword(&o)
	o.Connect.Version, o.Connect.ClientID = v, "line 4"
	_, err := dial(t, o).Publish(t.Context(), &m)
	return err
}

// ending is how a connection without requests ends.
func ending(t *testing.T, script func(c *fake.Conn)) error {
	o := plain(serve(t, mqtt.Connack{MaximumPacketSize: 1 << 20}, script))
	o.Receive = true
	c := dial(t, o)
	<-c.Done()
	return c.Err()
}

// asking is the refusal of one filter.
func asking(t *testing.T, v mqtt.Version, reason mqtt.ReasonCode) error {
	s := serve(t, mqtt.Connack{}, func(c *fake.Conn) {
		if _, ok := c.Want(mqtt.SUBSCRIBE); ok {
			a := mqtt.Suback{PacketID: 1, Reasons: []mqtt.ReasonCode{reason}}
			c.Send(a.Append(nil, v, 0))
		}
		c.Drain()
	})
	o := plain(s)
	withPassword(&o)
	o.Connect.Version = v
	got, err := dial(t, o).Subscribe(t.Context(), filters("plant/#"))
	if err != nil {
		return err
	}
	return got[0].Err
}

var sessionErrors = []errorCase{
	{"publish not authorized", func(t *testing.T) error {
		return publishing(t, mqtt.V5, Outgoing{Topic: "it's/here", QoS: 1}, func(c *fake.Conn, m mqtt.Publish) {
			c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.NotAuthorized, "denied, see 5e1f")
			c.Drain()
		})
	}},
	{"publish over quota, QoS 2", func(t *testing.T) error {
		return publishing(t, mqtt.V5, Outgoing{Topic: "a", QoS: 2}, func(c *fake.Conn, m mqtt.Publish) {
			c.SendAck(mqtt.PUBREC, m.PacketID, mqtt.QuotaExceeded, "")
			c.Drain()
		})
	}},
	{"closed after a publish, 3.1.1", func(t *testing.T) error {
		return publishing(t, mqtt.V311, Outgoing{Topic: "plant/a", QoS: 1}, func(*fake.Conn, mqtt.Publish) {})
	}},
	{"closed after a publish, 5.0", func(t *testing.T) error {
		return publishing(t, mqtt.V5, Outgoing{Topic: "plant/a", QoS: 1}, func(*fake.Conn, mqtt.Publish) {})
	}},
	{"disconnected after a publish", func(t *testing.T) error {
		return publishing(t, mqtt.V5, Outgoing{Topic: "plant/a", QoS: 1}, func(c *fake.Conn, _ mqtt.Publish) {
			c.Send((&mqtt.Disconnect{Reason: mqtt.NotAuthorized, ReasonString: "denied, see 5e1f"}).Append(nil, mqtt.V5, 0))
		})
	}},
	{"wrong acknowledgement", func(t *testing.T) error {
		return publishing(t, mqtt.V5, Outgoing{Topic: "plant/a", QoS: 2}, func(c *fake.Conn, m mqtt.Publish) {
			c.SendAck(mqtt.PUBACK, m.PacketID, mqtt.Success, "")
			c.Drain()
		})
	}},
	{"subscribe not authorized", func(t *testing.T) error { return asking(t, mqtt.V5, mqtt.NotAuthorized) }},
	{"subscribe refused otherwise", func(t *testing.T) error { return asking(t, mqtt.V5, mqtt.QuotaExceeded) }},
	{"subscribe refused, 3.1.1", func(t *testing.T) error { return asking(t, mqtt.V311, mqtt.NotAuthorized) }},
	{"session taken over", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.Send((&mqtt.Disconnect{Reason: mqtt.SessionTakenOver}).Append(nil, mqtt.V5, 0)) })
	}},
	{"server shutting down", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) {
			c.Send((&mqtt.Disconnect{Reason: mqtt.ServerShuttingDown, ServerReference: "b.example"}).Append(nil, mqtt.V5, 0))
		})
	}},
	{"packet too large for the server", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.Send((&mqtt.Disconnect{Reason: mqtt.PacketTooLarge}).Append(nil, mqtt.V5, 0)) })
	}},
	{"closed without a word", func(t *testing.T) error { return ending(t, func(*fake.Conn) {}) }},
	{"packet too large for us", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.Send([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}); c.Drain() })
	}},
	{"malformed packet", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.Send([]byte{0x30, 3, 0, 1, '#'}); c.Drain() })
	}},
	{"packet that is the client's", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.Send(mqtt.AppendPingreq(nil)); c.Drain() })
	}},
	{"alias never set", func(t *testing.T) error {
		return ending(t, func(c *fake.Conn) { c.SendPublish(mqtt.Publish{HasTopicAlias: true, TopicAlias: 1}); c.Drain() })
	}},
}
