package harden

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// certRig is a listener with a certificate of a CA below a root.
type certRig struct {
	*fake
	dir      string
	root, ca *authority
	pair     tls.Certificate
	cert     string // file
	listener config.Listener
	row      string // "": P3.3
}

func newCertRig(t *testing.T) *certRig {
	t.Helper()
	r := &certRig{fake: newFake(t, flaws{}), dir: t.TempDir(), root: newAuthority(t, "root")}
	r.ca = r.root.below("between")
	r.issue(nil)
	return r
}

// issue makes the pair anew, writes it and has it served.
func (r *certRig) issue(change func(*x509.Certificate)) {
	r.t.Helper()
	r.pair = r.ca.server(ecKey(r.t), change, "localhost", "broker.example", "*.plant.example")
	cert, key := keep(r.t, filepath.Join(r.dir, "server"), r.pair, r.root.cert)
	r.cert = cert
	r.listener = config.Listener{Protocol: config.ProtocolMQTTS, TLS: config.TLS{Certificates: []config.Certificate{{Cert: cert, Key: config.Secret{Ref: "file:" + key}}}}}
	r.serve(r.pair)
}

// serve has these certificates shown from now on.
func (r *certRig) serve(pairs ...tls.Certificate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conf = &tls.Config{Certificates: pairs, MinVersion: tls.VersionTLS12, NextProtos: []string{"mqtt"}}
}

func (r *certRig) examine() (Row, string) {
	r.t.Helper()
	if len(r.listeners) == 0 {
		r.listen("secure", "mqtts", "127.0.0.1:0")
	}
	if r.config == nil {
		r.config = map[string]config.Listener{}
	}
	r.config["secure"] = r.listener
	e := r.alone(r.env())
	e.Step = time.Second // a difference is looked at again after it
	if r.row == "" {
		r.row = "P3.3"
	}
	rep := examine(r.t, e, r.row)
	var out bytes.Buffer
	if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
		r.t.Fatal(err)
	}
	return rep.Rows[0], out.String()
}

// A key that is open is closed by the same step for this row as for P2.2; whatever else is
// wrong beside it, has words.
func TestAnOpenKeyOfAListener(t *testing.T) {
	t.Parallel()
	for _, expired := range []bool{false, true} {
		r := newCertRig(t)
		if expired {
			r.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		}
		key := strings.TrimPrefix(r.listener.TLS.Certificates[0].Key.Ref, "file:")
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		row, out := r.examine()
		var wants []Want
		var fixes string
		for i := range row.Results {
			wants, fixes = append(wants, row.Results[i].Wants...), fixes+row.Results[i].Fix
		}
		if row.State() != Fail || !strings.Contains(out, "has mode 0644") {
			t.Fatal(out)
		}
		if expired != (len(wants) == 0) || !expired && (len(wants) != 1 || wants[0] != Want{Kind: WantMode, Name: key, Clear: 0o077, Owner: -1} || fixes != "chmod 0600 "+key) {
			t.Errorf("expired %v: %+v, %q", expired, wants, fixes)
		}
	}
}

