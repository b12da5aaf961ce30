package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// enrolRig is a broker with the port for enrolment and a listener for who has enrolled.
type enrolRig struct {
	*testkit.Broker
	t          *testing.T
	out        string // folder
	port, http int
}

func newEnrolRig(t *testing.T, enroll string) *enrolRig {
	t.Helper()
	for _, program := range []string{"mosquitto_pub", "openssl", "curl"} {
		testkit.Need(t, program)
	}
	data := filepath.Join(testkit.TempDir(t), "data")
	r := &enrolRig{t: t, out: testkit.TempDir(t), port: testkit.FreePort(t), http: testkit.FreePort(t)}
	for _, words := range [][]string{{"init"}, {"cert", "ca", "init"}} {
		r.must(testkit.Exec(t, patience, "", append([]string{testkit.Command(t)}, append(words, "--data-dir", data)...)...))
	}
	listeners, authn := deviceListener(data, r.port)
	r.Broker = testkit.Start(t, testkit.Options{DataDir: data, Config: authn + fmt.Sprintf("enroll:\n  bind: [\"127.0.0.1:%d\"]\n", r.http) + enroll, Listeners: listeners})
	return r
}

func (r *enrolRig) must(run testkit.Run) string {
	r.t.Helper()
	if run.Code != 0 {
		r.t.Fatalf("exit code %d\n%s", run.Code, run.Text())
	}
	return run.Stdout
}

func (r *enrolRig) file(name string) string { return filepath.Join(r.out, name) }

// sh runs what docs/ops/enrolment.md says, in the folder of the device.
func (r *enrolRig) sh(script string) testkit.Run {
	r.t.Helper()
	return testkit.Exec(r.t, patience, "", "sh", "-c", "cd "+r.out+"\n"+script)
}

// token is the one that a command has made.
func (r *enrolRig) token(name string, words ...string) string {
	r.t.Helper()
	var made struct{ Token string }
	text := r.must(r.Redoubt("", append([]string{"cert", "token", name, "-o", "json"}, words...)...))
	if err := json.Unmarshal([]byte(text), &made); err != nil || made.Token == "" {
		r.t.Fatalf("%v\n%s", err, text)
	}
	return made.Token
}

// request makes a key and a signing request.
func (r *enrolRig) request(file, name string) {
	r.t.Helper()
	r.must(r.sh(fmt.Sprintf("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout %s.key -out %s.csr", name, file, file)))
}

// curl posts a signing request and answers the status; what came is in FILE.p7.
func (r *enrolRig) curl(file, path, with string) string {
	r.t.Helper()
	return strings.TrimSpace(r.sh(fmt.Sprintf("curl -s -o %s.p7 -w '%%{http_code}' --cacert %s %s --data-binary @%s.csr -H 'Content-Type: application/pkcs10' https://localhost:%d/.well-known/est/%s",
		file, r.CA(), with, file, r.http, path)).Stdout)
}

// open makes FILE.pem of what came.
func (r *enrolRig) open(file string) {
	r.t.Helper()
	r.must(r.sh(fmt.Sprintf("openssl base64 -d -in %s.p7 | openssl pkcs7 -inform DER -print_certs -out %s.pem", file, file)))
}

func (r *enrolRig) pub(name, file string) testkit.Run {
	return pubAs(r.t, r.CA(), r.port, name, r.file(file+".pem"), r.file(file+".key"))
}

