package harden

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/pki"
)

// deviceRig is a broker with a CA of devices and two listeners for them.
type deviceRig struct {
	*fake
	dataDir  string
	ca       *x509.Certificate
	clients  *pki.Clients // how the listeners judge
	listener config.Listener
	chain    []string
	env      *Env
}

func newDeviceRig(t *testing.T) *deviceRig {
	t.Helper()
	r := &deviceRig{fake: newFake(t, flaws{}), chain: []string{"x509"}}
	r.env = r.fake.env()
	r.dataDir = r.env.Config.Node.DataDir
	if err := os.MkdirAll(r.dataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := pki.Init(r.dataDir, now, pki.Names{Hosts: []string{"localhost"}}); err != nil {
		t.Fatal(err)
	}
	d, err := pki.InitDevices(r.dataDir, "", now)
	if err != nil {
		t.Fatal(err)
	}
	r.ca = d.CA()
	r.listener = config.Listener{Authn: "devices", TLS: config.TLS{Profile: config.ProfileIntermediate, ClientCert: "required", ClientCA: []string{pki.DevicesCA(r.dataDir)}, ChainDepth: 5, Identity: "cn",
		CRL: config.CRL{Files: []string{pki.DevicesList(r.dataDir)}, Stale: "refuse"}}}
	r.judged()
	return r
}

// judged has the listeners judge by their configuration, as the broker does.
func (r *deviceRig) judged() {
	r.t.Helper()
	t := r.listener.TLS
	c := &pki.Clients{Ask: pki.ClientCert(t.ClientCert), Depth: t.ChainDepth, Identity: pki.Identity(t.Identity)}
	if err := errors.Join(c.LoadClientCAs(t.ClientCA, time.Now()), c.LoadRevoked(t.CRL.Files, t.CRL.Grace())); err != nil {
		r.t.Fatal(err)
	}
	r.conf = r.server()
	c.Apply(r.conf, time.Now)
}

// server is one that asks nobody.
func (r *deviceRig) server() *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{r.cert}, MinVersion: tls.VersionTLS12}
	c.SetSessionTicketKeys([][32]byte{{1}}) // which clones keep
	return c
}

// leniently has the listeners ask for a certificate and judge it by check alone.
func (r *deviceRig) leniently(check func(shown []*x509.Certificate) error) {
	r.conf = r.server()
	r.conf.ClientAuth = tls.RequireAnyClientCert
	r.conf.VerifyConnection = func(s tls.ConnectionState) error { return check(s.PeerCertificates) }
}

// verified is what the library thinks of a certificate at a time, for a use.
func (r *deviceRig) verified(shown []*x509.Certificate, at time.Time, use x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AddCert(r.ca)
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// examine runs one row, with a listener for MQTT and one for WebSocket.
func (r *deviceRig) examine(id string) (Row, string) {
	r.t.Helper()
	for name, protocol := range map[string]string{"devices": "mqtts", "browsers": "wss"} {
		r.listen(name, protocol, "127.0.0.1:0")
		l := r.listener
		l.Protocol = protocol
		if r.env.Config.Listeners == nil {
			r.env.Config.Listeners = map[string]config.Listener{}
		}
		r.env.Config.Listeners[name] = l
	}
	r.env.Config.Authn.Chains = map[string][]string{"devices": r.chain}
	rep := examine(r.t, r.alone(r.env), id)
	var out bytes.Buffer
	if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
		r.t.Fatal(err)
	}
	return rep.Rows[0], out.String()
}

