package harden

import (
	"bufio"
	"encoding/pem"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// A server that lets clients renegotiate is found, and one that does not passes:
// OpenSSL can be told to do either.
func TestRenegotiationIsNoticed(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed; run: sudo make deps")
	}
	dir, pair := t.TempDir(), selfSigned(t)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "both.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	if err := os.WriteFile(both, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]State{"-client_renegotiation": Fail, "-no_renegotiation": Pass} {
		cmd := exec.Command(program, "s_server", "-accept", "127.0.0.1:0", "-cert", both, "-key", both, "-tls1_2", flag)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := cmd.StdinPipe() // it ends with its input
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var at netip.AddrPort
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, rest, ok := strings.Cut(lines.Text(), "ACCEPT "); ok {
				at = netip.MustParseAddrPort(strings.TrimSpace(rest))
				break
			}
		}
		e := &Env{Clock: clock.System{}, Config: &config.Config{}, Step: 20 * time.Second}
		p := &cipherProbe{inquiry: e.inquire("x"), ctx: t.Context(), a: at, accepted: []uint16{0xc02b, 0xc02c}}
		p.renegotiation()
		if o := p.obs[0]; o.State != want {
			t.Errorf("%s: %s: %s", flag, o.State, o.Actual)
		}
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