// TestADeviceEnrolsWithCurl is the walk-through with nothing but curl and openssl: a token, a
// certificate, a message, the next certificate, and the end of both.
func TestADeviceEnrolsWithCurl(t *testing.T) {
	t.Parallel()
	r := newEnrolRig(t, "")
	token := r.token("dev-1")
	r.request("dev", "dev-1")
	if status := r.curl("dev", "simpleenroll", "--user dev-1:"+token); status != "200" {
		t.Fatalf("status %s\n%s", status, r.Log())
	}
	r.open("dev")
	if run := r.pub("dev-1", "dev"); run.Code != 0 {
		t.Fatalf("%s\n%s", run.Text(), r.Log())
	}
	if list := r.must(r.Redoubt("", "cert", "list")); !strings.Contains(list, "dev-1") {
		t.Errorf("cert list:\n%s", list)
	}
	r.must(r.sh(fmt.Sprintf("curl -s --cacert %s https://localhost:%d/.well-known/est/cacerts | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out cas.pem && openssl verify -CAfile cas.pem dev.pem", r.CA(), r.http)))

	// What is refused, each as if nobody knew why.
	r.request("other", "dev-2")
	expired := r.token("dev-3")
	r.must(r.Redoubt("", "cert", "token", "delete", "dev-3"))
	for what, with := range map[string]string{
		"the token once more": "--user dev-1:" + token, "as another": "--user dev-2:" + token, "a token that was deleted": "--user dev-3:" + expired, "none": "",
	} {
		if status := r.curl("other", "simpleenroll", with); status != "401" {
			t.Errorf("%s: status %s", what, status)
		}
	}

	// Renewal: by the certificate and its key.
	r.request("next", "dev-1")
	if status := r.curl("next", "simplereenroll", "--cert dev.pem --key dev.key"); status != "200" {
		t.Fatalf("renewal: status %s\n%s", status, r.Log())
	}
	r.open("next")
	if run := r.pub("dev-1", "next"); run.Code != 0 {
		t.Errorf("the renewed one: %s\n%s", run.Text(), r.Log())
	}
	if status := r.curl("other", "simplereenroll", "--cert next.pem --key next.key"); status != "400" {
		t.Errorf("for another name: status %s", status)
	}
	// A certificate that says the same, of another CA: refused here and at the listener.
	r.must(r.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=dev-1 -days 2 -keyout forged.key -out forged.pem"))
	if status := r.curl("next", "simplereenroll", "--cert forged.pem --key forged.key"); status != "403" {
		t.Errorf("of another CA: status %s", status)
	}
	if run := r.pub("dev-1", "forged"); run.Code == 0 {
		t.Error("of another CA: accepted by the listener")
	}

	r.must(r.Redoubt("", "cert", "revoke", "dev-1", "--all", "--reason", "keyCompromise"))
	if status := r.curl("next", "simplereenroll", "--cert next.pem --key next.key"); status != "403" {
		t.Errorf("revoked: status %s", status)
	}
	if !until(patience, func() bool { return r.pub("dev-1", "next").Code != 0 }) {
		t.Errorf("a revoked certificate is accepted\n%s", r.Log())
	}
	for _, words := range []string{"was used on", "is not accepted", "was revoked on", "for another name"} {
		if !strings.Contains(r.Log(), words) {
			t.Errorf("the log does not say %q\n%s", words, r.Log())
		}
	}
	// MQTT has no business there, and its clients find no common protocol.
	if run := r.sh(fmt.Sprintf("openssl s_client -connect localhost:%d -alpn mqtt -CAfile %s </dev/null", r.http, r.CA())); run.Code == 0 {
		t.Error("a client that speaks MQTT only is let in")
	}
	if status := strings.TrimSpace(r.sh(fmt.Sprintf("curl -s -o nothing -w '%%{http_code}' --cacert %s https://localhost:%d/api/v5/status", r.CA(), r.http)).Stdout); status != "404" {
		t.Errorf("another page: status %s", status)
	}
	if info, err := os.Stat(r.file("nothing")); err == nil && info.Size() > 0 {
		t.Error("another page has something in it")
	}
	if run := r.Redoubt("", "cert", "token", "list"); !strings.Contains(run.Stdout, "used") {
		t.Errorf("cert token list:\n%s", run.Text())
	}
}

// TestADeviceEnrolsWithRedoubt: the same with the program itself, which keeps the files and
// knows what is due; with the exit codes that a timer goes by.
func TestADeviceEnrolsWithRedoubt(t *testing.T) {
	t.Parallel()
	r := newEnrolRig(t, "")
	url := fmt.Sprintf("https://localhost:%d", r.http)
	device := func(words ...string) testkit.Run { // on the device: no configuration, no data directory
		t.Helper()
		return testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "cert"}, append(words, "--server", url, "--cafile", r.CA())...)...)
	}
	enroll := func(name, token string) testkit.Run {
		t.Helper()
		testkit.WriteFile(t, r.file("token"), token+"\n")
		return device("enroll", "--name", name, "--token-file", r.file("token"), "--out", r.out)
	}
	renew := func(file string, words ...string) testkit.Run {
		t.Helper()
		return device(append([]string{"renew", "--cert", r.file(file + ".pem"), "--key", r.file(file + ".key")}, words...)...)
	}
	if run := enroll("dev-1", "wrong"); run.Code != 3 || !strings.Contains(run.Stderr, "does not take the token") {
		t.Errorf("a wrong token: exit code %d\n%s", run.Code, run.Text())
	}
	if left, _ := filepath.Glob(r.file("dev-1*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	token := r.token("dev-1", "--ttl", "1h")
	if run := enroll("dev-1", token); run.Code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", run.Code, run.Text(), r.Log())
	}
	if info, err := os.Stat(r.file("dev-1.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", err, info.Mode())
	}
	if run := r.pub("dev-1", "dev-1"); run.Code != 0 {
		t.Errorf("%s\n%s", run.Text(), r.Log())
	}
	if run := enroll("dev-1", r.token("dev-1")); run.Code != 1 || !strings.Contains(run.Stderr, "not overwritten") {
		t.Errorf("over a file: exit code %d\n%s", run.Code, run.Text())
	}

	if run := renew("dev-1"); run.Code != 0 || !strings.Contains(run.Stdout, "nothing was done") {
		t.Errorf("before it is due: exit code %d\n%s", run.Code, run.Text())
	}
	before, err := os.ReadFile(r.file("dev-1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if run := renew("dev-1", "--force", "-o", "json"); run.Code != 0 || !strings.Contains(run.Stdout, `"renewed": true`) {
		t.Errorf("renewal: exit code %d\n%s\n%s", run.Code, run.Text(), r.Log())
	}
	if after, err := os.ReadFile(r.file("dev-1.pem")); err != nil || string(after) == string(before) {
		t.Errorf("the certificate is the same (%v)", err)
	}
	if run := r.pub("dev-1", "dev-1"); run.Code != 0 {
		t.Errorf("the renewed one: %s\n%s", run.Text(), r.Log())
	}

	// One that is due is asked for without --force; this one, of nobody, in vain.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	due := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dev-1"}, NotBefore: time.Now().Add(-21 * 24 * time.Hour), NotAfter: time.Now().Add(9 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, due, due, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, r.file("due.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	testkit.WriteFile(t, r.file("due.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	if run := renew("due"); run.Code != 3 || !strings.Contains(run.Stderr, "does not take the certificate") {
		t.Errorf("one that is due: exit code %d\n%s", run.Code, run.Text())
	}

	r.must(r.Redoubt("", "cert", "revoke", "dev-1", "--all"))
	if run := renew("dev-1", "--force"); run.Code != 3 {
		t.Errorf("revoked: exit code %d\n%s", run.Code, run.Text())
	}
	r.Stop()
	if run := renew("dev-1", "--force"); run.Code != 1 {
		t.Errorf("without a broker: exit code %d\n%s", run.Code, run.Text())
	}
}

