package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// killed ends a program that does not get to say goodbye.
const killed = syscall.SIGKILL

// drainMax is what SIGTERM promises; the race detector is given twice that.
const drainMax = 5 * time.Second

func TestTermDrains(t *testing.T) {
	b := start(t, testkit.Options{})
	five, three := connect(t, b, mqtt.V5, "drain-5"), connect(t, b, mqtt.V311, "drain-3")
	if log := b.Log(); !regexp.MustCompile(`"level":"INFO","msg":"started","version":"[^"]+","revision":"[^"]+","node":"[^"]+","data_dir":"[^"]*` + regexp.QuoteMeta(filepath.Base(b.DataDir)) + `","listeners":\["mqtts 127\.0\.0\.1:` + port(b) + `"`).MatchString(log) {
		t.Errorf("the log does not begin with what writes there:\n%s", log)
	}
	begin := time.Now()
	b.Signal(syscall.SIGTERM)
	five.wantDisconnect(mqtt.ServerShuttingDown)
	three.wantClosed()
	r := b.Wait(2 * drainMax)
	if r.Code != 0 {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	if took := time.Since(begin); took > drainMax {
		t.Errorf("took %v", took)
	}
}

// TestSecondStart: the CA a device trusts and the users it has survive.
func TestSecondStart(t *testing.T) {
	t.Parallel()
	first := start(t, testkit.Options{})
	ca, err := os.ReadFile(first.CA())
	if err != nil {
		t.Fatal(err)
	}
	if r := first.Stop(); r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Text())
	}
	second := testkit.Start(t, testkit.Options{DataDir: first.DataDir})
	again, err := os.ReadFile(second.CA())
	if err != nil || string(again) != string(ca) {
		t.Errorf("the CA is another one, %v", err)
	}
	connect(t, second, mqtt.V5, "second").wantAlive()
}

// TestOneProcessPerDataDirectory: a second broker in the same directory says so
// and leaves the first alone.
func TestOneProcessPerDataDirectory(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	r := testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "serve", "--config", b.Config, "--data-dir", b.DataDir}, testkit.AllowRoot()...)...)
	if r.Code == 0 || !strings.Contains(r.Text(), b.DataDir) {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	connect(t, b, mqtt.V5, "alive").wantAlive()
}

// TestPrivateFiles: keys and users are for nobody else to read (P2.2).
func TestPrivateFiles(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	seen := 0
	err := filepath.WalkDir(b.DataDir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 5 {
		t.Errorf("saw %d files, %v", seen, err)
	}
}

// TestRulesReload: a changed rules file counts after SIGHUP, for live
// subscriptions too; one with a mistake is refused and changes nothing.
func TestRulesReload(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	shipped, err := os.ReadFile(b.Rules)
	if err != nil {
		t.Fatal(err)
	}
	denied := func(id string) bool {
		w := connect(t, b, mqtt.V5, id)
		p := mqtt.Publish{Topic: []byte("plant/a"), QoS: 1, PacketID: 3}
		w.send(p.Append(nil, mqtt.V5))
		in := w.want(mqtt.PUBACK)
		var ack mqtt.Ack
		if err := mqtt.DecodeAck(in.Body, in.Header, mqtt.V5, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
			t.Fatal(err)
		}
		return ack.Reason == mqtt.NotAuthorized
	}
	if !denied("before") {
		t.Fatal("plant/a was open before the rule")
	}

	logged := b.Stderr.Len()
	testkit.WriteFile(t, b.Rules, strings.Replace(string(shipped), "rules:\n", "rules:\n"+plantRule, 1))
	b.Signal(syscall.SIGHUP)
	if line, ok := b.Stderr.WaitFor(patience, logged, "reload"); !ok {
		t.Fatalf("no word about the reload:\n%s", b.Stderr.String()[logged:])
	} else {
		t.Log(line)
	}
	if denied("after") {
		t.Error("the new rule does not count")
	}

	logged = b.Stderr.Len()
	testkit.WriteFile(t, b.Rules, "rules:\n  - alow: everything\n")
	b.Signal(syscall.SIGHUP)
	if _, ok := b.Stderr.WaitFor(patience, logged, "rules.yaml", "2"); !ok {
		t.Errorf("the log does not point at the mistake:\n%s", b.Stderr.String()[logged:])
	}
	if denied("still") {
		t.Error("a broken file took the old rules with it")
	}
	if r := b.Redoubt("", "reload"); r.Code == 0 || !strings.Contains(r.Text(), "rules.yaml") {
		t.Errorf("redoubt reload of a broken file: exit code %d\n%s", r.Code, r.Text())
	}
}

// plantRule opens plant/# for the user of the suites.
const plantRule = "  - {allow: all, users: [" + user + "], topics: [\"plant/#\"]}\n"

// TestConnectionsMustFitTheOpenFiles: a promise the kernel will not keep is
// refused at the start, with the sum (P1.1, P1.2).
func TestConnectionsMustFitTheOpenFiles(t *testing.T) {
	t.Parallel()
	dir := testkit.TempDir(t)
	config := filepath.Join(dir, "redoubt.yaml")
	testkit.WriteFile(t, config, "limits: {connections_total: 100000}\n")
	argv := append([]string{"sh", "-c", "ulimit -n 1024; exec \"$0\" \"$@\"", testkit.Binary(t), "serve", "--config", config, "--data-dir", filepath.Join(dir, "data")}, testkit.AllowRoot()...)
	r := testkit.Exec(t, patience, "", argv...)
	if r.Code == 0 || !strings.Contains(r.Text(), "limits.connections_total") || !strings.Contains(r.Text(), "1024") {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
}

// TestRootIsRefused: uid 0 needs to be asked for (P1.x).
func TestRootIsRefused(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		// Nothing to refuse: prove the other half, that the flag is not needed.
		b := testkit.Start(t, testkit.Options{})
		b.Stop()
		return
	}
	dir := filepath.Join(testkit.TempDir(t), "data")
	r := testkit.Exec(t, patience, "", testkit.Command(t), "serve", "--data-dir", dir)
	if text := strings.TrimSpace(r.Text()); r.Code != 1 || !strings.Contains(text, "Run it as a user of its own") || !strings.Contains(text, "--allow-root") || !strings.HasSuffix(text, "redoubt doctor --explain P1.7") {
		t.Errorf("exit code %d\n%s", r.Code, r.Text())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused start left a data directory")
	}
}
