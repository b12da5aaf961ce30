package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// A configuration full of secrets, and an environment with one: none of them is in any
// form of the report. What has changed is told, and the last report is kept.
func TestDoctorFormsHoldNoSecret(t *testing.T) {
	withoutSecrets(t)
	const marker = "m4rk3r-0f-4-s3cr3t"
	secret := func(name string) string {
		path := filepath.Join(testkit.TempDir(t), name)
		testkit.WriteFile(t, path, marker+"-"+name+"-that-is-long-enough-for-hs256\n")
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	t.Setenv("DEPLOY_PASSWORD", marker)
	b := testkit.Start(t, testkit.Options{Config: "authn:\n  chains: {default: [jwt, builtin]}\n  jwt: {algorithms: [HS256], secret: \"" + secret("jwt") + "\", issuer: me, audience: you}\n"})
	b.AddUser("device1", marker)
	for _, f := range harden.Formats {
		r := b.Redoubt("", "doctor", "--evidence", "--only", "P2.2,P4.4", "-o", string(f))
		if strings.Contains(r.Text(), marker) || strings.Contains(r.Text(), "rdt_") {
			t.Errorf("%s holds a secret", f)
		}
		if r.Code != 1 || !strings.Contains(r.Stdout, "DEPLOY_PASSWORD") { // the name is the finding
			t.Errorf("%s: exit code %d\n%s", f, r.Code, r.Text())
		}
	}
	kept := filepath.Join(b.DataDir, harden.KeptName)
	if _, err := os.Lstat(kept); !os.IsNotExist(err) {
		t.Errorf("a part of a run is kept: %v", err)
	}
	if r := b.Redoubt("", "doctor", "--only", "P1.7", "--diff", "last"); r.Code != 2 || !strings.Contains(r.Stderr, "no report is kept yet") {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	before := filepath.Join(testkit.TempDir(t), "before.json")
	testkit.WriteFile(t, before, b.Redoubt("", "doctor", "--only", "P2.2", "-o", "json").Stdout)
	if err := os.Chmod(filepath.Join(b.DataDir, "certs", "server.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := b.Redoubt("", "doctor", "--only", "P2.2", "--diff", before, "-o", "json")
	var got struct{ Changes []harden.Change }
	if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil || r.Code != 1 || len(got.Changes) != 1 || got.Changes[0].Scope != "files" || got.Changes[0].To != harden.Fail {
		t.Errorf("exit code %d, %v\n%s", r.Code, err, r.Text())
	}
}

func TestDoctorFormsUsage(t *testing.T) {
	dir := dataDir(t)
	for _, args := range [][]string{{"-o", "pdf"}, {"--baseline", "moon"}, {"--watch", "1s"}, {"--watch", "-1m"}, {"--watch", "1m", "--diff", "last"}, {"--watch", "1m", "-o", "html"}, {"--diff", "last", "-o", "sarif"}, {"--diff", "/nowhere/a.json"}} {
		if out, err, code := command(t, "", append(append([]string{"doctor"}, args...), "--data-dir", dir)...); code != 2 || err == nil {
			t.Errorf("%v: exit code %d, %v, %s", args, code, err, out)
		}
	}
}