// TestAFleetEnrols: by what all devices of a batch have, which is good for nothing else.
func TestAFleetEnrols(t *testing.T) {
	t.Parallel()
	testkit.Need(t, "openssl")
	claims := testkit.TempDir(t)
	make := func(script string) {
		t.Helper()
		if run := testkit.Exec(t, patience, "", "sh", "-c", "cd "+claims+"\n"+script); run.Code != 0 {
			t.Fatal(run.Text())
		}
	}
	make("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=claims of line 7' -days 30 -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem\n" +
		"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=batch-1 -keyout claim.key -out claim.csr\n" +
		"openssl x509 -req -in claim.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -out claim.pem")
	claim := fmt.Sprintf("--cert %s/claim.pem --key %s/claim.key", claims, claims)
	r := newEnrolRig(t, fmt.Sprintf("  claims: [{ca: %q, names: \"line7-[0-9]{4}\", per_day: 2}]\n", filepath.Join(claims, "ca.pem")))
	enroll := func(file, name, with string) string {
		t.Helper()
		r.request(file, name)
		return r.curl(file, "simpleenroll", with)
	}
	if status := enroll("a", "line7-0001", claim); status != "200" {
		t.Fatalf("status %s\n%s", status, r.Log())
	}
	r.open("a")
	if run := r.pub("line7-0001", "a"); run.Code != 0 {
		t.Errorf("%s\n%s", run.Text(), r.Log())
	}
	for name, why := range map[string]string{"line7-0001": "has had a certificate", "admin": "may not enrol"} {
		if status := enroll("b", name, claim); status != "403" || !until(patience, func() bool { return strings.Contains(r.Log(), why) }) {
			t.Errorf("%s: status %s\n%s", name, status, r.Log())
		}
	}
	if run := testkit.Exec(t, patience, "", testkit.Command(t), "cert", "enroll", "--server", fmt.Sprintf("https://localhost:%d", r.http), "--cafile", r.CA(), "--name", "line7-0002",
		"--claim-cert", filepath.Join(claims, "claim.pem"), "--claim-key", filepath.Join(claims, "claim.key"), "--out", r.out); run.Code != 0 {
		t.Errorf("another one: %s\n%s", run.Text(), r.Log())
	}
	if status := enroll("b", "line7-0003", claim); status != "403" {
		t.Errorf("one too many in a day: status %s", status)
	}
	// A claim certificate is no device: not at a listener, and not for a renewal.
	if status := r.curl("b", "simplereenroll", claim); status != "403" {
		t.Errorf("renewal with it: status %s", status)
	}
	if run := pubAs(t, r.CA(), r.port, "line7-0001", filepath.Join(claims, "claim.pem"), filepath.Join(claims, "claim.key")); run.Code == 0 {
		t.Error("a claim certificate is accepted by the listener")
	}
	// A listener that would accept it is refused.
	config, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(claims, "both.pem")
	make(fmt.Sprintf("cat ca.pem %s > both.pem", filepath.Join(r.DataDir, "certs", "devices", "ca.pem")))
	testkit.WriteFile(t, r.Config, strings.Replace(string(config), filepath.Join(r.DataDir, "certs", "devices", "ca.pem"), both, 1))
	if run := r.Redoubt("", "reload"); run.Code != 1 || !strings.Contains(run.Text(), "would be accepted by listeners.devices") {
		t.Errorf("a listener that accepts claims: exit code %d\n%s", run.Code, run.Text())
	}
	// The same behind its back: the file of the listener changes.
	f, err := os.OpenFile(filepath.Join(r.DataDir, "certs", "devices", "ca.pem"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(claims, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	from := len(r.Log())
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if !until(patience, func() bool { return strings.Contains(r.Log()[from:], "would be accepted by listeners.devices") }) {
		t.Errorf("nothing is said of it\n%s", r.Log())
	}
	if run := pubAs(t, r.CA(), r.port, "line7-0001", filepath.Join(claims, "claim.pem"), filepath.Join(claims, "claim.key")); run.Code == 0 {
		t.Error("a claim certificate is accepted by the listener")
	}
	if run := r.pub("line7-0001", "a"); run.Code != 0 {
		t.Errorf("a device is refused: %s\n%s", run.Text(), r.Log())
	}
	if !strings.Contains(r.Log(), "There is no user yet, so nobody can connect without a certificate.") {
		t.Errorf("who needs no user is not thought of:\n%s", r.Log())
	}
	// Files of the claims that are refused are an alarm until they are not.
	status := func() string { return r.Redoubt("", "status").Stdout }
	if !until(patience, func() bool { return strings.Contains(status(), "certificate_files_refused (enroll.claims)") }) {
		t.Errorf("no alarm:\n%s\n%s", status(), r.Log())
	}
	if err := os.Truncate(f.Name(), size); err != nil {
		t.Fatal(err)
	}
	if !until(patience, func() bool { return !strings.Contains(status(), "(enroll.claims)") }) {
		t.Errorf("the alarm stays:\n%s\n%s", status(), r.Log())
	}
}
