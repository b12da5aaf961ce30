package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write makes a file in a directory of the test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadReadsFiles(t *testing.T) {
	file := write(t, "redoubt.yaml", "node: {data_dir: data}\nlisteners: {mqtts: {tls: {certificates: [{cert: a.pem, key: file:link.key}]}}}\n")
	dir := filepath.Dir(file)
	if err := os.WriteFile(filepath.Join(dir, "real.key"), []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	// Kubernetes mounts secrets as links to links.
	if err := os.Symlink("real.key", filepath.Join(dir, "link.key")); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Options{File: file, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if l.File != file || l.Config.Node.DataDir != filepath.Join(dir, "data") {
		t.Errorf("file %q, data_dir %q", l.File, l.Config.Node.DataDir)
	}
	cert := l.Config.Listeners["mqtts"].TLS.Certificates[0]
	if cert.Cert != filepath.Join(dir, "a.pem") || string(cert.Key.Value.Reveal()) != canary {
		t.Errorf("certificate %v", cert)
	}
	if l.Config.Node.Name == "" {
		t.Error("the node has no name although the system knows the host's")
	}
}

func TestLoadNeverReadsWhatMayNotEnd(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte("# "+strings.Repeat("x", FileBytesMax)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe:                          "is not a regular file.",
		dir:                           "is not a regular file.",
		"/dev/zero":                   "is not a regular file.",
		large:                         "is larger than 1MiB.",
		filepath.Join(dir, "nowhere"): "does not exist.",
	} {
		if _, err := Load(Options{File: path, Now: now}); err == nil || err.Error() != path+": The configuration file "+want {
			t.Errorf("%s: %v", path, err)
		}
		text := "listeners: {mqtts: {tls: {certificates: [{cert: a.pem, key: 'file:" + path + "'}]}}}"
		_, err := Load(Options{File: write(t, "redoubt.yaml", text), Now: now})
		said := strings.ReplaceAll(want, "1MiB", "64KiB")
		if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("key: %q %s", refFile+path, said)) {
			t.Errorf("as a secret: %v", err)
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string {
		return write(t, "redoubt.yaml", "listeners: {mqtts: {tls: {certificates: [{cert: a.pem, key: 'credential:"+name+"'}]}}}")
	}
	l, err := Load(Options{File: file("key"), Now: now, CredentialsDir: dir})
	if err != nil || string(l.Config.Listeners["mqtts"].TLS.Certificates[0].Key.Value.Reveal()) != canary {
		t.Fatal(err)
	}
	// As systemd hands one to a unit with User=: of root, by an ACL, which the mode shows so.
	if err := os.Chmod(filepath.Join(dir, "key"), 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{File: file("key"), Now: now, CredentialsDir: dir + "/"}); err != nil {
		t.Error(err)
	}
	elsewhere := write(t, "redoubt.yaml", "listeners: {mqtts: {tls: {certificates: [{cert: a.pem, key: 'file:"+filepath.Join(dir, "key")+"'}]}}}")
	if _, err := Load(Options{File: elsewhere, Now: now}); err == nil || !strings.Contains(err.Error(), "mode 0440") {
		t.Error(err)
	}
	if _, err := Load(Options{File: file("empty"), Now: now, CredentialsDir: dir}); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Error(err)
	}
	if _, err := Load(Options{File: file("key"), Now: now}); err == nil || !strings.Contains(err.Error(), "LoadCredential") {
		t.Error(err)
	}
}

func TestLayers(t *testing.T) {
	file := write(t, "redoubt.yaml", "node:\n  data_dir: /file\n  name: file\nlog: {level: warn}\n")
	env := []string{"REDOUBT_NODE__DATA_DIR=env/dir", "REDOUBT_NODE__NAME=env", "REDOUBT_TOKEN=mine", "HOME=/root", "REDOUBT_NODE__NAME=env2"}
	l, err := Load(Options{File: file, Env: env, IgnoreEnv: []string{"REDOUBT_TOKEN"}, DataDir: "flag/dir", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"node.data_dir":    "flag --data-dir",
		"node.name":        "env REDOUBT_NODE__NAME",
		"log.level":        file + ":4",
		"log.format":       "default",
		"authz.rules_file": "default",
	} {
		if got := l.Origin(key); got.String() != want || got.Pinned() != (want != "default") {
			t.Errorf("%s comes from %v, not %s", key, got, want)
		}
	}
	c := l.Config
	if c.Node != (Node{"env2", "flag/dir"}) || c.Log.Level != "warn" || c.Authz.RulesFile != "flag/dir/rules.yaml" || c.Admin.Socket != "flag/dir/admin.sock" {
		t.Errorf("%+v", c)
	}
}

func TestHostNameThatIsNoName(t *testing.T) {
	_, err := Load(Options{File: write(t, "redoubt.yaml", ""), Now: now, Hostname: "a b\x1b"})
	want := `default: node.name: "a b\x1b" is the host name and cannot be the name of the node (letters, digits, dots, dashes and underscores, at most 64). Set node.name.`
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}

// TestAliasesAreBounded feeds the classic bomb, in the only places of the
// schema that repeat, and a file of nothing but mistakes.
func TestAliasesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("waivers:\n - &w {id: P1.4, scope: &s s, reason: *s}\n")
	for range entriesMax - 1 {
		b.WriteString(" - *w\n")
	}
	b.WriteString("listeners:\n  l0: {bind: &b [" + strings.Repeat(`":1",`, entriesMax) + "], tls: &t {certificates: [&c {cert: x, key: file:y}" + strings.Repeat(", *c", entriesMax-1) + "]}}\n")
	for i := range entriesMax * 2 {
		fmt.Fprintf(&b, "  m%d: {bind: *b, tls: *t}\n", i)
	}
	_, err := loadText(b.String())
	refusal(t, err)
	if more := err.(*Errors).More; more > visitsMax {
		t.Errorf("%d more problems", more)
	}
	_, err = loadText("a: &a [" + strings.Repeat("&b [*a, *a],", 10) + "*a]\nlisteners: &l {m: *l}\n")
	refusal(t, err)
	_, err = loadText(strings.Repeat("[", 20_000))
	refusal(t, err)
	_, err = loadText("limits: {" + strings.Repeat("q"+strings.Repeat("x", 50)+": 1, ", 10_000) + "}")
	refusal(t, err)
}

// A relative path of the environment is where the process began, whoever asks later: what
// is printed and what is stored names one place.
func TestARelativePathOfTheEnvironmentIsMadeAbsolute(t *testing.T) {
	dir, err := filepath.Abs("")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"REDOUBT_NODE__DATA_DIR=data", "REDOUBT_ADMIN__SOCKET=/run/x/../admin.sock", "REDOUBT_LISTENERS__MQTTS__TLS__CLIENT_CA=[a.pem, /b.pem]"}
	l, err := Load(Options{File: write(t, "redoubt.yaml", "listeners: {mqtts: {tls: {client_cert: required}}}\n"), Env: env, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if want := filepath.Join(dir, "data"); c.Node.DataDir != want || c.Admin.Socket != "/run/admin.sock" {
		t.Errorf("%s and %s", c.Node.DataDir, c.Admin.Socket)
	}
	if ca := c.Listeners["mqtts"].TLS.ClientCA; len(ca) != 2 || ca[0] != filepath.Join(dir, "a.pem") || ca[1] != "/b.pem" {
		t.Errorf("%q", ca)
	}
}

// Who looks at a broker that runs is let be although a waiver has ended; a start is not.
func TestAnExpiredWaiver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redoubt.yaml")
	text := "metrics: {bind: [':9100']}\nwaivers: [{id: P1.4, scope: metrics, reason: behind a firewall, owner: ops, expires: 2026-11-20}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{File: file, DataDir: t.TempDir(), Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
	if _, err := Load(o); err == nil || !strings.Contains(err.Error(), "is past: the waiver of P1.4 for metrics has expired") {
		t.Error(err)
	}
	o.ExpiredWaivers = true
	loaded, err := Load(o)
	if err != nil || len(loaded.Config.Waivers) != 1 {
		t.Errorf("%+v, %v", loaded, err)
	}
}
