package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain fixes the umask: t.TempDir makes its folders with it, and an open one
// is refused here as anywhere.
func TestMain(m *testing.M) {
	syscall.Umask(0o022)
	os.Exit(m.Run())
}

var (
	t0        = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	testNames = LocalNames("Broker.Example.", []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")})
)

func mustInit(t *testing.T) (*BuiltIn, string) {
	t.Helper()
	dir := t.TempDir()
	b, err := Init(dir, t0, testNames)
	if err != nil {
		t.Fatal(err)
	}
	return b, dir
}

// snapshot reads every file below dir, so that a test can say "nothing changed".
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestInitMakesAChainClientsAccept(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0) // modes must not depend on it
	b, err := Init(dir, t0, testNames)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(b.CAPath())
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("ca.pem: %v", err)
	}
	leaf := b.Certificate().Leaf
	for _, name := range []string{"localhost", "broker.example", "127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: t0.Add(-30 * time.Minute)}); err != nil {
			t.Errorf("a client with a clock half an hour slow refuses %s: %v", name, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere.example", CurrentTime: t0}); err == nil {
		t.Error("the certificate is valid for a name it should not have")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: t0, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("the server certificate passes as a client's")
	}
	ca := b.CA()
	if !ca.IsCA || !ca.MaxPathLenZero || ca.NotAfter.Sub(t0) < 9*365*24*time.Hour || ca.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("CA: isCA %v, path length zero %v, until %v", ca.IsCA, ca.MaxPathLenZero, ca.NotAfter)
	}
	for _, c := range []*x509.Certificate{ca, leaf} {
		if k, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
			t.Errorf("%s has a %T, want ECDSA P-256", c.Subject, c.PublicKey)
		}
		if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() < 120 {
			t.Errorf("%s has serial number %v", c.Subject, c.SerialNumber)
		}
	}
	if leaf.IsCA || leaf.NotAfter.Sub(t0) != 90*24*time.Hour {
		t.Errorf("leaf: isCA %v, until %v", leaf.IsCA, leaf.NotAfter)
	}
	for p, want := range map[string]os.FileMode{"certs": 0o700, "certs/ca.pem": 0o600, "certs/ca.key": 0o600, "certs/server.pem": 0o600, "certs/server.key": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, p)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, want mode %04o", p, fi, want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d entries in the data directory, want certs alone", len(left))
	}
	for p, content := range snapshot(t, dir) {
		if strings.HasSuffix(p, ".pem") && strings.Contains(content, "PRIVATE") {
			t.Errorf("%s holds a private key", p)
		}
	}
}

func TestOpenReusesEverything(t *testing.T) {
	first, dir := mustInit(t)
	before := snapshot(t, dir)
	b, created, err := Ensure(dir, t0.Add(59*24*time.Hour), testNames)
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	if !same(before, snapshot(t, dir)) {
		t.Error("files changed although nothing was due")
	}
	if !bytes.Equal(b.Certificate().Certificate[0], first.Certificate().Certificate[0]) {
		t.Error("another certificate is served")
	}
	if _, err := Init(dir, t0, testNames); err == nil || !strings.Contains(err.Error(), "never replaced") {
		t.Errorf("Init over a CA: %v", err)
	}
	if !same(before, snapshot(t, dir)) {
		t.Error("a refused Init changed files")
	}
}

