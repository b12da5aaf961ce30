package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestACertificateByACME: a broker that is told a name gets its certificate from an ACME
// server while it serves, shows it to new connections without a word from anybody, and has it
// after a start while that server is gone. Its listeners speak MQTT only.
func TestACertificateByACME(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "mosquitto_pub")
	p := testkit.StartPebble(t)
	port, data := testkit.FreePort(t), filepath.Join(testkit.TempDir(t), "data")
	start := func(directory string) *testkit.Broker {
		return testkit.Start(t, testkit.Options{DataDir: data, Listeners: fmt.Sprintf("  public:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    tls:\n      acme: {names: [broker.example], agree: true, directory: %q, directory_ca: %s, challenge_bind: %q}\n", port, directory, p.CA, p.Challenge)})
	}
	shown := func(b *testkit.Broker) {
		t.Helper()
		r := openssl(t, port, "-servername", "broker.example", "-CAfile", p.Issuer, "-verify_hostname", "broker.example", "-alpn", "mqtt")
		if !strings.Contains(r.Stdout, "Verify return code: 0 (ok)") || !strings.Contains(r.Stdout, "ALPN protocol: mqtt") {
			t.Fatalf("%s\n%s", r.Text(), b.Log())
		}
	}
	b := start(p.Directory)
	b.AddUser("dev", "correct horse battery")
	if _, ok := b.Stderr.WaitFor(patience, 0, "files of a listener were read again", `"listener":"public"`, "20"); !ok {
		t.Fatal(b.Log())
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, "a server certificate was got by ACME", `"name":"broker.example"`); !ok {
		t.Fatal(b.Log())
	}
	for tries := 0; ; tries++ { // read again within two seconds
		if s := b.Redoubt("", "status"); strings.Contains(s.Stdout, "public: broker.example, until ") {
			break
		} else if tries == 100 {
			t.Fatalf("%s\n%s", s.Text(), b.Log())
		}
	}
	shown(b)
	// mosquitto_pub finds the name by no DNS here, and knows the root.
	r := testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "127.0.0.1", "-p", fmt.Sprint(port), "--cafile", p.Issuer, "--insecure", "-u", "dev", "-P", "correct horse battery", "-t", "devices/dev/a", "-m", "x", "-q", "1")
	if r.Code != 0 {
		t.Fatalf("%s\n%s", r.Text(), b.Log())
	}
	if r := openssl(t, port, "-servername", "broker.example", "-alpn", "acme-tls/1"); leafOf(t, r) != nil && strings.Contains(r.Stdout, "ALPN protocol: acme") {
		t.Errorf("the listener speaks something else than MQTT\n%s", r.Text())
	}
	files, err := filepath.Glob(filepath.Join(data, "certs", "acme", "certificates", "*", "broker.example", "broker.example.key"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	b.Stop()
	p.Stop()
	b = start(p.Directory)
	shown(b)
	b.Stop()
	// Another CA, which cannot be reached: what that one has issued is not here, and the
	// listener shows that of the built-in CA until it is.
	b = start(strings.Replace(p.Directory, "https://127.0.0.1", "https://localhost", 1))
	if got := leafOf(t, openssl(t, port)); got == nil || !strings.Contains(got.Issuer.CommonName, "Redoubt") {
		t.Errorf("it shows %v\n%s", got, b.Log())
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, `"alarm":"acme_failed"`, `"subject":"broker.example"`, "connection refused"); !ok {
		t.Fatal(b.Log())
	}
}
