package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// loopback is two ends of a TCP connection: unlike net.Pipe it has room for an
// alert that the other side does not read at once.
func loopback(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// handshake lets a client and our server meet.
func handshake(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := loopback(t)
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).HandshakeContext(ctx)
		if err != nil {
			_ = a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.HandshakeContext(ctx)
	if clientErr != nil {
		_ = b.Close()
	}
	return c.ConnectionState(), <-done, clientErr
}

// broker is a server configuration over a fresh CA, and the matching client.
func broker(t *testing.T, profile Profile) (server, client *tls.Config) {
	t.Helper()
	b, _ := mustInit(t)
	server, err := ServerTLS(profile, b.Provider())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(b.CA())
	return server, &tls.Config{RootCAs: roots, ServerName: "broker.example", Time: func() time.Time { return t0 }}
}

func TestProfilesInHandshakes(t *testing.T) {
	defer goleak.VerifyNone(t)
	cbc := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}
	for _, c := range []struct {
		name    string
		profile Profile
		client  func(*tls.Config)
		want    string // "" refused, else version, group and ALPN
	}{
		{"default client", Intermediate, func(*tls.Config) {}, "1.3 X25519MLKEM768"},
		{"default client", Modern, func(*tls.Config) {}, "1.3 X25519MLKEM768"},
		{"tls 1.2", Intermediate, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "1.2 X25519"},
		{"tls 1.2", Modern, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, ""},
		{"tls 1.1", Intermediate, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ""},
		{"cbc and static rsa", Intermediate, func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, cbc }, ""},
		{"x25519 only", Intermediate, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, "1.3 X25519"},
		{"p-256 only", Modern, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, "1.3 CurveP256"},
		{"p-384 only", Modern, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, "1.3 CurveP384"},
		{"p-521 only", Modern, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }, ""},
		{"alpn mqtt", Intermediate, func(c *tls.Config) { c.NextProtos = []string{"mqtt"} }, "1.3 X25519MLKEM768 mqtt"},
		{"alpn mqtt among others", Modern, func(c *tls.Config) { c.NextProtos = []string{"h2", "mqtt"} }, "1.3 X25519MLKEM768 mqtt"},
		{"alpn of another service", Intermediate, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, ""},
		{"name we do not have", Intermediate, func(c *tls.Config) { c.ServerName = "elsewhere" }, ""},
		{"wrong ca", Intermediate, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, ""},
	} {
		t.Run(string(c.profile)+" "+c.name, func(t *testing.T) {
			server, client := broker(t, c.profile)
			c.client(client)
			state, serverErr, clientErr := handshake(t, server, client)
			if c.want == "" {
				if clientErr == nil {
					t.Errorf("accepted with %s %s", tls.VersionName(state.Version), state.CurveID)
				}
				return
			}
			if serverErr != nil || clientErr != nil {
				t.Fatalf("server %v, client %v", serverErr, clientErr)
			}
			got := strings.TrimSpace(strings.TrimPrefix(tls.VersionName(state.Version), "TLS ") + " " + state.CurveID.String() + " " + state.NegotiatedProtocol)
			if got != c.want {
				t.Errorf("negotiated %s, want %s", got, c.want)
			}
		})
	}
}

// Each of the six suites must be what it says, and nothing else may be offered.
func TestSuitesOf12(t *testing.T) {
	rsaCert := makeCert(t, rsaKey(t, rsa2048), nil, nil)
	ecCert := makeCert(t, p256(t), nil, nil)
	pair := func(c *cert) *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{c.x.Raw}, PrivateKey: c.key, Leaf: c.x}
	}
	server, err := ServerTLS(Intermediate, NewProvider(pair(ecCert), pair(rsaCert)))
	if err != nil {
		t.Fatal(err)
	}
	var all []*tls.CipherSuite
	all = append(all, tls.CipherSuites()...)
	all = append(all, tls.InsecureCipherSuites()...)
	good := 0
	for _, s := range all {
		if s.ID>>8 == 0x13 { // TLS 1.3
			continue
		}
		client := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}} // only the suite is of interest
		_, _, clientErr := handshake(t, server, client)
		want := strings.HasPrefix(s.Name, "TLS_ECDHE_") && (strings.Contains(s.Name, "_GCM_") || strings.Contains(s.Name, "CHACHA20_POLY1305"))
		if got := clientErr == nil; got != want {
			t.Errorf("%s: accepted %v, want %v (%v)", s.Name, got, want, clientErr)
		}
		if want {
			good++
		}
	}
	if good != 6 {
		t.Errorf("%d good suites exist, the profile has 6", good)
	}
}

