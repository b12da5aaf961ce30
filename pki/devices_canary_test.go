package pki

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

// The canary is refused for being revoked and for nothing else, whatever a crash or an
// older program has left.
func TestTheCanaryIsRevoked(t *testing.T) {
	d, dir := newDevices(t)
	check := func(what string) (serial string) {
		t.Helper()
		pair, err := DevicesCanary(dir)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		saying(t, what, judge(t, dir, pair.Leaf, t0), "was revoked by its issuer")
		c := &Clients{Ask: ClientCertRequired, Depth: 5, Identity: IdentityCN}
		if err := c.LoadClientCAs([]string{DevicesCA(dir)}, t0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Verify([]*x509.Certificate{pair.Leaf}, t0.Add(9*365*dayLong)); err != nil {
			t.Errorf("%s: without a list: %v", what, err)
		}
		if all, err := d.List(); err != nil || len(all) > 0 {
			t.Errorf("%s: it is among what was given out: %v, %v", what, all, err)
		}
		return hexOf(pair.Leaf.SerialNumber)
	}
	first := check("a new CA")
	remove := func(names ...string) {
		for _, n := range names {
			if err := os.Remove(d.path(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget := func() {
		if err := os.WriteFile(d.path(devicesLedgerName), []byte(`{"version": 1, "crl_number": 1, "certificates": []}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	info, err := d.WriteList(t0)
	if err != nil || info.Revoked != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if again := check("files that are not recorded"); again != first {
		t.Error("there is another one")
	}
	remove(canaryCertName, canaryKeyName, devicesListName)
	forget()
	if _, err := DevicesCanary(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an older CA: %v", err)
	}
	if _, _, err := RefreshDevices(dir, t0); err != nil {
		t.Fatal(err)
	}
	if check("a CA of before") == first {
		t.Error("the old one is back")
	}
	remove(canaryKeyName)
	if _, err := d.WriteList(t0); err != nil {
		t.Fatal(err)
	}
	pair, err := DevicesCanary(dir) // the one before stays revoked, as one nobody knows of
	if err != nil {
		t.Fatal(err)
	}
	saying(t, "a key that is lost", judge(t, dir, pair.Leaf, t0), "was revoked by its issuer")
}

// A prober makes nothing that lasts.
func TestProbesDoNotLast(t *testing.T) {
	d, dir := newDevices(t)
	p, err := DevicesProber(dir)
	if err != nil || !p.CA().Equal(d.CA()) {
		t.Fatal(err)
	}
	good := ProbeCert{Name: "probe-1", NotBefore: t0, NotAfter: t0.Add(ProbeLifeMax), Usage: x509.ExtKeyUsageClientAuth}
	pair, err := p.Issue(t0, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := judge(t, dir, pair.Leaf, t0); err != nil {
		t.Error(err)
	}
	for _, i := range []Identity{IdentityCN, IdentitySANDNS, IdentitySANEmail, IdentitySANURI} {
		c := &Clients{Identity: i}
		if name, err := c.Name(pair.Leaf); err != nil || !strings.HasSuffix(name, "probe-1") {
			t.Errorf("%s: %q, %v", i, name, err)
		}
	}
	for what, change := range map[string]func(*ProbeCert){
		"long":  func(c *ProbeCert) { c.NotAfter = c.NotAfter.Add(time.Second) },
		"later": func(c *ProbeCert) { c.NotBefore, c.NotAfter = t0.Add(3*time.Hour), t0.Add(3*time.Hour+time.Minute) },
	} {
		c := good
		change(&c)
		if _, err := p.Issue(t0, c); err == nil {
			t.Errorf("%s: issued", what)
		}
	}
}