// deviceFlaws are listeners that judge certificates wrongly, and what must be said
// of each.
var deviceFlaws = []struct {
	name, row string
	change    func(r *deviceRig)
	state     State
	want      string
}{
	{"good", "P3.4", func(*deviceRig) {}, Pass, "another user name beside a good certificate: probe-"},
	{"good, and optional", "P3.4", func(r *deviceRig) {
		r.listener.TLS.ClientCert, r.chain = "optional", []string{"x509", "builtin"}
		r.judged()
	}, Pass, "no certificate: client_cert is optional"},
	{"good, by the name of a host", "P3.4", func(r *deviceRig) {
		r.listener.TLS.Identity = "san_dns"
		r.judged()
	}, Pass, "probe-"},
	{"good, in TLS 1.3 only", "P3.4", func(r *deviceRig) {
		r.listener.TLS.Profile = config.ProfileModern
		r.conf.MinVersion = tls.VersionTLS13
	}, Pass, "TLS 1.3: an expired certificate"},
	{"no certificate is asked for", "P3.4", func(r *deviceRig) { r.listener.TLS, r.conf = config.TLS{}, r.server() }, NotApplicable, "asks for no certificate"},
	{"optional, where a certificate is all there is", "P3.4", func(r *deviceRig) {
		r.listener.TLS.ClientCert = "optional"
		r.judged()
	}, Warn, "client_cert: optional"},
	{"asks for none", "P3.4", func(r *deviceRig) { r.conf = r.server() }, Fail, "the server asks for none"},
	{"asks against its configuration", "P3.4", func(r *deviceRig) { r.listener.TLS.ClientCert = "none" }, Unknown, "the server asks for one"},
	{"takes none for an answer", "P3.4", func(r *deviceRig) { r.conf.ClientAuth = tls.RequestClientCert }, Fail, "no certificate: answered"},
	{"verifies nothing", "P3.4", func(r *deviceRig) { r.leniently(func([]*x509.Certificate) error { return nil }) }, Fail, "of another CA: answered"},
	{"compares the issuer's name", "P3.4", func(r *deviceRig) {
		r.leniently(func(shown []*x509.Certificate) error {
			if !bytes.Equal(shown[0].RawIssuer, r.ca.RawSubject) {
				return errors.New("another issuer")
			}
			if err := r.verified(shown, time.Now(), x509.ExtKeyUsageClientAuth); err != nil && !errors.As(err, new(x509.UnknownAuthorityError)) {
				return err
			}
			return nil
		})
	}, Fail, "copy of the name"},
	{"looks at no dates", "P3.4", func(r *deviceRig) {
		r.leniently(func(shown []*x509.Certificate) error {
			return r.verified(shown, shown[0].NotBefore.Add(time.Second), x509.ExtKeyUsageClientAuth)
		})
	}, Fail, "an expired certificate: answered"},
	{"looks at no beginning", "P3.4", func(r *deviceRig) {
		r.leniently(func(shown []*x509.Certificate) error {
			at := time.Now()
			if shown[0].NotBefore.After(at) {
				at = shown[0].NotBefore
			}
			return r.verified(shown, at, x509.ExtKeyUsageClientAuth)
		})
	}, Fail, "not valid yet: answered"},
	{"looks at no use", "P3.4", func(r *deviceRig) {
		r.leniently(func(shown []*x509.Certificate) error { return r.verified(shown, time.Now(), x509.ExtKeyUsageAny) })
	}, Fail, "for servers: answered"},
	{"verifies in TLS 1.3 only", "P3.4", func(r *deviceRig) {
		good := r.conf.VerifyConnection
		r.conf.VerifyConnection = func(s tls.ConnectionState) error {
			if s.Version == tls.VersionTLS12 {
				return nil
			}
			return good(s)
		}
	}, Fail, "TLS 1.2: a certificate of another CA: answered"},
	{"verifies the first only", "P3.4", func(r *deviceRig) {
		good, seen := r.conf.VerifyConnection, 0
		r.conf.VerifyConnection = func(s tls.ConnectionState) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if seen++; seen > 3 {
				return nil
			}
			return good(s)
		}
	}, Fail, "answered by the application"},
	{"verifies on one listener only", "P3.4", func(r *deviceRig) {
		r.web = r.server()
		r.web.ClientAuth = tls.RequireAnyClientCert
	}, Fail, "listener:browsers"},
	{"believes the user name", "P3.4", func(r *deviceRig) { r.flaws = flaws{believesName} }, Fail, "it is the user of the CONNECT"},
	{"lets in no certificate", "P3.4", func(r *deviceRig) { r.leniently(func([]*x509.Certificate) error { return errors.New("no") }) }, Unknown, "proves nothing"},
	{"the key of the CA is elsewhere", "P3.4", func(r *deviceRig) { _ = os.Remove(filepath.Join(filepath.Dir(pki.DevicesCA(r.dataDir)), "ca.key")) }, Unknown, "--client-cert"},

	{"good", "P3.5", func(*deviceRig) {}, Pass, "a revoked certificate: tls: bad certificate"},
	{"good, with passwords behind certificates", "P3.5", func(r *deviceRig) { r.chain = []string{"builtin"} }, Pass, "a connection of before its certificate was denied: closed after"},
	{"good, and resumes nothing", "P3.5", func(r *deviceRig) { r.conf.SessionTicketsDisabled = true }, Pass, "none is resumed here"},
	{"resumes what was revoked", "P3.5", func(r *deviceRig) { r.flaws = flaws{keepsSessions} }, Fail, "TLS 1.3: a session of before its certificate was denied: answered"},
	{"resumes what was revoked on one listener", "P3.5", func(r *deviceRig) { r.flaws = flaws{keepsSessionsWeb} }, Fail, "listener:browsers"},
	{"keeps connections of what was revoked", "P3.5", func(r *deviceRig) { r.flaws, r.env.Step = flaws{keepsWithdrawn}, time.Second }, Fail, "still open after"},
	{"says that it denies and does not", "P3.5", func(r *deviceRig) { r.flaws, r.env.Step = flaws{deniesNobody}, time.Second }, Fail, "a session of before its certificate was denied: answered"},
	{"denies everybody", "P3.5", func(r *deviceRig) { r.flaws = flaws{deniesEverybody} }, Unknown, "another good certificate (positive control)"},
	{"cannot deny", "P3.5", func(r *deviceRig) { r.flaws = flaws{cannotDeny} }, Unknown, "there is no such operation"},
	{"no certificate is asked for", "P3.5", func(r *deviceRig) { r.listener.TLS, r.conf = config.TLS{}, r.server() }, NotApplicable, "asks for no certificate"},
	{"no list", "P3.5", func(r *deviceRig) {
		r.listener.TLS.CRL.Files = nil
		r.judged()
	}, Fail, "a certificate lets in whoever has its key"},
	{"the canary is denied by hand, without a list", "P3.5", func(r *deviceRig) {
		r.listener.TLS.CRL.Files = nil
		r.env.Config.Certificates.Denied = []string{"serial:01"}
		good := r.conf
		r.judged()
		r.conf = good
	}, Warn, "certificates.denied alone"},
	{"asks no list", "P3.5", func(r *deviceRig) {
		r.leniently(func(shown []*x509.Certificate) error {
			return r.verified(shown, time.Now(), x509.ExtKeyUsageClientAuth)
		})
	}, Fail, "a revoked certificate: answered"},
	{"asks the list on one listener only", "P3.5", func(r *deviceRig) {
		files := r.listener.TLS.CRL.Files
		good := r.conf
		r.listener.TLS.CRL.Files = nil
		r.judged()
		r.web, r.conf, r.listener.TLS.CRL.Files = r.conf, good, files
	}, Fail, "listener:browsers"},
	{"an old list", "P3.5", func(r *deviceRig) { r.list(-2*time.Hour, -time.Hour) }, Fail, "should have been followed"},
	{"an old list that still counts", "P3.5", func(r *deviceRig) {
		r.list(-2*time.Hour, -time.Hour)
		r.listener.TLS.CRL.Stale = "grace 24h"
	}, Warn, "should have been followed"},
	{"old lists count for long", "P3.5", func(r *deviceRig) { r.listener.TLS.CRL.Stale = "grace 240h" }, Warn, "crl.stale: grace 240h"},
	{"a list that does not know the canary", "P3.5", func(r *deviceRig) { r.list(-time.Hour, time.Hour, 7) }, Unknown, "no list names"},
	{"a CA without a list", "P3.5", func(r *deviceRig) {
		other := newAuthority(r.t, "other")
		file, _ := keep(r.t, filepath.Join(r.t.TempDir(), "other"), tls.Certificate{}, other.cert)
		r.listener.TLS.ClientCA = append(slices.Clone(r.listener.TLS.ClientCA), file)
		r.judged()
	}, Fail, "list of CN=other: is not there"},
	{"a forged list", "P3.5", func(r *deviceRig) {
		twin := newAuthority(r.t, "x")
		twin.cert.RawSubject, twin.cert.Subject = r.ca.RawSubject, r.ca.Subject
		r.listOf(twin, -time.Hour, time.Hour)
	}, Fail, "was not signed by it"},
	{"a list that is none", "P3.5", func(r *deviceRig) {
		file := filepath.Join(r.t.TempDir(), "crl.pem")
		write(r.t, file, []byte("nonsense"))
		r.listener.TLS.CRL.Files = []string{file}
	}, Unknown, "revocation list"},
	{"a CA without a canary", "P3.5", func(r *deviceRig) { _ = os.Remove(filepath.Join(filepath.Dir(pki.DevicesCA(r.dataDir)), "canary.pem")) }, Unknown, "older than canaries"},
	{"lets in no certificate", "P3.5", func(r *deviceRig) { r.leniently(func([]*x509.Certificate) error { return errors.New("no") }) }, Unknown, "proves nothing"},
}

