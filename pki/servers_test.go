package pki

import (
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAServerCertificateForAnotherHost: of the CA that clients trust, for the names and
// nothing else, and on record.
func TestAServerCertificateForAnotherHost(t *testing.T) {
	b, dir := mustInit(t)
	s, err := OpenServers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("before anything was issued: %v %v", all, err)
	}
	out, err := s.Issue(t0, []string{"MQTT.example.com", "192.0.2.7", "2001:db8::1", "*.edge.example.com"}, 30*dayLong, nil)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := parseChain(out.Certificate, "issued")
	if err != nil {
		t.Fatal(err)
	}
	x, roots := chain[0], x509.NewCertPool()
	roots.AddCert(b.CA())
	for _, host := range []string{"mqtt.example.com", "192.0.2.7", "2001:db8::1", "a.edge.example.com"} {
		if _, err := x.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: t0.Add(29 * dayLong)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, other := range []string{"example.com", "192.0.2.8", "edge.example.com"} {
		if x.VerifyHostname(other) == nil {
			t.Errorf("%s is among the names", other)
		}
	}
	if _, err := x.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: t0, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server's certificate makes a client")
	}
	if _, err := parsePair(out.Certificate, out.Key.Reveal(), "c", "k", t0); err != nil {
		t.Errorf("the broker would refuse it: %v", err)
	}
	if out.Name != "mqtt.example.com" || !x.NotAfter.Equal(t0.Add(30*dayLong)) || len(x.IPAddresses) != 2 || !x.IPAddresses[0].Equal(net.ParseIP("192.0.2.7")) {
		t.Errorf("%q until %s, %v", out.Name, x.NotAfter, x.IPAddresses)
	}
	key := p256(t)
	public, err := ParseRequest(request(t, key), "csr")
	if err != nil {
		t.Fatal(err)
	}
	if out, err = s.Issue(t0, []string{"other.example.com"}, dayLong, public); err != nil || len(out.Key.Reveal()) > 0 {
		t.Fatalf("with a request: %v", err)
	}
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].Names != "*.edge.example.com mqtt.example.com 192.0.2.7 2001:db8::1" || all[1].Serial != out.Serial {
		t.Errorf("%v %+v", err, all)
	}
}

func TestServerNamesThatAreRefused(t *testing.T) {
	_, dir := mustInit(t)
	s, err := OpenServers(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{nil, {""}, {"a b"}, {"https://x"}, {"*"}, {"*.com"}, {"a.*.com"}, {"x\x00y"}, {"0.0.0.0"}, {"fe80::1%eth0"}, {"224.0.0.1"}, {"-a"}, {strings.Repeat("a", 64) + ".com"}} {
		if _, err := s.Issue(t0, names, dayLong, nil); err == nil {
			t.Errorf("%q was issued", names)
		}
	}
	if _, err := s.Issue(t0, []string{"a.example"}, DeviceLifeMax+time.Hour, nil); err == nil {
		t.Error("a life beyond the longest was issued")
	}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("on record: %v %v", all, err)
	}
	if _, err := OpenServers(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "redoubt init") {
		t.Errorf("without a data directory: %v", err)
	}
}

// TestRenewing: what is valid is renewed for as long as before, what is not is not.
func TestRenewing(t *testing.T) {
	d, dir := newDevices(t)
	if _, _, err := d.Renew(t0, Order{Name: "dev"}); !errors.Is(err, ErrNothingToRenew) {
		t.Errorf("nobody's: %v", err)
	}
	first, _ := issue(t, d, t0, "dev", 30*dayLong)
	at := t0.Add(20 * dayLong)
	out, before, err := d.Renew(at, Order{Name: "dev"})
	if err != nil || before.Serial != first.Serial || out.Serial == first.Serial || !out.NotAfter.Equal(at.Add(30*dayLong)) {
		t.Fatalf("%v: %+v after %+v", err, out, before)
	}
	if out, _, err = d.Renew(at, Order{Name: "dev", Life: 5 * dayLong}); err != nil || !out.NotAfter.Equal(at.Add(5*dayLong)) {
		t.Errorf("for five days: %v", err)
	}
	if _, _, err := d.Revoke(at, "dev", true, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Renew(at, Order{Name: "dev"}); !errors.Is(err, ErrNothingToRenew) {
		t.Errorf("revoked: %v", err)
	}
	issue(t, d, t0, "old", dayLong)
	if _, _, err := d.Renew(at, Order{Name: "old"}); !errors.Is(err, ErrNothingToRenew) {
		t.Errorf("expired: %v", err)
	}
	s, err := OpenServers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Issue(t0, []string{"a.example", "192.0.2.7"}, 30*dayLong, nil); err != nil {
		t.Fatal(err)
	}
	out, _, err = s.Renew(at, "a.example", 0, nil)
	if err != nil || out.Names != "a.example 192.0.2.7" || !out.NotAfter.Equal(at.Add(30*dayLong)) {
		t.Errorf("%v %+v", err, out)
	}
	if _, _, err = s.Renew(at, "b.example", 0, nil); !errors.Is(err, ErrNothingToRenew) {
		t.Errorf("nobody's: %v", err)
	}
}
