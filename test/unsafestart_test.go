package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// unsafeStart is a way to start that serve refuses.
type unsafeStart struct {
	config string                          // what makes it unsafe
	spoil  func(t *testing.T, data string) // or this, in a data directory that is ready
	row    string
	fix    string // words of what to do about it
	scope  string // of the waiver that lets it be; empty: nothing does
	bad    bool   // waivers that are none are tried, too: whose row it is makes no difference to them
}

// unsafeStarts are all of them. That root is refused is TestRootIsRefused.
func unsafeStarts(t *testing.T) map[string]unsafeStart {
	mode := func(name string, m os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.Chmod(filepath.Join(data, name), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	lookup := func(hash string) string {
		return "backends: {db: {type: redis, servers: [\"127.0.0.1:6379\"]}}\nauthn: {lookup: {old: {backend: db, query: \"HGETALL u:${username}\", hash: {algorithm: " + hash + "}}}, chains: {default: [old, builtin]}}\n"
	}
	listener := func(protocol string) string {
		return fmt.Sprintf("  plain: {protocol: %s, bind: [\"0.0.0.0:%d\"]}\n", protocol, testkit.FreePort(t))
	}
	return map[string]unsafeStart{
		"MQTT in plain text":          {config: listener("mqtt"), row: "P1.4", fix: "use protocol mqtts", scope: "listeners.plain", bad: true},
		"WebSocket in plain text":     {config: listener("ws"), row: "P1.4", fix: "use protocol wss", scope: "listeners.plain"},
		"metrics for everybody":       {config: fmt.Sprintf("metrics: {bind: [\"0.0.0.0:%d\"]}\n", testkit.FreePort(t)), row: "P1.4", fix: "Bind it to 127.0.0.1", scope: "metrics"},
		"a back end in plain text":    {config: "backends: {db: {type: redis, servers: [\"192.0.2.1:6379\"], tls: {mode: off}}}\n", row: "P4.5", fix: "Set it to required", scope: "backends.db"},
		"hashes that are none":        {config: lookup("plain"), row: "P4.1", fix: "argon2id", scope: "authn.lookup.old", bad: true},
		"a key that others can read":  {spoil: mode("certs/server.key", 0o644), row: "P2.2", fix: "chmod 0600 "},
		"a CA key of the group":       {spoil: mode("certs/ca.key", 0o640), row: "P2.2", fix: "chmod 0600 "},
		"rules that others can write": {spoil: mode("rules.yaml", 0o666), row: "P2.2", fix: "chmod "},
		"more than the files allow":   {config: "limits: {connections_total: 9000000}\n", row: "P1.1", fix: "Raise the limit"},
	}
}

// TestAnUnsafeStartIsRefused: with the row, what to do and, where there is one, the waiver; that
// waiver lets it be, and is in the log.
func TestAnUnsafeStartIsRefused(t *testing.T) {
	for name, c := range unsafeStarts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := testkit.TempDir(t)
			data, file := filepath.Join(dir, "data"), filepath.Join(dir, "redoubt.yaml")
			port, page := testkit.FreePort(t), testkit.FreePort(t)
			head := fmt.Sprintf("listeners:\n  mqtts: {bind: [\"127.0.0.1:%d\"]}\n  wss: {bind: []}\n", port)
			rest := ""
			if !strings.Contains(c.config, "metrics:") {
				rest = fmt.Sprintf("metrics: {bind: [\"127.0.0.1:%d\"]}\n", page)
			}
			serve := func(waivers string) *testkit.Process {
				testkit.WriteFile(t, file, head+c.config+rest+waivers)
				return testkit.Go(t, "", testkit.Command(t), "serve", "--allow-root", "--config", file, "--data-dir", data)
			}
			if c.spoil != nil {
				if r := testkit.Exec(t, patience, "", testkit.Command(t), "init", "--data-dir", data); r.Code != 0 {
					t.Fatal(r.Text())
				}
				c.spoil(t, data)
			}
			r := serve("").Wait(patience)
			if text := r.Text(); r.Code != 1 || !strings.Contains(text, c.row) || !strings.Contains(text, c.fix) {
				t.Errorf("exit code %d, want 1 with %s and %q\n%s", r.Code, c.row, c.fix, text)
			}
			expires := time.Now().UTC().AddDate(0, 0, 20).Format(time.DateOnly)
			waiver := func(scope, until string) string {
				return fmt.Sprintf("waivers: [{id: %s, scope: %s, reason: old devices, owner: ann, expires: %s}]\n", c.row, scope, until)
			}
			if c.scope == "" {
				r := serve(waiver("node", expires)).Wait(patience)
				if r.Code != 1 {
					t.Errorf("a waiver lets it start: exit code %d\n%s", r.Code, r.Text())
				}
				return
			}
			if !strings.Contains(r.Text(), fmt.Sprintf("or waive it: waivers: [{id: %s, scope: %s, reason: ..., owner: ..., expires: ", c.row, c.scope)) {
				t.Errorf("it does not say how it is waived:\n%s", r.Text())
			}
			bad := map[string]string{
				"is past":                         waiver(c.scope, "2026-01-31"),
				"is more than 180 days ahead":     waiver(c.scope, time.Now().UTC().AddDate(0, 0, 182).Format(time.DateOnly)),
				"waives nothing":                  waiver("listeners.mqtts", expires),
				"has no owner":                    strings.Replace(waiver(c.scope, expires), ", owner: ann", "", 1),
				"has no reason":                   strings.Replace(waiver(c.scope, expires), ", reason: old devices", "", 1),
				"is another row than the one":     strings.Replace(waiver(c.scope, expires), c.row, map[bool]string{true: "P4.1", false: "P1.4"}[c.row == "P1.4"], 1),
				"is not a row that can be waived": strings.Replace(waiver(c.scope, expires), c.row, "P2.2", 1),
			}
			if !c.bad {
				clear(bad)
			}
			for what, w := range bad {
				if r := serve(w).Wait(patience); r.Code != 1 || !strings.Contains(r.Text(), what) {
					t.Errorf("%s: exit code %d\n%s", what, r.Code, r.Text())
				}
			}
			p := serve(waiver(c.scope, expires))
			if _, ok := p.Stderr.WaitFor(patience, 0, `"msg":"waiver in force"`, `"id":"`+c.row+`"`, `"scope":"`+c.scope+`"`, `"owner":"ann"`); !ok {
				t.Errorf("the waiver is not in the log\n%s", p.Stdout.String()+p.Stderr.String())
			}
			if _, ok := p.Stderr.WaitFor(patience, 0, `"msg":"started"`); !ok {
				t.Errorf("it does not start\n%s", p.Stdout.String()+p.Stderr.String())
			}
			p.Signal(syscall.SIGTERM)
			if r := p.Wait(patience); r.Code != 0 {
				t.Errorf("exit code %d\n%s", r.Code, r.Text())
			}
		})
	}
}