// list replaces the list of the listener by one that names others, or the canary.
func (r *deviceRig) list(from, to time.Duration, others ...int64) {
	r.t.Helper()
	pair, err := tls.LoadX509KeyPair(pki.DevicesCA(r.dataDir), filepath.Join(filepath.Dir(pki.DevicesCA(r.dataDir)), "ca.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	var serials []*big.Int
	for _, n := range others {
		serials = append(serials, big.NewInt(n))
	}
	if len(others) == 0 {
		canary, err := pki.DevicesCanary(r.dataDir)
		if err != nil {
			r.t.Fatal(err)
		}
		serials = []*big.Int{canary.Leaf.SerialNumber}
	}
	r.listOf(&authority{t: r.t, cert: pair.Leaf, key: pair.PrivateKey.(crypto.Signer)}, from, to, serials...)
}

func TestClientCertificatesAreTried(t *testing.T) {
	t.Parallel()
	for _, c := range deviceFlaws {
		t.Run(c.row+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			fixture(c.row, c.name, c.state)
			r := newDeviceRig(t)
			c.change(r)
			row, text := r.examine(c.row)
			if row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
			if c.state == Pass && row.Confidence() != Behavioural {
				t.Errorf("by %s evidence", row.Confidence())
			}
			all, err := os.ReadFile(filepath.Join(filepath.Dir(pki.DevicesCA(r.dataDir)), "issued.json"))
			if err != nil || bytes.Contains(all, []byte("probe-")) {
				t.Errorf("a certificate of a probe is recorded: %s, %v", all, err)
			}
		})
	}
}

// What a client may do is tried also where it takes a certificate to come in: probe users
// have one of their name.
func TestRightsBehindCertificates(t *testing.T) {
	t.Parallel()
	for id, c := range map[string]struct {
		state State
		want  string
	}{
		"P4.1": {NotApplicable, "known by their certificates"},
		"P4.2": {Pass, "What no rule allows"},
		"P4.3": {Pass, "Every client has limits"},
		"P3.2": {Pass, "renegotiation begun by the client: alert"},
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			r := newDeviceRig(t)
			r.conf.NextProtos, r.web = []string{"mqtt"}, r.conf.Clone()
			r.web.NextProtos = []string{"http/1.1"}
			r.conf.CipherSuites, r.web.CipherSuites = goodSuites, goodSuites
			r.conf.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
			r.web.CurvePreferences = r.conf.CurvePreferences
			if row, text := r.examine(id); row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
		})
	}
	r := newDeviceRig(t)
	r.flaws = flaws{freeSubscribe}
	if row, text := r.examine("P4.2"); row.State() != Fail {
		t.Errorf("%s: a right that nobody granted\n%s", row.State(), text)
	}
}

