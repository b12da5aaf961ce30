package pki

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/redoubtmq/redoubt/internal/secret"
)

func bundle(t *testing.T) *Bundle {
	t.Helper()
	d, dir := newDevices(t)
	out, _ := issue(t, d, t0, "dev-1", dayLong)
	ca, err := os.ReadFile(CAFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	return &Bundle{Issued: out, CA: ca, Host: "mqtt.example.com", Port: 8884}
}

// TestABundleHasAllAClientNeeds: as an archive, as a folder and as PKCS #12; and nobody but
// its owner can read any of it.
func TestABundleHasAllAClientNeeds(t *testing.T) {
	b := bundle(t)
	archive, err := b.Tar()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive.Reveal())); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode&0o077 != 0 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		text, _ := io.ReadAll(r)
		files[h.Name] = string(text)
	}
	for name, want := range map[string]string{
		"dev-1/": "", "dev-1/client.pem": "BEGIN CERTIFICATE", "dev-1/client.key": "BEGIN PRIVATE KEY", "dev-1/ca.pem": "BEGIN CERTIFICATE",
		"dev-1/settings.json": `"port": 8884`, "dev-1/mosquitto.conf": "address mqtt.example.com:8884", "dev-1/README.txt": "mosquitto_pub -h mqtt.example.com -p 8884 --cafile ca.pem",
	} {
		if text, ok := files[name]; !ok || !strings.Contains(text, want) {
			t.Errorf("%s: %q", name, text)
		}
	}
	dir := filepath.Join(t.TempDir(), "dev-1")
	p, err := NewPackage(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Folder(b); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if name = strings.TrimPrefix(name, "dev-1/"); name == "" {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if got, _ := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text || info.Mode().Perm() != 0o600 {
			t.Errorf("%s in the folder: %v", name, err)
		}
	}
	p12, err := b.PKCS12(secret.FromString("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	key, x, cas, err := pkcs12.DecodeChain(p12.Reveal(), "correct horse")
	if err != nil || key == nil || hexOf(x.SerialNumber) != b.Issued.Serial || len(cas) != 1 {
		t.Errorf("PKCS #12: %v", err)
	}
}

// TestABundleOverwritesNothing: and leaves nothing if it comes to nothing.
func TestABundleOverwritesNothing(t *testing.T) {
	for _, folder := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "bundle")
		p, err := NewPackage(path, folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewPackage(path, folder); err == nil || !strings.Contains(err.Error(), "not overwritten") {
			t.Errorf("folder %t: %v", folder, err)
		}
		p.Drop()
		if _, err := os.Lstat(path); !missing(err) {
			t.Errorf("folder %t: it is still there", folder)
		}
	}
}

// TestABundleStaysInItsFolder: a device may be called as a folder is that is not its own.
func TestABundleStaysInItsFolder(t *testing.T) {
	b := bundle(t)
	b.Issued.Name = ".."
	archive, err := b.Tar()
	if err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(bytes.NewReader(archive.Reveal())).Next()
	if err != nil || h.Name != "client/" {
		t.Errorf("%v %q", err, h.Name)
	}
}
