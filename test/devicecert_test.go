package test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestADeviceFromItsCertificateToItsRevocation (P3.4, P3.5) is what a newcomer types, with
// what the commands say comes next: a CA, a listener, a certificate, a message; and how the
// device is put out again while it is connected. openssl says the same of the files.
func TestADeviceFromItsCertificateToItsRevocation(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "mosquitto_pub")
	testkit.Need(t, "openssl")
	data, out := filepath.Join(testkit.TempDir(t), "data"), testkit.TempDir(t)
	run := func(words ...string) testkit.Run {
		t.Helper()
		return testkit.Exec(t, patience, "", append([]string{testkit.Command(t)}, append(words, "--data-dir", data)...)...)
	}
	must := func(r testkit.Run) string {
		t.Helper()
		if r.Code != 0 {
			t.Fatalf("exit code %d\n%s", r.Code, r.Text())
		}
		return r.Stdout
	}
	if r := run("cert", "ca", "init"); r.Code != 1 || !strings.Contains(r.Stderr, "redoubt init") {
		t.Errorf("before there is a data directory: exit code %d\n%s", r.Code, r.Text())
	}
	must(run("init"))
	said := must(run("cert", "ca", "init", "--name", "Plant 7 devices"))
	if r := run("cert", "ca", "init"); r.Code != 1 || !strings.Contains(r.Stderr, "never replaced") {
		t.Errorf("again: exit code %d\n%s", r.Code, r.Text())
	}
	ca, list := filepath.Join(data, "certs", "devices", "ca.pem"), filepath.Join(data, "certs", "devices", "crl.pem")

	// The section as it was printed, with a free port. A list that is missing is made anew.
	_, section, _ := strings.Cut(said, "  listeners:\n")
	section, _, _ = strings.Cut(section, "Next:")
	section = strings.ReplaceAll(section, "\n  ", "\n")[2:]
	port := testkit.FreePort(t)
	listeners, authn, ok := strings.Cut(section, "authn:\n")
	if !ok {
		t.Fatalf("no section to paste\n%s", said)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	b := testkit.Start(t, testkit.Options{
		DataDir: data, Config: "authn:\n" + authn,
		Listeners: strings.ReplaceAll(listeners, `":8884"`, fmt.Sprintf(`"127.0.0.1:%d"`, port)),
	})

	issued := must(b.Redoubt("", "cert", "issue", "device", "dev-lost", "--out", out))
	_, try, ok := strings.Cut(issued, "Try it:\n")
	if !ok {
		t.Fatalf("what comes next is not said\n%s", issued)
	}
	if r := testkit.Exec(t, patience, "", "sh", "-c", strings.TrimSpace(try)+" -q 1"); r.Code != 0 {
		t.Fatalf("%s\n%s\n%s", try, r.Text(), b.Log())
	}
	if r := b.Redoubt("", "cert", "issue", "device", "dev-lost", "--out", out); r.Code != 1 || !strings.Contains(r.Stderr, "not overwritten") {
		t.Errorf("over a file: exit code %d\n%s", r.Code, r.Text())
	}
	if r := b.Redoubt("", "cert", "issue", "device", "a/b", "--out", out); r.Code != 1 || !strings.Contains(r.Stderr, "${username}") {
		t.Errorf("a name of two levels: exit code %d\n%s", r.Code, r.Text())
	}
	// One that makes its key itself.
	kept := filepath.Join(out, "dev-kept")
	must(testkit.Exec(t, patience, "", "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=anything", "-keyout", kept+".key", "-out", kept+".csr"))
	must(b.Redoubt("", "cert", "issue", "device", "dev-kept", "--out", out, "--days", "30", "--csr", kept+".csr"))

	verify := func(name string) testkit.Run {
		return testkit.Exec(t, patience, "", "openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-crl_check", "-CAfile", ca, "-CRLfile", list, filepath.Join(out, name+".pem"))
	}
	pub := func(name string) testkit.Run {
		return testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "localhost", "-p", fmt.Sprint(port), "--cafile", b.CA(), "-q", "1",
			"--cert", filepath.Join(out, name+".pem"), "--key", filepath.Join(out, name+".key"), "-t", "devices/"+name+"/a", "-m", "x")
	}
	for _, name := range []string{"dev-lost", "dev-kept"} {
		if r := pub(name); r.Code != 0 {
			t.Errorf("%s: %s\n%s", name, r.Text(), b.Log())
		}
		must(verify(name))
		must(b.Redoubt("", "cert", "lint", filepath.Join(out, name+".pem"), "--key", filepath.Join(out, name+".key")))
	}

	pair, err := tls.LoadX509KeyPair(filepath.Join(out, "dev-lost.pem"), filepath.Join(out, "dev-lost.key"))
	if err != nil {
		t.Fatal(err)
	}
	live, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", port), &tls.Config{RootCAs: trust(t, b).RootCAs, ServerName: "localhost", Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	_ = live.SetDeadline(time.Now().Add(patience))
	_, _ = live.Write((&mqtt.Connect{Version: mqtt.V5, ClientID: "live", CleanStart: true, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0))
	buf := make([]byte, 256)
	if _, err := live.Read(buf); err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}

	must(b.Redoubt("", "cert", "revoke", "dev-lost", "--reason", "keyCompromise"))
	_ = live.SetDeadline(time.Now().Add(10 * time.Second))
	for err = nil; err == nil; {
		_, err = live.Read(buf)
	}
	if os.IsTimeout(err) {
		t.Fatalf("a revoked device is there after 10 s\n%s", b.Log())
	}
	if r := pub("dev-lost"); r.Code == 0 {
		t.Error("a revoked certificate is accepted")
	}
	if r := verify("dev-lost"); r.Code == 0 || !strings.Contains(r.Text(), "certificate revoked") {
		t.Errorf("openssl says: %s", r.Text())
	}
	if r := b.Redoubt("", "cert", "lint", filepath.Join(out, "dev-lost.pem")); r.Code != 1 || !strings.Contains(r.Stdout, "refused") || !strings.Contains(r.Stdout, "was revoked") {
		t.Errorf("lint: exit code %d\n%s", r.Code, r.Text())
	}
	if r := pub("dev-kept"); r.Code != 0 {
		t.Errorf("the other device: %s\n%s", r.Text(), b.Log())
	}
	must(verify("dev-kept"))
	var all struct {
		Data []struct{ Name, Serial, Reason string }
	}
	text := must(b.Redoubt("", "cert", "list", "-o", "json"))
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all.Data) != 2 || all.Data[0].Reason != "keyCompromise" || all.Data[1].Reason != "" {
		t.Errorf("%v\n%s", err, text)
	}
	if text := must(b.Redoubt("", "cert", "crl")); !strings.Contains(text, "list 4 is in") || !strings.Contains(text, "1 revoked") {
		t.Errorf("cert crl: %s", text)
	}
}
