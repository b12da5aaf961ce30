package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// A configuration full of secrets, and an environment with one: none of them is in any
// form of the report. What has changed is told, and a part of a run is kept for nobody.
func TestDoctorFormsHoldNoSecret(t *testing.T) {
	withoutSecrets(t)
	const marker = "m4rk3r-0f-4-s3cr3t"
	jwt := filepath.Join(testkit.TempDir(t), "jwt")
	testkit.WriteFile(t, jwt, marker+"-that-is-long-enough-for-HS256\n")
	t.Setenv("DEPLOY_PASSWORD", marker)
	b := testkit.Start(t, testkit.Options{Config: "authn:\n  chains: {default: [fleet, builtin]}\n" +
		"  jwt: {fleet: {algorithms: [HS256], secret: \"file:" + jwt + "\", issuer: me, audience: [you]}}\n"})
	b.AddUser("device1", marker)
	judge := func(f harden.Format, rows, name string) {
		t.Helper()
		r := b.Redoubt("", "doctor", "--evidence", "--only", rows, "-o", string(f))
		if strings.Contains(r.Text(), marker) || strings.Contains(r.Text(), "rdt_") {
			t.Errorf("%s of %s holds a secret", f, rows)
		}
		if r.Code != 1 || !strings.Contains(r.Stdout, "DEPLOY_PASSWORD") || !strings.Contains(r.Stdout, name) { // names are what there is to say
			t.Errorf("%s of %s: exit code %d\n%s", f, rows, r.Code, r.Text())
		}
	}
	for _, f := range harden.Formats {
		judge(f, "P2.2", "environment")
	}
	judge(harden.FormatJSON, "P2.2,P4.1", "fleet") // as clients, beside the token's secret
	if _, err := os.Lstat(filepath.Join(b.DataDir, harden.KeptName)); !os.IsNotExist(err) {
		t.Errorf("a part of a run is kept: %v", err)
	}
	if r := b.Redoubt("", "doctor", "--only", "P2.2", "--diff", "last"); r.Code != 2 || !strings.Contains(r.Stderr, "no report is kept yet") {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	before := filepath.Join(testkit.TempDir(t), "before.json")
	testkit.WriteFile(t, before, b.Redoubt("", "doctor", "--only", "P2.2", "-o", "json").Stdout)
	if err := os.Chmod(filepath.Join(b.DataDir, "certs", "server.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := b.Redoubt("", "doctor", "--only", "P2.2", "--diff", before, "-o", "json")
	var got struct{ Changes []harden.Change }
	if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil || r.Code != 1 || len(got.Changes) != 1 || got.Changes[0].Scope != "files" || got.Changes[0].From != harden.Pass || got.Changes[0].To != harden.Fail {
		t.Errorf("exit code %d, %v\n%s", r.Code, err, r.Text())
	}
}

// Flags about the report that make no sense are refused before anybody looks.
func TestDoctorFormsUsage(t *testing.T) {
	dir := dataDir(t)
	for _, args := range [][]string{{"-o", "pdf"}, {"--baseline", "moon"}, {"--watch", "1s"}, {"--watch", "-1m"}, {"--watch", "1m", "--diff", "last"}, {"--watch", "1m", "-o", "html"}, {"--diff", "last", "-o", "sarif"}, {"--diff", "/nowhere/a.json"}, {"--within", "2m"}, {"--within", "0s"}} {
		if out, err, code := command(t, "", append(append([]string{"doctor"}, args...), "--data-dir", dir)...); code != 2 || err == nil {
			t.Errorf("%v: exit code %d, %v, %s", args, code, err, out)
		}
	}
}

// A --watch that is ended before it has judged anything has no verdict.
func TestWatchEndedEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := rootCmd()
	root.SetArgs([]string{"doctor", "--watch", "1m", "--only", "P3.3", "--data-dir", dataDir(t)})
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	var coded interface{ ExitCode() int }
	if err := root.ExecuteContext(ctx); !errors.As(err, &coded) || coded.ExitCode() != 2 || !strings.Contains(err.Error(), "before the first look was over") {
		t.Errorf("%v", err)
	}
}