// Where lists are fetched, nothing in a file says so: certificates do.
func TestListsThatAreFetched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		points       []string
		given, spare bool
		state        State
		want         string
	}{
		"by what is given":    {[]string{"http://crl.example"}, true, true, Pass, "fetched from where the good certificate says"},
		"by one that is used": {[]string{"http://crl.example"}, true, false, Unknown, "--deny-client-cert"},
		"of no address":       {nil, true, true, Fail, "none: a certificate lets in"},
		"nothing given":       {nil, false, false, Unknown, "whether they name any is not known here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ca := newDeviceRig(t), newAuthority(t, "plant")
			client := func(name string) *tls.Certificate {
				pair := ca.server(ecKey(t), func(x *x509.Certificate) {
					x.ExtKeyUsage, x.CRLDistributionPoints = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, c.points
				}, name)
				return &pair
			}
			good, revoked := client("dev-1"), client("dev-2")
			if c.given {
				r.env.GoodCert, r.env.RevokedCert, r.env.DenyGood = good, revoked, c.spare
			}
			file, _ := keep(t, filepath.Join(t.TempDir(), "ca"), tls.Certificate{}, ca.cert)
			r.listener.TLS.ClientCA = []string{file}
			r.listOf(ca, -time.Hour, time.Hour, revoked.Leaf.SerialNumber) // as one that was fetched
			r.judged()
			r.listener.TLS.CRL.Files, r.listener.TLS.CRL.DistributionPoints = nil, true
			if row, text := r.examine("P3.5"); row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
		})
	}
}