func TestLeafIsRenewedAtTwoThirdsBySameCA(t *testing.T) {
	b, dir := mustInit(t)
	ca, old := b.CA(), b.Certificate().Leaf
	if changed, err := b.Refresh(t0.Add(59 * 24 * time.Hour)); err != nil || changed {
		t.Fatalf("day 59: changed %v, %v", changed, err)
	}
	later := t0.Add(61 * 24 * time.Hour)
	if changed, err := b.Refresh(later); err != nil || !changed {
		t.Fatalf("day 61: changed %v, %v", changed, err)
	}
	leaf := b.Certificate().Leaf
	if leaf.Equal(old) || leaf.CheckSignatureFrom(ca) != nil || !leaf.NotAfter.Equal(later.Add(leafLife)) {
		t.Errorf("renewed leaf: until %v, signed by our CA: %v", leaf.NotAfter, leaf.CheckSignatureFrom(ca) == nil)
	}
	if leaf.PublicKey.(*ecdsa.PublicKey).Equal(old.PublicKey) {
		t.Error("the key was used again")
	}
	if got, _ := b.Provider().GetCertificate(nil); got == nil || !got.Leaf.Equal(leaf) {
		t.Error("the provider still hands out the old leaf")
	}
	again, err := Open(dir, later, testNames)
	if err != nil || !again.Certificate().Leaf.Equal(leaf) || !again.CA().Equal(ca) {
		t.Errorf("a new process does not find the renewed leaf: %v", err)
	}
}

func TestLeafFollowsNames(t *testing.T) {
	b, dir := mustInit(t)
	reordered := Names{Hosts: slices.Clone(testNames.Hosts), Addresses: slices.Clone(testNames.Addresses)}
	slices.Reverse(reordered.Hosts)
	slices.Reverse(reordered.Addresses)
	b.SetNames(reordered)
	if changed, err := b.Refresh(t0); err != nil || changed {
		t.Errorf("the same names in another order: changed %v, %v", changed, err)
	}
	b.SetNames(LocalNames("renamed", nil))
	if changed, err := b.Refresh(t0); err != nil || !changed || b.Certificate().Leaf.VerifyHostname("renamed") != nil {
		t.Errorf("new names: changed %v, %v, names %v", changed, err, b.Certificate().Leaf.DNSNames)
	}
	moved, err := Open(dir, t0, LocalNames("moved", nil))
	if err != nil || moved.Certificate().Leaf.VerifyHostname("moved") != nil || !moved.CA().Equal(b.CA()) {
		t.Errorf("opened under another name: %v", err)
	}
}

// Each of these is answered by a person, never by a new CA.
func TestDamagedCAIsAnErrorInWords(t *testing.T) {
	other, _ := Init(t.TempDir(), t0, testNames)
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		now    time.Time
		want   string
	}{
		"key gone":     {remove("ca.key"), t0, "restore it from a backup"},
		"ca.pem gone":  {remove("ca.pem"), t0, "put back the copy your devices use"},
		"both gone":    {func(t *testing.T, d string) { remove("ca.key")(t, d); remove("ca.pem")(t, d) }, t0, "no server CA"},
		"foreign key":  {func(t *testing.T, d string) { copyFile(t, filepath.Join(other.dir, "ca.key"), d+"/ca.key") }, t0, "is not the key of"},
		"foreign cert": {func(t *testing.T, d string) { copyFile(t, other.CAPath(), d+"/ca.pem") }, t0, "is not the key of"},
		"leaf as CA":   {func(t *testing.T, d string) { copyFile(t, d+"/server.pem", d+"/ca.pem") }, t0, "is not a CA certificate"},
		"cert garbage": {put("ca.pem", "garbage"), t0, "holds no certificate"},
		"key garbage":  {put("ca.key", "garbage"), t0, "private key"},
		"expired":      {nothing, t0.Add(caLife + time.Hour), "expired on"},
		"clock behind": {nothing, t0.Add(-24 * time.Hour), "set the clock"},
		"key readable": {chmod("ca.key", 0o640), t0, "chmod 0600"},
		"leaf key too": {chmod("server.key", 0o604), t0, "chmod 0600"},
		"cert open":    {chmod("ca.pem", 0o666), t0, "chmod go-w"},
		"folder open":  {chmod("", 0o777), t0, "chmod go-w"},
		"oversize key": {put("ca.key", strings.Repeat("x", 1<<20+1)), t0, "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := mustInit(t)
			c.damage(t, filepath.Join(dir, "certs"))
			before := snapshot(t, dir)
			_, _, err := Ensure(dir, c.now, testNames)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if !same(before, snapshot(t, dir)) {
				t.Error("files were changed")
			}
		})
	}
}

