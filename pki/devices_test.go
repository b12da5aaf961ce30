package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const dayLong = 24 * time.Hour

// newDevices is a CA of devices in a data directory.
func newDevices(t *testing.T) (*Devices, string) {
	t.Helper()
	_, dir := mustInit(t)
	d, err := InitDevices(dir, "", t0)
	if err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func issue(t *testing.T, d *Devices, now time.Time, name string, life time.Duration) (*IssuedDevice, *x509.Certificate) {
	t.Helper()
	out, err := d.Issue(now, Order{Name: name, Life: life})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := parseChain(out.Certificate, name)
	if err != nil {
		t.Fatal(err)
	}
	return out, chain[0]
}

// judge is what a listener says to a certificate that has the CA and the list as they are.
func judge(t *testing.T, dataDir string, x *x509.Certificate, now time.Time) error {
	t.Helper()
	c := &Clients{Ask: ClientCertRequired, Depth: 1, Identity: IdentityCN}
	if err := c.LoadClientCAs([]string{DevicesCA(dataDir)}, now); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadRevoked([]string{DevicesList(dataDir)}, 0); err != nil {
		t.Fatal(err)
	}
	_, err := c.Verify([]*x509.Certificate{x}, now)
	return err
}

func saying(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: not refused", what)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

func TestTheCAOfDevices(t *testing.T) {
	_, err := InitDevices(t.TempDir(), "", t0)
	saying(t, "no data directory", err, "redoubt init")
	b, dir := mustInit(t)
	_, err = OpenDevices(dir)
	saying(t, "before it is made", err, "redoubt cert ca init")
	if !errors.Is(err, ErrNoDevices) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{" ", "a\x1b[2J", strings.Repeat("x", 65)} {
		if _, err := InitDevices(dir, name, t0); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
	// What a crash has left: the rename never came.
	left := filepath.Join(dir, certsDir, ".devices.new-1")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := InitDevices(dir, "Plant 7", t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what a crash has left is still there")
	}
	ca := d.CA()
	if ca.Subject.CommonName != "Plant 7" || !ca.IsCA || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || ca.NotAfter.Sub(t0) < 3640*dayLong {
		t.Errorf("%+v", ca)
	}
	if key, ok := ca.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() || key.Equal(b.CA().PublicKey) {
		t.Errorf("%T", ca.PublicKey)
	}
	for _, name := range []string{caKeyName, devicesLedgerName, canaryKeyName} {
		if info, err := os.Stat(d.path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if is := d.current(); is == nil || is.Number.Int64() != 1 || len(is.RevokedCertificateEntries) != 1 || !is.NextUpdate.Equal(t0.Add(7*dayLong)) {
		t.Errorf("%+v", is)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(d.dir, 65533, 65533); err != nil {
			t.Fatal(err)
		}
		_, err = OpenDevices(dir)
		saying(t, "root in somebody's folder", err, "sudo -u '#65533'")
		if err := os.Chown(d.dir, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, dir)
	_, err = InitDevices(dir, "", t0)
	saying(t, "again", err, "never replaced", "Move it away")
	if !same(before, snapshot(t, dir)) {
		t.Error("a refused init has changed something")
	}
}

func TestADeviceIsIssuedACertificate(t *testing.T) {
	d, dir := newDevices(t)
	out, x := issue(t, d, t0, "dev-1.example", 90*dayLong)
	if err := judge(t, dir, x, t0); err != nil {
		t.Error(err)
	}
	if !slices.Equal(x.DNSNames, []string{"dev-1.example"}) || x.Subject.CommonName != "dev-1.example" || x.IsCA || x.SerialNumber.BitLen() < 120 ||
		!slices.Equal(x.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || !x.NotAfter.Equal(t0.Add(90*dayLong)) {
		t.Errorf("%+v", x)
	}
	key, err := parseKey(out.Key.Reveal(), "key")
	if err != nil || belongs(key, x, "key", "certificate") != nil {
		t.Errorf("%v", err)
	}
	all, err := d.List()
	if err != nil || len(all) != 1 || all[0] != out.DeviceCert || all[0].Serial != fmt.Sprintf("%x", x.SerialNumber) || all[0].Fingerprint != Fingerprint(x) {
		t.Errorf("%+v, %v", all, err)
	}
	for _, name := range []string{"Halle 3", "192.0.2.7", "größe"} { // none of them a host
		if _, x := issue(t, d, t0, name, dayLong); len(x.DNSNames) > 0 {
			t.Errorf("%s: %v", name, x.DNSNames)
		}
	}
	for what, row := range map[string]struct {
		now   time.Time
		order Order
		words string
	}{
		"no name":      {t0, Order{Life: dayLong}, "needs a name"},
		"a long name":  {t0, Order{Name: strings.Repeat("n", 65), Life: dayLong}, "at most 64"},
		"two years":    {t0, Order{Name: "dev", Life: 730 * dayLong}, "366 days"},
		"no time":      {t0, Order{Name: "dev"}, "an hour"},
		"after the CA": {d.ca.NotAfter.Add(time.Minute), Order{Name: "dev", Life: dayLong}, "expired on"},
		"before it":    {d.ca.NotBefore.Add(-time.Minute), Order{Name: "dev", Life: dayLong}, "check the clock"},
	} {
		_, err := d.Issue(row.now, row.order)
		saying(t, what, err, row.words)
	}
	late, x := issue(t, d, d.ca.NotAfter.Add(-dayLong), "late", 90*dayLong)
	if !late.Short || !x.NotAfter.Equal(d.ca.NotAfter) {
		t.Errorf("it outlives its CA: %v, %v", x.NotAfter, d.ca.NotAfter)
	}
	// Nothing is given out that could not be recorded.
	if err := os.Rename(d.path(devicesLedgerName), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	_, err = d.Issue(t0, Order{Name: "dev", Life: dayLong})
	saying(t, "without issued.json", err, "issued.json is missing", "backup")
	if err := os.Rename(filepath.Join(dir, "moved"), d.path(devicesLedgerName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(d.path(caKeyName)); err != nil {
		t.Fatal(err)
	}
	_, err = d.Issue(t0, Order{Name: "dev", Life: dayLong})
	saying(t, "without the key", err, "ca.key is missing", "backup")
	if again, err := d.List(); err != nil || len(again) != 5 {
		t.Errorf("%d recorded, %v", len(again), err)
	}
}

func TestRecordsThatAreNotOurs(t *testing.T) {
	d, _ := newDevices(t)
	for text, words := range map[string]string{
		`{"version": 2}`: "version 2", `{"version": 1}{}`: "behind its end", `{"version": 1, "users": []}`: "users",
		`{"version": 1, "certificates": [{"serial": "-1"}]}`: "certificate 1", `[]`: "cannot be read", ``: "cannot be read",
	} {
		if err := os.WriteFile(d.path(devicesLedgerName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := d.List()
		saying(t, text, err, words)
	}
	if err := os.Chmod(d.path(devicesLedgerName), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := d.List()
	saying(t, "readable by others", err, "chmod 0600")
}

// TestTwoCommandsAtOnce: none of what both issue and revoke is lost.
func TestTwoCommandsAtOnce(t *testing.T) {
	d, dir := newDevices(t)
	const each = 8
	var wg sync.WaitGroup
	for who := range 2 {
		wg.Go(func() {
			mine, err := OpenDevices(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				name := fmt.Sprintf("dev-%d-%d", who, i)
				if _, err := mine.Issue(t0, Order{Name: name, Life: dayLong}); err != nil {
					t.Error(err)
				}
				if _, _, err := mine.Revoke(t0, name, false, "superseded"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := d.List()
	if err != nil || len(all) != 2*each || slices.ContainsFunc(all, func(c DeviceCert) bool { return !c.Revoked() }) {
		t.Errorf("%d of %d recorded, %v: %+v", len(all), 2*each, err, all)
	}
	if is := d.current(); len(is.RevokedCertificateEntries) != 2*each+1 || is.Number.Int64() != 1+2*each {
		t.Errorf("list %d names %d", is.Number, len(is.RevokedCertificateEntries))
	}
	unlock, err := d.lock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	_, err = d.lock(0)
	saying(t, "a command that does not end", err, "another command", fmt.Sprint(os.Getpid()))
}

func TestHandover(t *testing.T) {
	d, _ := newDevices(t)
	dir := t.TempDir()
	out, _ := issue(t, d, t0, "dev", dayLong)
	h, err := NewHandover(dir, "dev", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Fill(out); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(filepath.Join(dir, "dev.pem"))
	if err != nil || !bytes.Equal(cert, out.Certificate) {
		t.Errorf("%q, %v", cert, err)
	}
	if info, err := os.Stat(h.KeyFile); err != nil || info.Mode().Perm() != 0o600 || info.Size() != int64(len(out.Key.Reveal())) {
		t.Errorf("%v, %v", info, err)
	}
	before := snapshot(t, dir)
	_, err = NewHandover(dir, "dev", false)
	saying(t, "there already", err, "dev.pem", "not overwritten")
	if err := os.Remove(h.CertFile); err != nil {
		t.Fatal(err)
	}
	_, err = NewHandover(dir, "dev", true)
	saying(t, "the key is there already", err, "dev.key", "not overwritten")
	delete(before, h.CertFile)
	if !same(before, snapshot(t, dir)) {
		t.Error("a refused handover has changed something")
	}
	_, err = NewHandover(filepath.Join(dir, "none"), "dev", true)
	saying(t, "no folder", err, "mkdir -p")
	other, err := NewHandover(dir, "other", true)
	if err != nil {
		t.Fatal(err)
	}
	other.Drop()
	if !same(before, snapshot(t, dir)) {
		t.Error("a dropped handover has left something")
	}
}
