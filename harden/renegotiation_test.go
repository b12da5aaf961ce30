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
		p := &cipherProbe{inquiry: e.inquire("x"), ctx: t.Context(), a: spot{AddrPort: at}, accepted: []uint16{0xc02b, 0xc02c}}
		p.renegotiation()
		if o := p.obs[1]; o.State != want {
			t.Errorf("%s: %s: %s", flag, o.State, o.Actual)
		}
		if o := p.obs[0]; o.State != Pass || o.Actual != "2h0m0s" {
			t.Errorf("tickets of OpenSSL: %s: %s", o.State, o.Actual)
		}
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func TestTicketsThatLiveLong(t *testing.T) {
	hello := []byte{22, 3, 3, 0, 4, 2, 0, 0, 0}
	ticket := func(life ...byte) []byte {
		return append([]byte{22, 3, 3, 0, 10, 4, 0, 0, 6}, append(life, 0, 0)...)
	}
	for name, c := range map[string]struct {
		sent []byte
		life int64
		want State
	}{
		"none":               {hello, -1, Pass},
		"an hour":            {append(hello, ticket(0, 0, 0x0e, 0x10)...), 3600, Pass},
		"in the same record": {[]byte{22, 3, 3, 0, 14, 2, 0, 0, 0, 4, 0, 0, 6, 0, 0, 0, 9, 0, 0}, 9, Pass},
		"eight days":         {append(hello, ticket(0, 0x0a, 0x8c, 0)...), 691200, Warn},
		"not said":           {append(hello, ticket(0, 0, 0, 0)...), 0, NotApplicable},
		"cut off":            {append(hello, 22, 3, 3, 0, 10, 4), -1, Pass},
		"behind the change":  {append([]byte{20, 3, 3, 0, 1, 1}, ticket(0, 0x0a, 0x8c, 0)...), -1, Pass},
	} {
		p := &cipherProbe{inquiry: (&Env{Clock: clock.System{}}).inquire("x")}
		if got := ticketLife(c.sent); got != c.life {
			t.Errorf("%s: %d s", name, got)
		}
		if p.ticket(c.life); p.obs[0].State != c.want {
			t.Errorf("%s: %s", name, p.obs[0].State)
		}
	}
}