// The command in a message must be the remedy.
func TestCommandInMessageRepairs(t *testing.T) {
	_, dir := mustInit(t)
	if err := os.Chmod(filepath.Join(dir, "certs", "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, t0, testNames)
	if err == nil {
		t.Fatal("a readable key was accepted")
	}
	cmd := err.Error()[strings.LastIndex(err.Error(), "chmod "):]
	if out, err := exec.Command("/bin/sh", "-c", cmd).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", cmd, err, out)
	}
	if _, err := Open(dir, t0, testNames); err != nil {
		t.Errorf("after %q: %v", cmd, err)
	}
}

// What a crash can leave of a leaf is repaired without anybody noticing.
func TestBrokenLeafIsReissued(t *testing.T) {
	other, _ := Init(t.TempDir(), t0, testNames)
	for name, damage := range map[string]func(t *testing.T, dir string){
		"key gone":              remove("server.key"),
		"cert gone":             remove("server.pem"),
		"crash between the two": func(t *testing.T, d string) { copyFile(t, filepath.Join(other.dir, "server.key"), d+"/server.key") },
		"cert cut off":          put("server.pem", "-----BEGIN CERTIFICATE-----\nMII"),
		"leaf of another broker": func(t *testing.T, d string) {
			copyFile(t, other.dir+"/server.key", d+"/server.key")
			copyFile(t, other.dir+"/server.pem", d+"/server.pem")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := mustInit(t)
			damage(t, filepath.Join(dir, "certs"))
			again, err := Open(dir, t0, testNames)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Certificate().Leaf.CheckSignatureFrom(b.CA()); err != nil {
				t.Errorf("the new leaf is not our CA's: %v", err)
			}
		})
	}
}

// A machine that lost power in the middle of Init begins again, and nothing of
// the half-made CA stays.
func TestInterruptedInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*c")
	half := filepath.Join(dir, ".certs.new-123")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "ca.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil { // empty: removed just before the rename
		t.Fatal(err)
	}
	if _, err := Init(dir, t0, testNames); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "certs" {
		t.Errorf("left over: %v", left)
	}
}

func TestLeafNeverOutlivesItsCA(t *testing.T) {
	b, _ := mustInit(t)
	late := b.CA().NotAfter.Add(-10 * 24 * time.Hour)
	if changed, err := b.Refresh(late); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if got := b.Certificate().Leaf.NotAfter; got.After(b.CA().NotAfter) {
		t.Errorf("leaf until %v, CA until %v", got, b.CA().NotAfter)
	}
	kept := b.Certificate()
	if _, err := b.Refresh(b.CA().NotAfter.Add(time.Hour)); err == nil {
		t.Error("a leaf was issued by an expired CA")
	}
	if b.Certificate() != kept {
		t.Error("a failed renewal took the old leaf away")
	}
}

func TestLocalNamesLeaveOutWhatACertificateCannotSay(t *testing.T) {
	var many []netip.Addr
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if n := LocalNames("h", many); len(n.Addresses) != addressesMax {
		t.Errorf("%d addresses, want %d", len(n.Addresses), addressesMax)
	}
	addrs := []netip.Addr{
		{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("169.254.1.1"),
		netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1"),
	}
	for host, want := range map[string]string{
		"UPPER.example": "localhost upper.example", "": "localhost", "localhost": "localhost", "bad name": "localhost",
		"*.example": "localhost", "a..b": "localhost", "-a": "localhost", strings.Repeat("a", 64): "localhost", "under_score": "localhost under_score",
		"new\nline": "localhost", strings.Repeat("a.", 127) + "aa": "localhost",
	} {
		n := LocalNames(host, addrs)
		if got := strings.Join(n.Hosts, " "); got != want {
			t.Errorf("host %q gives %q, want %q", host, got, want)
		}
		if len(n.Addresses) != 3 { // 127.0.0.1, ::1, 192.0.2.1 once
			t.Errorf("addresses %v", n.Addresses)
		}
	}
}

func nothing(*testing.T, string) {}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
