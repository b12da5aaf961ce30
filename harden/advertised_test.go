package harden

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// balancer is something in front of the broker that ends TLS, with a certificate of its own.
func (r *certRig) balancer(change func(*tls.Config), names ...string) netip.AddrPort {
	r.t.Helper()
	pair := r.ca.server(ecKey(r.t), nil, names...)
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"mqtt"}, CipherSuites: goodSuites,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}}
	if change != nil {
		change(conf)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	r.wait.Add(1)
	go func() {
		defer r.wait.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wait.Add(1)
			go func() {
				defer r.wait.Done()
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				t := tls.Server(c, conf)
				if t.HandshakeContext(context.Background()) == nil {
					_, _ = t.Read(make([]byte, 1)) // and closes, as it does when nobody is behind it
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// What clients meet at the addresses they are given is judged like a socket of the broker.
func TestWhereClientsConnect(t *testing.T) {
	t.Parallel()
	known := func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if !strings.HasSuffix(host, ".example") {
			return nil, &net.DNSError{Err: "no such host", Name: host}
		}
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}
	for name, c := range map[string]struct {
		row   string
		at    func(r *certRig, own netip.AddrPort) string
		state State
		want  string
	}{
		"its own port":  {"P3.3", func(_ *certRig, own netip.AddrPort) string { return fmt.Sprintf("broker.example:%d", own.Port()) }, Pass, "whose it is: that of the listener"},
		"by a wildcard": {"P3.3", func(_ *certRig, own netip.AddrPort) string { return fmt.Sprintf("east.plant.example:%d", own.Port()) }, Pass, "certificate that is shown for east.plant.example"},
		"by a name that is not in the certificate":     {"P3.3", func(_ *certRig, own netip.AddrPort) string { return fmt.Sprintf("mqtt.example:%d", own.Port()) }, Fail, "clients that connect to mqtt.example refuse it"},
		"by an address that is not in the certificate": {"P3.3", func(_ *certRig, own netip.AddrPort) string { return own.String() }, Fail, "clients that connect to 127.0.0.1 refuse it"},
		"a balancer": {"P3.3", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(nil, "mqtt.example").Port())
		}, Pass, "TLS ends in front of the broker"},
		"a balancer that knows one name": {"P3.3", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(func(conf *tls.Config) {
				pair := conf.Certificates[0]
				conf.Certificates, conf.GetCertificate = nil, func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
					if h.ServerName != "mqtt.example" {
						return nil, errors.New("unknown name")
					}
					return &pair, nil
				}
			}, "mqtt.example").Port())
		}, Pass, "TLS ends in front of the broker"},
		"a balancer for others": {"P3.3", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(nil, "www.example").Port())
		}, Fail, "clients that connect to mqtt.example refuse it"},
		"nobody there": {"P3.3", func(*certRig, netip.AddrPort) string { return "mqtt.example:1" }, Unknown, "from where clients are"},
		"no such name": {"P3.3", func(*certRig, netip.AddrPort) string { return "mqtt.invalid:8883" }, Unknown, "no such host"},

		"a good balancer": {"P3.1", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(nil, "mqtt.example").Port())
		}, Pass, "TLS 1.1 for mqtt.example: alert"},
		"a balancer of before": {"P3.1", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(func(conf *tls.Config) {
				conf.MinVersion = tls.VersionTLS10
				conf.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}, "mqtt.example").Port())
		}, Fail, "advertised:mqtt.example:"},
		"a balancer that is away": {"P3.1", func(*certRig, netip.AddrPort) string { return "mqtt.example:1" }, Unknown, "advertised:mqtt.example:1@127.0.0.1"},
		"suites of before": {"P3.2", func(r *certRig, _ netip.AddrPort) string {
			return fmt.Sprintf("mqtt.example:%d", r.balancer(func(conf *tls.Config) {
				conf.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}, "mqtt.example").Port())
		}, Fail, "CBC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture(c.row, name, c.state)
			r := newCertRig(t)
			r.conf.CipherSuites = goodSuites
			own := r.listen("secure", "mqtts", "127.0.0.1:0")
			r.listener.Advertised = []string{c.at(r, own)}
			r.config = map[string]config.Listener{"secure": r.listener}
			e := r.alone(r.env())
			e.Lookup, e.Step = known, 5*time.Second
			rep := examine(t, e, c.row)
			var out bytes.Buffer
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if got := rep.Rows[0].State(); got != c.state && (c.row != "P3.2" || got != Fail) || !strings.Contains(out.String(), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", got, c.state, c.want, out.String())
			}
		})
	}
}

// A plain listener behind a balancer is judged by what clients meet, and by nothing else.
func TestTLSInFrontOfAPlainListener(t *testing.T) {
	t.Parallel()
	r := newCertRig(t)
	r.listen("inner", "mqtt", "127.0.0.1:0")
	at := fmt.Sprintf("127.0.0.1:%d", r.balancer(nil, "mqtt.example").Port())
	r.config = map[string]config.Listener{"inner": {Protocol: config.ProtocolMQTT, Advertised: []string{at}}}
	e := r.alone(r.env())
	rows := map[string]State{"P3.1": Pass, "P3.3": Fail} // the address is no name of the certificate
	for id, want := range rows {
		row := examine(t, e, id).Rows[0]
		if row.State() != want || len(row.Results) != 1 || !strings.HasPrefix(row.Results[0].Scope, "advertised:127.0.0.1:") {
			t.Errorf("%s: %s, %+v", id, row.State(), row.Results)
		}
	}
}

// From elsewhere, where no broker answers, an address is judged all the same, and nothing
// else is known.
func TestTargetFromElsewhere(t *testing.T) {
	t.Parallel()
	r := newCertRig(t)
	e := r.env()
	e.Broker, e.NoBroker = nil, "nobody answers"
	e.Targets = []string{r.balancer(nil, "mqtt.example").String()}
	row := examine(t, e, "P3.1").Rows[0]
	if row.State() != Unknown || len(row.Results) != 2 || row.Results[0].State != Unknown || row.Results[1].State != Pass {
		t.Errorf("%s, %+v", row.State(), row.Results)
	}
}
