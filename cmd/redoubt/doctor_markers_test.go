package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// A configuration that has a secret wherever one can be, also where none should: in a file that
// is referred to, as a literal, in a comment, in an old copy, in a waiver's neighbourhood, in the
// environment. No output of doctor, fix, status or the broker's own looks has any of them.
func TestNoOutputHoldsAMarker(t *testing.T) {
	withoutSecrets(t)
	const marker = "m4rk3r-0f-4-s3cr3t"
	n := 0
	secret := func() string { n++; return fmt.Sprintf("%s-%02d-long-enough-for-HS256", marker, n) }
	dir := testkit.TempDir(t)
	file := func(name string) string {
		path := filepath.Join(dir, name)
		testkit.WriteFile(t, path, secret()+"\n")
		return path
	}
	t.Setenv("DEPLOY_PASSWORD", secret())
	b := testkit.Start(t, testkit.Options{Config: fmt.Sprintf(`# password: %s
authn:
  chains: {default: [fleet, builtin]}
  jwt: {fleet: {algorithms: [HS256], secret: "file:%s", issuer: me, audience: [you]}}
backends:
  svc:
    type: http
    url: http://127.0.0.1:1/
    tls: {mode: "off"}
    headers: [{name: X-Api-Key, value: %s}, {name: Authorization, secret: "file:%s"}]
limits: {topic_levels: 99}
`, secret(), file("jwt"), secret(), file("header"))})
	b.AddUser("device1", secret())
	testkit.WriteFile(t, b.Config+".bak", "password: "+secret()+"\n")
	if r := b.Redoubt("", "reload"); r.Code != 0 { // which has the broker look at itself soon
		t.Error(r.Text())
	}
	if _, ok := b.Stderr.WaitFor(time.Minute, 0, `"event":"hardening_first"`, "P5.13"); !ok {
		t.Errorf("the broker has not looked at itself:\n%s", b.Log())
	}
	key := filepath.Join(b.DataDir, "certs", "server.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Split(string(pem), "\n")[1]
	clean := func(what, text string) {
		t.Helper()
		if strings.Contains(text, marker) || strings.Contains(text, line) || strings.Contains(text, "rdt_") {
			t.Errorf("%s holds a secret:\n%s", what, text)
		}
		if len(text) == 0 {
			t.Errorf("%s is empty", what)
		}
	}
	run := func(words ...string) testkit.Run {
		t.Helper()
		r := b.Redoubt("", words...)
		clean(strings.Join(words, " "), r.Text())
		return r
	}
	const rows = "P2.2,P4.5,P5.13"
	for _, f := range harden.Formats {
		r := run("doctor", "--only", rows, "--evidence", "-o", string(f))
		for _, found := range []string{"DEPLOY_PASSWORD", "backends.svc.headers"} { // it was looked at
			if !strings.Contains(r.Stdout, found) {
				t.Errorf("%s has no %s: %s", f, found, r.Text())
			}
		}
	}
	run("doctor", "--explain", "P5.13")
	run("doctor", "--only", rows, "--diff", filepath.Join(b.DataDir, "none.json"))
	plan := run("fix", "P2.2", "P4.5", "P5.13", "--plan")
	if !strings.Contains(plan.Stdout, "server.key") || !strings.Contains(plan.Stdout, "by hand") {
		t.Errorf("%s", plan.Text())
	}
	run("fix", "P2.2", "P4.5", "P5.13", "-o", "json")
	out := filepath.Join(testkit.TempDir(t), "change")
	run("fix", "P2.2", "P5.13", "--write-dir", out)
	if err := filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			clean(path, string(text))
			return err
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	run("status")
	run("status", "-o", "json")
	clean("the log", b.Log())
}
