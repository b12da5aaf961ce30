package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

// TestTheListOfAnotherCA: it locks out every client, and is said when it is read, not only when
// the first of them comes.
func TestTheListOfAnotherCA(t *testing.T) {
	dir := t.TempDir()
	mine, others := filepath.Join(dir, "mine"), filepath.Join(dir, "others")
	for _, data := range []string{mine, others} {
		for _, args := range [][]string{{"init"}, {"cert", "ca", "init"}} {
			if _, err, _ := command(t, "", append(args, "--data-dir", data)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, row := range map[string]struct {
		lists []string
		warns bool
	}{
		"of another": {[]string{pki.DevicesList(others)}, true},
		"of both":    {[]string{pki.DevicesList(others), pki.DevicesList(mine)}, false},
		"none":       {nil, false},
	} {
		var said bytes.Buffer
		n := &node{clock: clock.System{}, log: slog.New(slog.NewTextHandler(&said, nil))}
		c := &config.Config{Listeners: map[string]config.Listener{"devices": {Protocol: config.ProtocolMQTTS, TLS: config.TLS{
			ClientCert: string(pki.ClientCertRequired), ClientCA: []string{pki.DevicesCA(mine)}, CRL: config.CRL{Files: row.lists},
		}}}}
		if _, err := n.clients("devices", c); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := strings.Contains(said.String(), "crl.files has lists, and none of this CA"); got != row.warns {
			t.Errorf("%s: said %v\n%s", what, got, said.String())
		}
	}
}
