package acme

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/pki"
)

const patience = 30 * time.Second

// TestACertificateIsGotAndRenewed, by a real ACME server and its challenge: the files are
// such as a listener takes.
func TestACertificateIsGotAndRenewed(t *testing.T) {
	p := testkit.StartPebble(t)
	data := testkit.TempDir(t)
	got := make(chan string, 10)
	m, err := New(Options{
		DataDir: data, Names: []string{"broker.example"}, Directory: p.Directory, Roots: p.Roots, Bind: p.Challenge,
		Obtained: func(name string) { got <- name }, Failed: func(name string, err error) { t.Errorf("%s: %v", name, err) },
		CheckEvery: time.Second, RenewAt: 0.99999999, // at once, that is
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	cert, key := m.Files("Broker.example")
	if !strings.HasPrefix(cert, Folder(data)) {
		t.Errorf("the files are not in the data directory: %s", cert)
	}
	var serials []string
	for range 2 {
		select {
		case name := <-got:
			if name != "broker.example" {
				t.Fatalf("got one for %q", name)
			}
		case <-time.After(patience):
			t.Fatal("no certificate")
		}
		c, err := pki.LoadPair(cert, key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Leaf.VerifyHostname("broker.example"); err != nil {
			t.Error(err)
		}
		serials = append(serials, c.Leaf.SerialNumber.String())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if serials[0] == serials[1] {
		t.Error("it was not renewed")
	}
	if info, err := os.Stat(key); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
	if err := filepath.Walk(Folder(data), func(path string, info os.FileInfo, err error) error {
		// Locks hold a time, and are made as the process makes files: closed, in a broker.
		if err == nil && info.Mode().Perm()&0o077 != 0 && filepath.Ext(path) != ".lock" {
			t.Errorf("others can see %s: %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
