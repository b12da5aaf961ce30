package test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// deviceListener is the listener for certificates of the CA of devices, to be put into the
// configuration of a broker.
func deviceListener(data string, port int) (listeners, authn string) {
	certs := filepath.Join(data, "certs", "devices")
	return fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n    authn: certificates\n    tls:\n      client_cert: required\n"+
			"      client_ca: [%q]\n      crl: {files: [%q]}\n", port, filepath.Join(certs, "ca.pem"), filepath.Join(certs, "crl.pem")),
		"authn:\n  chains: {default: [builtin], certificates: [x509]}\n"
}

// TestCertificatesForServersAndInBundles: what the commands write is what the programs that
// are to use it take: a listener, a client with a bundle, the same after a renewal.
func TestCertificatesForServersAndInBundles(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "mosquitto_pub")
	testkit.Need(t, "openssl")
	testkit.Need(t, "/usr/sbin/mosquitto")
	data, out := filepath.Join(testkit.TempDir(t), "data"), testkit.TempDir(t)
	file := func(name string) string { return filepath.Join(out, name) }
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
	if r := run("cert", "issue", "server", "localhost", "--out", out); r.Code != 1 || !strings.Contains(r.Stderr, "redoubt init") {
		t.Errorf("before there is a data directory: exit code %d\n%s", r.Code, r.Text())
	}
	must(run("init"))
	must(run("cert", "ca", "init"))
	if r := run("cert", "issue", "server", "not a name", "--out", out); r.Code != 2 {
		t.Errorf("a bad name: exit code %d\n%s", r.Code, r.Text())
	}
	must(run("cert", "issue", "server", "localhost", "127.0.0.1", "--out", out, "--days", "30"))
	must(testkit.Exec(t, patience, "", "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=anything", "-keyout", file("edge.key"), "-out", file("edge.csr")))
	must(run("cert", "issue", "server", "edge.example.com", "--csr", file("edge.csr"), "--out", out))
	ca := filepath.Join(data, "certs", "ca.pem")
	must(testkit.Exec(t, patience, "", "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "edge.example.com", "-CAfile", ca, file("edge.example.com.pem")))
	must(run("cert", "lint", file("localhost.pem"), "--key", file("localhost.key")))
	if text := must(run("cert", "list", "--servers")); !strings.Contains(text, "edge.example.com") || strings.Count(text, "valid") != 2 {
		t.Errorf("cert list --servers:\n%s", text)
	}

	port := testkit.FreePort(t)
	listeners, authn := deviceListener(data, port)
	listeners = strings.Replace(listeners, "    tls:\n", fmt.Sprintf("    tls:\n      certificates: [{cert: %q, key: %q}]\n", file("localhost.pem"), "file:"+file("localhost.key")), 1)
	enrol := testkit.FreePort(t) // with the certificates of that listener
	b := testkit.Start(t, testkit.Options{DataDir: data, Config: authn + fmt.Sprintf("enroll: {bind: [\"127.0.0.1:%d\"], listener: devices}\n", enrol), Listeners: listeners})

	// A folder, an archive, an archive in a pipe, and PKCS #12.
	bundle := func(words ...string) string {
		t.Helper()
		return must(b.Redoubt("", append([]string{"cert", "client-bundle", "dev-1", "--host", "localhost", "--cafile", ca}, words...)...))
	}
	pub := func(cafile, cert, key string) testkit.Run { return pubAs(t, cafile, port, "dev-1", cert, key) }
	dir := file("folder")
	bundle("--format", "dir", "--out", dir)
	readme, err := os.ReadFile(filepath.Join(dir, "README.txt"))
	_, try, ok := strings.Cut(string(readme), "in this folder:\n")
	if err != nil || !ok {
		t.Fatalf("%v\n%s", err, readme)
	}
	if r := testkit.Exec(t, patience, "", "sh", "-c", "cd "+dir+" && "+strings.TrimSpace(try)+" -q 1"); r.Code != 0 {
		t.Errorf("%s\n%s\n%s", try, r.Text(), b.Log())
	}
	// Its configuration is a bridge: what Mosquitto is told locally arrives.
	local := testkit.FreePort(t)
	conf, err := os.ReadFile(filepath.Join(dir, "mosquitto.conf"))
	if err != nil {
		t.Fatal(err)
	}
	// The same certificate twice would be one session twice: the one who looks has another.
	bundle("--format", "dir", "--out", file("watcher"))
	testkit.WriteFile(t, filepath.Join(dir, "here.conf"), fmt.Sprintf("user root\nlistener %d 127.0.0.1\nallow_anonymous true\n%s", local, conf))
	bridge := testkit.Go(t, "", "sh", "-c", "cd "+dir+" && exec /usr/sbin/mosquitto -c here.conf")
	defer bridge.Stop()
	watch := testkit.Go(t, "", "sh", "-c", fmt.Sprintf("cd %s && exec mosquitto_sub -h localhost -p %d --cafile ca.pem --cert client.pem --key client.key -q 1 -t devices/dev-1/bridged -C 1", file("watcher"), port))
	defer watch.Stop()
	if !until(patience, func() bool {
		return testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "127.0.0.1", "-p", fmt.Sprint(local), "-q", "1", "-t", "devices/dev-1/bridged", "-m", "over-the-bridge").Code == 0 && strings.Contains(watch.Stdout.String(), "over-the-bridge")
	}) {
		t.Errorf("nothing came over the bridge\n%s%s\n%s", bridge.Stdout, bridge.Stderr, b.Log())
	}
	bundle("--out", file("dev.tar"))
	must(testkit.Exec(t, patience, "", "tar", "-xf", file("dev.tar"), "-C", out))
	if r := pub(file("dev-1/ca.pem"), file("dev-1/client.pem"), file("dev-1/client.key")); r.Code != 0 {
		t.Errorf("%s\n%s", r.Text(), b.Log())
	}
	piped := b.Redoubt("", "cert", "client-bundle", "dev-1", "--host", "localhost", "--out", "-")
	if list := testkit.Exec(t, patience, piped.Stdout, "tar", "-t"); list.Code != 0 || !strings.Contains(list.Stdout, "dev-1/client.key") || strings.Contains(list.Stdout, "ca.pem") {
		t.Errorf("through a pipe: %s", list.Text()) // without a CA: the listener's certificate is none of its own
	}
	testkit.WriteFile(t, file("password"), "correct horse\n")
	bundle("--format", "p12", "--password-file", file("password"), "--out", file("dev.p12"))
	text := must(testkit.Exec(t, patience, "", "openssl", "pkcs12", "-in", file("dev.p12"), "-passin", "file:"+file("password"), "-nodes"))
	testkit.WriteFile(t, file("p12.pem"), text)
	if r := pub(ca, file("p12.pem"), file("p12.pem")); r.Code != 0 {
		t.Errorf("what openssl reads in the PKCS #12 file: %s\n%s", r.Text(), b.Log())
	}
	for _, name := range []string{"dev.tar", "dev.p12", "folder/client.key", "folder/settings.json"} {
		if info, err := os.Stat(file(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, err, info.Mode())
		}
	}
	if r := b.Redoubt("", "cert", "client-bundle", "dev-1", "--out", file("dev.tar")); r.Code != 1 || !strings.Contains(r.Stderr, "not overwritten") {
		t.Errorf("over a file: exit code %d\n%s", r.Code, r.Text())
	}

	// Renewing: a server's, which the listener takes up, and a device's.
	must(b.Redoubt("", "cert", "renew", "server", "localhost", "--out", out))
	before := served(t, port, ca)
	if other := served(t, enrol, ca); other != before {
		t.Errorf("the port for enrolment shows certificate %s, the listener %s", other, before)
	}
	for _, kind := range []string{".pem", ".key"} {
		if err := os.Rename(file("localhost.new"+kind), file("localhost"+kind)); err != nil {
			t.Fatal(err)
		}
	}
	if !until(patience, func() bool { return served(t, port, ca) != before && served(t, enrol, ca) != before }) {
		t.Errorf("the renewed certificate is not served\n%s", b.Log())
	}
	must(b.Redoubt("", "cert", "issue", "device", "dev-2", "--out", out, "--days", "30"))
	said := must(b.Redoubt("", "cert", "renew", "device", "dev-2", "--out", out))
	if r := pubAs(t, ca, port, "dev-2", file("dev-2.new.pem"), file("dev-2.new.key")); r.Code != 0 {
		t.Errorf("a renewed device: %s\n%s", r.Text(), b.Log())
	}
	_, revoke, ok := strings.Cut(said, "taken back:\n")
	if !ok {
		t.Fatalf("what comes next is not said\n%s", said)
	}
	must(testkit.Exec(t, patience, "", "sh", "-c", revoke))
	if !until(patience, func() bool { return pubAs(t, ca, port, "dev-2", file("dev-2.pem"), file("dev-2.key")).Code != 0 }) {
		t.Errorf("a revoked certificate is accepted\n%s", b.Log())
	}
	if r := pubAs(t, ca, port, "dev-2", file("dev-2.new.pem"), file("dev-2.new.key")); r.Code != 0 {
		t.Errorf("after the one before was revoked: %s\n%s", r.Text(), b.Log())
	}
	if r := b.Redoubt("", "cert", "renew", "device", "nobody", "--out", out); r.Code != 1 || !strings.Contains(r.Stderr, "no valid certificate") {
		t.Errorf("nobody's: exit code %d\n%s", r.Code, r.Text())
	}
	if _, err := os.Lstat(file("nobody.new.pem")); err == nil {
		t.Error("a refused renewal leaves a file")
	}
}

// pubAs publishes one message with a certificate.
func pubAs(t *testing.T, ca string, port int, name, cert, key string) testkit.Run {
	t.Helper()
	return testkit.Exec(t, patience, "", "mosquitto_pub", "-h", "localhost", "-p", fmt.Sprint(port), "--cafile", ca, "-q", "1", "--cert", cert, "--key", key, "-t", "devices/"+name+"/a", "-m", "x")
}

// served is the serial number of the certificate that a listener shows.
func served(t *testing.T, port int, ca string) string {
	t.Helper()
	r := testkit.Exec(t, patience, "", "openssl", "s_client", "-connect", fmt.Sprintf("localhost:%d", port), "-CAfile", ca, "-verify_return_error")
	block, _ := pem.Decode([]byte(r.Stdout))
	if block == nil {
		t.Fatalf("no certificate is served\n%s", r.Text())
	}
	x, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return x.SerialNumber.String()
}