func TestCertificatesOfListeners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(r *certRig)
		state  State
		want   string
	}{
		"good":          {func(*certRig) {}, Pass, "for probe.plant.example"},
		"the root also": {func(r *certRig) { r.pair.Certificate = append(r.pair.Certificate, r.root.cert.Raw); r.serve(r.pair) }, Pass, "then the root"},
		"renewed and not read": {func(r *certRig) {
			r.serve(r.ca.server(ecKey(r.t), nil, "localhost"))
		}, Fail, "which no file has"},
		"for one name not read": {func(r *certRig) {
			r.serve(r.pair, r.ca.server(ecKey(r.t), nil, "broker.example"))
			old := r.conf.Certificates
			r.conf.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if h.ServerName == "broker.example" {
					return &old[1], nil
				}
				return &old[0], nil
			}
			r.conf.Certificates = nil
		}, Fail, "for broker.example: certificate"},
		"shown without its issuer": {func(r *certRig) {
			r.serve(tls.Certificate{Certificate: r.pair.Certificate[:1], PrivateKey: r.pair.PrivateKey})
		}, Fail, "the chain behind it is another one"},
		"without its issuer in the file": {func(r *certRig) {
			r.pair.Certificate = r.pair.Certificate[:1]
			keep(r.t, filepath.Join(r.dir, "server"), r.pair)
			r.serve(r.pair)
		}, Warn, "not known here as a root"},
		"expired": {func(r *certRig) {
			r.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, Fail, "expired on"},
		"ten days left": {func(r *certRig) {
			r.issue(func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -80), time.Now().AddDate(0, 0, 10)
			})
		}, Warn, "days are left"},
		"short, with half of it left": {func(r *certRig) {
			r.issue(func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -3), time.Now().AddDate(0, 0, 3)
			})
		}, Pass, "days are left"},
		"for clients": {func(r *certRig) {
			r.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
		}, Fail, "lacks serverAuth"},
		"another key in the file": {func(r *certRig) {
			other := r.ca.server(ecKey(r.t), nil, "localhost")
			keep(r.t, filepath.Join(r.dir, "other"), other)
			r.listener.TLS.Certificates[0].Key.Ref = "file:" + filepath.Join(r.dir, "other.key")
		}, Fail, "does not belong"},
		"the key of its CA": {func(r *certRig) {
			r.pair = r.ca.server(r.ca.key, nil, "localhost")
			keep(r.t, filepath.Join(r.dir, "server"), r.pair, r.root.cert)
			r.serve(r.pair)
			file, _ := keep(r.t, filepath.Join(r.dir, "clients"), tls.Certificate{}, r.ca.cert, r.root.cert)
			r.listener.TLS.ClientCA, r.listener.TLS.ChainDepth = []string{file}, 5
		}, Fail, "is the key of a CA"},
		"the same key again": {func(r *certRig) {
			again := r.ca.server(r.pair.PrivateKey.(crypto.Signer), nil, "other.example")
			cert, key := keep(r.t, filepath.Join(r.dir, "again"), again, r.root.cert)
			r.listener.TLS.Certificates = append(r.listener.TLS.Certificates, config.Certificate{Cert: cert, Key: config.Secret{Ref: "file:" + key}})
			r.serve(r.pair, again)
		}, Warn, "is also that of"},
		"a kind of key for other clients": {func(r *certRig) {
			other := r.ca.server(rsaKey(r.t), nil, "localhost")
			cert, key := keep(r.t, filepath.Join(r.dir, "rsa"), other, r.root.cert)
			r.listener.TLS.Certificates = append(r.listener.TLS.Certificates, config.Certificate{Cert: cert, Key: config.Secret{Ref: "file:" + key}})
			r.serve(r.pair, other)
		}, Pass, "shown to clients of TLS 1.2"},
		"nobody is shown one": {func(r *certRig) {
			other := r.ca.server(ecKey(r.t), nil, "localhost")
			cert, key := keep(r.t, filepath.Join(r.dir, "lost"), other, r.root.cert)
			r.listener.TLS.Certificates = append(r.listener.TLS.Certificates, config.Certificate{Cert: cert, Key: config.Secret{Ref: "file:" + key}})
		}, Warn, "nobody is shown it"},
		"chains are longer than allowed": {func(r *certRig) {
			file, _ := keep(r.t, filepath.Join(r.dir, "clients"), tls.Certificate{}, r.ca.cert, r.root.cert)
			r.listener.TLS.ClientCA, r.listener.TLS.ChainDepth = []string{file}, 0
		}, Fail, "chain_depth: 0, expected at least 1"},
		"no file":       {func(r *certRig) { _ = os.Remove(r.cert) }, Unknown, "no such file"},
		"nothing shown": {func(r *certRig) { r.serve() }, Unknown, "none was"},
		"no such listener": {func(r *certRig) {
			r.listen("other", "mqtts", "127.0.0.1:0")
		}, Unknown, "has no such listener"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P3.3", name, c.state)
			r := newCertRig(t)
			r.listen("secure", "mqtts", "127.0.0.1:0")
			c.change(r)
			row, text := r.examine()
			if row.State() != c.state || !strings.Contains(text, c.want) {
				t.Errorf("%s, want %s and %q in\n%s", row.State(), c.state, c.want, text)
			}
			if c.state == Pass && row.Confidence() != Behavioural {
				t.Errorf("by %s evidence", row.Confidence())
			}
		})
	}
}

// A broker that reads a new file a moment later is in order.
func TestANewFileIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newCertRig(t)
	old := r.pair
	at := r.listen("secure", "mqtts", "127.0.0.1:0")
	r.issue(nil)
	fresh := r.pair
	r.serve(old)
	seen := 0
	r.conf.Certificates, r.conf.GetCertificate = nil, func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if seen++; seen > 4 { // without a name, localhost, and two of the certificate
			return &fresh, nil
		}
		return &old, nil
	}
	if row, text := r.examine(); row.State() != Pass {
		t.Errorf("%s at %s\n%s", row.State(), at, text)
	}
}
