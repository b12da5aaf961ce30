// Package kdctest runs a realm for tests: MIT's KDC of Debian on loopback, and clients of
// MIT's GSSAPI with tickets of it. It knows nothing of our acceptor.
package kdctest

import (
	"bufio"
	_ "embed" // the client
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The realm, the service that Service is the keytab of, and the flags of a client that wants
// mutual authentication and integrity.
const (
	Realm   = "PLANT.EXAMPLE"
	Servant = "mqtt/broker.example@" + Realm
	Mutual  = 2 | 32
)

// KDC is a realm with clients alice, bob and robot/arm.
type KDC struct {
	t   testing.TB
	dir string
	env []string
	in  io.Writer
	out *bufio.Scanner
}

//go:embed initiate.py
var initiate string

const conf = `[libdefaults]
 default_realm = ` + Realm + `
 dns_lookup_kdc = false
 dns_lookup_realm = false
 rdns = false
 dns_canonicalize_hostname = false
 permitted_enctypes = ENCTYPES
[realms]
 ` + Realm + ` = {
  kdc = ADDRESS
  database_module = db
 }
[dbmodules]
 db = {
  db_library = db2
  database_name = DIR/principal
 }
`

const kdcConf = `[kdcdefaults]
 kdc_listen = ADDRESS
 kdc_tcp_listen = ADDRESS
[realms]
 ` + Realm + ` = {
  key_stash_file = DIR/stash
  acl_file = DIR/acl
  max_life = 1h
  supported_enctypes = ENCTYPES:normal
 }
[logging]
 kdc = FILE:DIR/kdc.log
`

// Start makes a realm whose keys are of one encryption type, and runs it until the test ends.
func Start(t testing.TB, enctype string) *KDC {
	t.Helper()
	for _, program := range []string{"/usr/sbin/krb5kdc", "/usr/sbin/kadmin.local", "/usr/sbin/kdb5_util", "/usr/bin/kinit", "/usr/bin/python3"} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v; run: sudo make deps", err)
		}
	}
	k := &KDC{t: t, dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	for name, text := range map[string]string{"krb5.conf": conf, "kdc.conf": kdcConf} {
		text = strings.NewReplacer("ENCTYPES", enctype, "DIR", k.dir, "ADDRESS", address).Replace(text)
		if err := os.WriteFile(k.File(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.env = append(os.Environ(), "KRB5_CONFIG="+k.File("krb5.conf"), "KRB5_KDC_PROFILE="+k.File("kdc.conf"))
	k.run("", "/usr/sbin/kdb5_util", "create", "-s", "-P", "master")
	k.run(strings.ReplaceAll(`addprinc -randkey alice
addprinc -randkey bob
addprinc -randkey robot/arm
addprinc -randkey mqtt/broker.example
addprinc -randkey mqtt/other.example
ktadd -norandkey -k DIR/service mqtt/broker.example
ktadd -norandkey -k DIR/other mqtt/other.example
ktadd -norandkey -k DIR/clients alice bob robot/arm
`, "DIR", k.dir), "/usr/sbin/kadmin.local")
	k.serve()
	for _, p := range []string{"alice", "bob", "robot/arm"} {
		k.run("", "/usr/bin/kinit", "-k", "-t", k.File("clients"), "-c", k.cache(p), p)
	}
	k.clients()
	return k
}

// File is a file of the realm: service and other are keytabs.
func (k *KDC) File(name string) string { return filepath.Join(k.dir, name) }

func (k *KDC) run(in, program string, args ...string) {
	k.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin = k.env, strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// serve runs the KDC, which says when it listens.
func (k *KDC) serve() {
	k.t.Helper()
	cmd := exec.Command("/usr/sbin/krb5kdc", "-n", "-P", k.File("pid"))
	cmd.Env = k.env
	said, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines, heard := bufio.NewScanner(said), ""
	for lines.Scan() {
		if heard += lines.Text() + "\n"; strings.Contains(lines.Text(), "starting...") {
			return
		}
	}
	k.t.Fatalf("the KDC has ended: %s", heard)
}

// clients runs the client that plays them all.
func (k *KDC) clients() {
	k.t.Helper()
	py := exec.Command("/usr/bin/python3", "-c", initiate)
	py.Env, py.Stderr = k.env, os.Stderr
	in, err := py.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	out, err := py.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := py.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = in.Close(); _ = py.Wait() })
	k.in, k.out = in, bufio.NewScanner(out)
}

func (k *KDC) cache(who string) string { return k.File("cc-" + strings.ReplaceAll(who, "/", "-")) }

// ask has the client do something.
func (k *KDC) ask(words ...any) []string {
	k.t.Helper()
	fmt.Fprintln(k.in, words...)
	if !k.out.Scan() {
		k.t.Fatal("the client has ended: is python3-gssapi installed? run: sudo make deps")
	}
	answer := strings.Fields(k.out.Text())
	if answer[0] != "ok" {
		k.t.Fatalf("%v: %v", words, answer)
	}
	return answer[1:]
}

func (k *KDC) decode(s string) []byte {
	k.t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

// Token is the first token of a context of a client with a service, which is in its place from now on.
func (k *KDC) Token(who, service string, flags int) []byte {
	k.t.Helper()
	return k.decode(k.ask("token", k.cache(who), service, flags)[0])
}

// Proven gives the client the service's proof, with which it has to be content.
func (k *KDC) Proven(proof []byte) {
	k.t.Helper()
	if answer := k.ask("reply", base64.StdEncoding.EncodeToString(proof)); answer[0] != "True" || len(answer) != 1 {
		k.t.Fatalf("the client is not satisfied with our proof: %v", answer)
	}
}

// Layer gives the client the offer, and answers last, signed by it.
func (k *KDC) Layer(offer, last []byte) []byte {
	k.t.Helper()
	answer := k.ask("layer", base64.StdEncoding.EncodeToString(offer), hex.EncodeToString(last))
	if answer[0] != "01000000" {
		k.t.Fatalf("the client was offered %s", answer[0])
	}
	return k.decode(answer[1])
}