// Where the CA is somebody else's, what the operator gives is shown.
func TestCertificatesOfAnotherCA(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		revoked bool // what is given as revoked is on the list
		state   State
	}{"revoked": {true, Pass}, "not revoked": {false, Fail}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ca := newDeviceRig(t), newAuthority(t, "plant")
			client := func(name string) *tls.Certificate {
				pair := ca.server(ecKey(t), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, name)
				return &pair
			}
			r.env.GoodCert, r.env.RevokedCert, r.env.DenyGood = client("dev-1"), client("dev-2"), true
			file, _ := keep(t, filepath.Join(t.TempDir(), "ca"), tls.Certificate{}, ca.cert)
			r.listener.TLS.ClientCA = []string{file}
			var serials []*big.Int
			if c.revoked {
				serials = append(serials, r.env.RevokedCert.Leaf.SerialNumber)
			}
			r.listOf(ca, -time.Hour, time.Hour, serials...)
			r.judged()
			row, text := r.examine("P3.5")
			if want := c.state; row.State() != want {
				t.Errorf("%s, want %s\n%s", row.State(), want, text)
			}
		})
	}
}

// listOf replaces the list of the listener by one of ca.
func (r *deviceRig) listOf(ca *authority, from, to time.Duration, serials ...*big.Int) {
	r.t.Helper()
	now := time.Now()
	l := &x509.RevocationList{Number: big.NewInt(9), ThisUpdate: now.Add(from), NextUpdate: now.Add(to)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.cert, ca.key)
	if err != nil {
		r.t.Fatal(err)
	}
	file := filepath.Join(r.t.TempDir(), "crl.pem")
	write(r.t, file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	r.listener.TLS.CRL.Files = []string{file}
}
