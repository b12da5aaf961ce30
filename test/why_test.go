package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

var refTold = regexp.MustCompile(`ref ([0-9a-f]{8})`)

// What a client is told with a refusal finds the rule, its file and line, for the operator;
// so does the client's name, and the question what it could do now (user-pains 20 to 25).
func TestWhy(t *testing.T) {
	t.Parallel()
	next := filepath.Join(t.TempDir(), "next.yaml") // rules that are tried
	write := func(rule string) {
		t.Helper()
		if err := os.WriteFile(next, []byte("version: 1\nrules:\n  - "+rule+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{allow: all, topics: [\"devices/${username}/+\"]}")
	b := start(t, testkit.Options{Config: "authz: {report_only: {rules_file: " + next + "}}\n", Rules: "version: 1\nrules:\n  - {id: not-this, deny: all, topics: [\"devices/dev1/private\"]}\n  - {allow: all, topics: [\"devices/${username}/#\"]}\n"})
	usual := []string{testkit.Need(t, "mosquitto_pub"), "-V", "mqttv5", "-h", "localhost", "-p", port(b), "--cafile", b.CA(), "-u", user, "-m", "x", "-q", "1"}
	why := func(args ...string) testkit.Run {
		t.Helper()
		return testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "--data-dir", b.DataDir}, args...)...)
	}
	wants := func(r testkit.Run, code int, parts ...string) {
		t.Helper()
		if r.Code != code {
			t.Errorf("exit code %d, want %d", r.Code, code)
		}
		for _, part := range parts {
			if !strings.Contains(r.Text(), part) {
				t.Errorf("it does not say %q:\n%s", part, r.Text())
			}
		}
	}

	r := testkit.Exec(t, patience, "", append(usual, "-P", password, "-i", "pump-1", "-t", "devices/dev1/private")...)
	told := refTold.FindStringSubmatch(r.Text())
	if told == nil {
		t.Fatalf("the client is told no reference:\n%s", r.Text())
	}
	if strings.Contains(r.Text(), "rules.yaml") || strings.Contains(r.Text(), "not-this") {
		t.Errorf("the client is told the rule:\n%s", r.Text())
	}
	if _, ok := b.Stderr.WaitFor(patience, 0, "publish denied", told[1], "rules.yaml", "\"line\":3"); !ok {
		t.Errorf("no line of the log has the reference %s:\n%s", told[1], b.Log())
	}
	wants(why("why", told[1]), 0, "publish denied", "devices/dev1/private", "rules.yaml:3", "pump-1", user)
	wants(why("why", "pump-1"), 0, told[1], "rules.yaml:3")

	if r := testkit.Exec(t, patience, "", append(usual, "-P", "wrong", "-i", "pump-9", "-t", "devices/dev1/x")...); r.Code == 0 {
		t.Error("a wrong password is taken")
	}
	wants(why("why", "pump-9"), 0, "CONNECT refused", "wrong password", "pump-9", "127.0.0.1")

	s := sub(t, b, "mqttv5", "devices/"+user+"/#", "-i", "pump-2")
	wants(why("why", "pump-2", "publish", "devices/"+user+"/t", "--qos", "1"), 0, "allow", "rules.yaml:4", "connected")
	wants(why("why", "pump-2", "publish", "devices/dev1/private"), 1, "deny: 0x87", "rules.yaml:3 (not-this)")
	wants(why("why", "pump-2", "subscribe", "#"), 1, "deny: 0x87", "last rule of every policy")
	wants(why("can-i", "pump-2", "subscribe", "devices/"+user+"/+"), 0, "yes")
	wants(why("can-i", "pump-2", "subscribe", "other/+"), 1, "no")
	wants(why("why", "pump-2", "publish", "a/b/c/d/e/f/g/h/i/j/k/l"), 1, "limits.topic_levels")
	wants(why("why", "nobody-here", "publish", "x"), 2, "no session", "redoubt clients list")
	wants(why("why", "nobody-here"), 2, "nothing was refused lately", "redoubt acl test --user")
	wants(why("why", "00000000"), 2, "no refusal has that reference")
	wants(why("can-i", "nobody-here", "publish", "x", "-o", "json"), 2, `{"result":"unknown"}`)
	wants(why("acl", "refresh", "nobody-here"), 1, "no session")
	wants(why("authn", "test", "--listener", "mqtts", "--peer", "nonsense"), 2, "--peer")
	wants(why("can-i", "nobody-here", "publish", "x"), 2, "unknown", "no session")

	// What is in force for one client, and whether another would be let in.
	wants(why("acl", "show", "pump-2"), 0, "client    pump-2 of "+user, "rules_file: 2 about this client", "rules.yaml:3", "allow all devices/"+user+"/#", "deny all #")
	wants(why("acl", "show", "nobody-here"), 1, "no session")
	wants(why("acl", "lint"), 0, "2 rules, 0 errors")
	try := func(stdin string, args ...string) testkit.Run {
		t.Helper()
		return testkit.Exec(t, patience, stdin, append([]string{testkit.Command(t), "--data-dir", b.DataDir, "authn", "test", "--listener", "mqtts"}, args...)...)
	}
	for range 2 {
		wants(try("marker-wrong\n", "--username", user, "--password-file", "-", "--client-id", "pump-2", "--peer", "127.0.0.1"), 1, "deny: 0x86", "wrong password", "builtin  denied")
	}
	wants(try(password+"\n", "--username", user, "--password-file", "-"), 0, "allow", user+", by authenticator builtin")
	wants(try("", "--username", user), 1, "no password was given")
	wants(try("", "--username", user, "--listener", "nowhere"), 1, "there is no listener")
	if log := b.Log(); strings.Contains(log, "marker-wrong") || strings.Count(log, "login tried by an operator") != 4 || strings.Contains(log, "ban") && strings.Contains(log, "flapping") {
		t.Errorf("trials in the log:\n%s", log)
	}
	if out := why("ban", "list"); strings.Contains(out.Text(), user) || strings.Contains(out.Text(), "127.0.0.1") {
		t.Errorf("trials have banned somebody:\n%s", out.Text())
	}
	if r := testkit.Exec(t, patience, "", append(usual, "-P", password, "-i", "pump-1", "-t", "devices/"+user+"/t")...); r.Code != 0 {
		t.Errorf("after failed trials: %s", r.Text())
	}
	wants(why("acl", "suggest", "--for", "1s"), 0, "users: [\""+user+"\"]", "- \"devices/${username}/#\" # 1", "clients that did not come in this time")
	wants(why("acl", "suggest", "--forget"), 0)
	wants(why("acl", "suggest"), 1, "nobody has watched yet")
	s.Stop()

	// What rules that are only tried would have changed, and rules that cannot be read.
	wants(why("acl", "diff"), 1, "2 would be denied, 1 would be allowed", "deny", "devices/${username}/#", "allow", "devices/${username}/private", "next.yaml:3", "rules.yaml:3 (not-this)")
	write("{allow: all, topics: [\"devices/#\"]")
	wants(why("reload"), 1, "next.yaml")
	write("{allow: all, topics: [\"devices/#\"]}")
	wants(why("reload"), 0, "rules that are tried: 1 from "+next)
	wants(why("acl", "diff"), 0, "0 would be denied")
}