func TestSwapBetweenHandshakes(t *testing.T) {
	b, _ := mustInit(t)
	server, err := ServerTLS(Modern, b.Provider())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(b.CA())
	var now = t0
	client := &tls.Config{RootCAs: roots, ServerName: "localhost", Time: func() time.Time { return now }}
	first, _, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	now = t0.Add(70 * 24 * time.Hour)
	if changed, err := b.Refresh(now); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	second, _, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	if first.PeerCertificates[0].Equal(second.PeerCertificates[0]) || !second.PeerCertificates[0].Equal(b.Certificate().Leaf) {
		t.Error("a handshake after the renewal did not get the new certificate")
	}
	if got := b.Provider().NotAfter(); !got.Equal(b.Certificate().Leaf.NotAfter) {
		t.Errorf("NotAfter %v", got)
	}
}

func TestProviderChooses(t *testing.T) {
	pair := func(c *cert) *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{c.x.Raw}, PrivateKey: c.key, Leaf: c.x}
	}
	named := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = []string{name} }
	}
	a := pair(makeCert(t, p256(t), nil, named("a.example")))
	b := pair(makeCert(t, p256(t), nil, named("b.example")))
	r := pair(makeCert(t, rsaKey(t, rsa2048), nil, named("a.example")))
	p := NewProvider(a, b, r)
	hello := func(name string, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: schemes}
	}
	ec, rs := tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256
	for _, c := range []struct {
		hello *tls.ClientHelloInfo
		want  *tls.Certificate
		why   string
	}{
		{hello("a.example", ec, rs), a, "first with the name"},
		{hello("b.example", ec, rs), b, "the one with the name"},
		{hello("a.example", rs), r, "the name with a key the client knows"},
		{hello("", ec), a, "no name: the first"},
		{hello("c.example", ec), a, "unknown name: the first it can use"},
		{hello("c.example", rs), r, "unknown name: the first it can use"},
		{hello("b.example", tls.Ed25519), a, "nothing fits: the first"},
	} {
		if got, err := p.GetCertificate(c.hello); err != nil || got != c.want {
			t.Errorf("%s: got the certificate of %v, %v", c.why, got.Leaf.DNSNames, err)
		}
	}
	for _, bad := range []string{"a.example\x00", "a/b", "a b", "\xff", strings.Repeat("a", 256)} {
		if _, err := p.GetCertificate(hello(bad, ec)); !errors.Is(err, errServerName) {
			t.Errorf("server name %q: %v", bad, err)
		}
	}
	var none Provider
	if _, err := none.GetCertificate(hello("", ec)); !errors.Is(err, errNoCertificate) || !none.NotAfter().IsZero() {
		t.Errorf("an empty provider: %v", err)
	}
}

func TestServerTLSRefusesUnknownProfile(t *testing.T) {
	if _, err := ServerTLS("old", NewProvider()); err == nil || !strings.Contains(err.Error(), "intermediate or modern") {
		t.Errorf("%v", err)
	}
	c, err := ServerTLS(Intermediate, NewProvider())
	if err != nil || !c.DynamicRecordSizingDisabled || c.SessionTicketsDisabled {
		t.Errorf("record sizing disabled %v, tickets disabled %v, %v", c.DynamicRecordSizingDisabled, c.SessionTicketsDisabled, err)
	}
}

// exchange is handshake and one byte from the server: TLS 1.3 sends its tickets behind the
// handshake.
func exchange(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := loopback(t)
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		_, err := s.Write([]byte{1})
		if err != nil {
			_ = a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, client)
	_, clientErr = c.Read(make([]byte, 1))
	if clientErr != nil {
		_ = b.Close()
	}
	return c.ConnectionState(), <-done, clientErr
}
