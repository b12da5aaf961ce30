package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/pki"
)

// command runs one command line and answers its output, its error and the exit code
// main would make of it.
func command(t *testing.T, stdin string, args ...string) (out string, err error, code int) {
	t.Helper()
	root := rootCmd()
	var b bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&b)
	root.SetErr(&b)
	err = root.ExecuteContext(t.Context())
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		code = coded.ExitCode()
	case err != nil:
		code = 1
	}
	return b.String(), err, code
}

type brokerStub struct {
	reload func() (admin.ReloadReport, error)
	bans   *bans.Bans // nil: no operations on those, and on clients
}

func (brokerStub) Status() admin.StatusReport {
	return admin.StatusReport{Name: "n1", Version: "9.9", StartedAt: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), Connections: 7,
		Listeners: []admin.ListenerStatus{{Name: "mqtts", Address: "[::]:8883", Protocol: "mqtts", Connections: 7}}}
}

func (b brokerStub) Reload(context.Context) (admin.ReloadReport, error) { return b.reload() }

// startAdmin serves the administration socket of a data directory.
func startAdmin(t *testing.T, dir string, b brokerStub) *builtin.Store {
	t.Helper()
	clk := clock.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	n := quietNode(t, dir, slog.New(slog.DiscardHandler))
	if err := n.openUsers(n.loaded.Load().Config, n.durable.view.CatchUp); err != nil {
		t.Fatal(err)
	}
	store := n.users
	policy, err := rules.Parse("rules.yaml", rules.Default())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := admin.Listen(filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	o := admin.Options{Version: "9.9", Clock: clk, Log: slog.New(slog.DiscardHandler), Users: admin.BuiltinUsers(store),
		Policy: auth.NewAuthorizer(policy), Status: b, Reloader: b}
	if b.bans != nil {
		o.Clients, o.Bans = noClients{}, &node{identity: identity{bans: b.bans}}
	}
	s := admin.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return store
}

func dataDir(t *testing.T) string {
	t.Helper()
	old := syscall.Umask(0o022) // t.TempDir makes its folders with it, and open ones are refused
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "d")
	if err := datadir.Init(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUserCommandsWithAndWithoutBroker(t *testing.T) {
	for _, running := range []bool{true, false} {
		dir := dataDir(t)
		if running {
			startAdmin(t, dir, brokerStub{})
		}
		do := func(stdin string, args ...string) (string, error, int) {
			return command(t, stdin, append(args, "--data-dir", dir)...)
		}
		out, err, _ := do("", "user", "add", "it's me")
		if err != nil {
			t.Fatalf("broker %v: %v", running, err)
		}
		secret := between(out, "PASSWORD='", "'")
		if len(secret) < 30 || strings.Count(out, secret) != 1 {
			t.Errorf("broker %v: the secret %q is not shown exactly once in\n%s", running, secret, out)
		}
		// The two lines can be pasted into a shell.
		lines := strings.Split(out, "\n    ")
		script := "mosquitto_sub() { for a; do printf '%s\\n' \"$a\"; done; }\n" + strings.TrimSpace(strings.Split(lines[1], "\n")[0]) + "\n" + strings.TrimSpace(lines[2])
		got, err := exec.Command("/bin/sh", "-c", script).CombinedOutput()
		want := "-h\nlocalhost\n-p\n8883\n--cafile\n" + pki.CAFile(dir) + "\n-u\nit's me\n-P\n" + secret + "\n-t\ndevices/it's me/#\n-v\n"
		if err != nil || string(got) != want {
			t.Errorf("broker %v: pasted, the lines run\n%s%v\nwant\n%s", running, got, err, want)
		}
		if _, err, code := do("", "user", "add", "it's me"); code != 1 || !strings.Contains(err.Error(), "exists") {
			t.Errorf("broker %v: added twice: %v, exit %d", running, err, code)
		}
		if out, err, _ := do("correct horse\nsecond line", "user", "add", "alice", "--password-stdin"); err != nil || strings.Contains(out, "horse") {
			t.Errorf("broker %v: %q, %v", running, out, err)
		}
		if _, _, code := do("\n", "user", "passwd", "alice", "--password-stdin"); code != 1 {
			t.Errorf("broker %v: an empty line as password: exit %d", running, code)
		}
		out, err, _ = do("", "user", "passwd", "alice", "-o", "json")
		var u admin.User
		if err != nil || json.Unmarshal([]byte(out), &u) != nil || u.Password == nil || u.PasswordKind != "generated" {
			t.Errorf("broker %v: %q, %v", running, out, err)
		}
		if out, _, _ := do("", "user", "list"); !strings.Contains(out, "alice    generated") || strings.Contains(out, secret) {
			t.Errorf("broker %v: list\n%s", running, out)
		}
		var page struct{ Data []admin.User }
		if out, _, _ := do("", "user", "list", "-o", "json"); json.Unmarshal([]byte(out), &page) != nil || len(page.Data) != 2 {
			t.Errorf("broker %v: list\n%s", running, out)
		}
		if out, err, _ := do("", "user", "delete", "alice"); err != nil || !strings.Contains(out, "deleted") {
			t.Errorf("broker %v: %q, %v", running, out, err)
		}
		if _, _, code := do("", "user", "delete", "alice"); code != 1 {
			t.Errorf("broker %v: deleted twice: exit %d", running, code)
		}
		if _, _, code := do("", "user", "add"); code != 2 {
			t.Errorf("broker %v: no name: exit %d", running, code)
		}
	}
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// A broker that holds the directory and does not answer yet is not worked around.
func TestUserCommandsRespectTheLock(t *testing.T) {
	dir := dataDir(t)
	release, err := datadir.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err, code := command(t, "", "user", "add", "a", "--data-dir", dir); code != 1 || !errors.As(err, new(*datadir.InUseError)) {
		t.Errorf("%v, exit %d", err, code)
	}
	if _, err := os.Stat(filepath.Join(dir, "store")); !os.IsNotExist(err) {
		t.Errorf("users were written: %v", err)
	}
}

func TestAclCommands(t *testing.T) {
	dir := dataDir(t)
	startAdmin(t, dir, brokerStub{})
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"test --user a publish devices/a/t", 0, "allow\n  rules.yaml:"},
		{"test --user a publish devices/b/t --qos 1 --retain", 1, "deny\n  default: deny: all"},
		{"test --user a/b publish devices/a/b", 1, "${username} stands for nothing"},
		{"test --user a --client c --address 192.0.2.1 subscribe devices/a/# -o json", 0, `"result": "allow"`},
		{"test --user a --address here publish t", 1, ""},
		{"test publish t", 2, ""},
		{"test --user a publish", 2, ""},
		{"test --user a read t", 2, ""},
		{"test --user a publish t --qos 3", 2, ""},
		{"test --user a publish t --nonsense", 2, ""},
		{"show", 0, "own-devices"},
		{"show -o json", 0, `"id": "default"`},
		{"show -o xml", 2, ""},
	} {
		out, err, code := command(t, "", append(append([]string{"acl"}, strings.Fields(c.args)...), "--data-dir", dir)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("acl %s: exit %d, %v, %q; want %d, %q", c.args, code, err, out, c.code, c.want)
		}
	}
}

func TestStatusAndReloadCommands(t *testing.T) {
	dir := dataDir(t)
	for _, words := range [][]string{{"status"}, {"reload"}, {"acl", "show"}} {
		if _, err, code := command(t, "", append(words, "--data-dir", dir)...); code != 3 || !strings.Contains(err.Error(), "redoubt serve") {
			t.Errorf("%v without a broker: %v, exit %d", words, err, code)
		}
	}
	answer, refusal := admin.ReloadReport{Changed: []string{"limits.inflight: 32 -> 64"}}, error(nil)
	startAdmin(t, dir, brokerStub{reload: func() (admin.ReloadReport, error) { return answer, refusal }})
	if out, err, _ := command(t, "", "status", "--data-dir", dir); err != nil || !strings.Contains(out, "mqtts [::]:8883 (mqtts), 7 connections") || !strings.Contains(out, "1h0m0s, since 2026-03-01 11:00:00 UTC") {
		t.Errorf("%v\n%s", err, out)
	}
	var s admin.StatusReport
	if out, _, _ := command(t, "", "status", "--data-dir", dir, "-o", "json"); json.Unmarshal([]byte(out), &s) != nil || s.Connections != 7 || s.UptimeSeconds != 3600 {
		t.Errorf("%s", out)
	}
	if out, err, _ := command(t, "", "reload", "--data-dir", dir); err != nil || out != "limits.inflight: 32 -> 64\n" {
		t.Errorf("%q, %v", out, err)
	}
	answer = admin.ReloadReport{}
	if out, _, _ := command(t, "", "reload", "--data-dir", dir); !strings.Contains(out, "nothing is different") {
		t.Errorf("%q", out)
	}
	refusal = errors.New("redoubt.yaml:7:3: refused")
	if _, err, code := command(t, "", "reload", "--data-dir", dir); code != 1 || !strings.Contains(err.Error(), "redoubt.yaml:7:3") {
		t.Errorf("%v, exit %d", err, code)
	}
}
