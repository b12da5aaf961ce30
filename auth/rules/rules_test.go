package rules

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

var rewrite = flag.Bool("rewrite", false, "record what the scripts in testdata answer")

// The scripts are rules files, questions that start with "? ", and below ---- what
// came of them. `go test -rewrite` records; the difference is then read like code.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(data), "\n=== ")
		out := head
		for _, c := range strings.Split(rest, "\n=== ") {
			name, body, _ := strings.Cut(c, "\n")
			input, want, found := strings.Cut(body, "\n----\n")
			if !found {
				input, want = strings.TrimSuffix(body, "\n----"), ""
			}
			got := script(t, input)
			out += "\n=== " + name + "\n" + input + "\n----\n" + got
			if !*rewrite && strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("%s: %s\n%s\ngot\n%s\nwant\n%s", path, name, input, got, want)
			}
		}
		if *rewrite {
			if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// script answers the errors of the rules above the questions, or each question.
func script(t *testing.T, input string) string {
	t.Helper()
	var yaml, questions []string
	for _, line := range strings.Split(input, "\n") {
		if q, ok := strings.CutPrefix(line, "? "); ok {
			questions = append(questions, q)
		} else {
			yaml = append(yaml, line)
		}
	}
	p, err := Parse("rules.yaml", []byte(strings.Join(yaml, "\n")+"\n"))
	if err != nil {
		return err.Error() + "\n"
	}
	if len(questions) == 0 {
		return "ok\n"
	}
	var b strings.Builder
	for _, q := range questions {
		fmt.Fprintf(&b, "%s\n", Explain(p, query(t, q)))
	}
	return b.String()
}

// query reads "alice c1 publish a/b qos=1 retain addr=10.0.0.1"; - is no name.
func query(t *testing.T, text string) Query {
	t.Helper()
	f := strings.Fields(text)
	if len(f) < 4 {
		t.Fatalf("%q is not USER CLIENT VERB TOPIC", text)
	}
	q := Query{By: auth.Principal{Username: f[0], ClientID: f[1], Addr: netip.MustParseAddr("192.0.2.1")}, Verb: Verb(f[2]), Topic: f[3]}
	if f[0] == "-" {
		q.By.Username = ""
	}
	for _, opt := range f[4:] {
		k, v, _ := strings.Cut(opt, "=")
		switch k {
		case "qos":
			q.QoS = mqtt.QoS(v[0] - '0')
		case "retain":
			q.Retain = true
		case "addr":
			q.By.Addr = netip.MustParseAddr(v)
		default:
			t.Fatalf("%q: unknown option", opt)
		}
	}
	return q
}

func TestTheShippedFile(t *testing.T) {
	p, err := Parse("rules.yaml", Default())
	if err != nil {
		t.Fatal(err)
	}
	if rules := p.Rules(); len(rules) != 2 || rules[0].ID != "own-devices" {
		t.Fatalf("%d rules", len(rules))
	}
	by := auth.Principal{Username: "alice", ClientID: "c1"}
	for _, c := range []struct {
		verb  Verb
		topic string
		want  bool
	}{
		{Publish, "devices/alice", true}, {Publish, "devices/alice/a/b", true}, {Subscribe, "devices/alice/+", true}, {Receive, "devices/alice/a", true},
		{Subscribe, "$share/g/devices/alice/#", true},
		{Publish, "devices/bob/a", false}, {Publish, "devices", false}, {Publish, "a", false}, {Publish, "$SYS/a", false}, {Publish, "$CONTROL/a", false},
		{Subscribe, "devices/+/a", false}, {Subscribe, "devices/#", false}, {Subscribe, "#", false}, {Subscribe, "+/#", false}, {Subscribe, "+/alice/#", false},
		{Subscribe, "$SYS/#", false}, {Subscribe, "$share/g/#", false}, {Subscribe, "$share/g/devices/bob/#", false}, {Subscribe, "$queue/devices/alice/#", false},
		{Receive, "devices/bob/a", false}, {Receive, "$SYS/a", false},
	} {
		if got := Explain(p, Query{By: by, Verb: c.verb, Topic: c.topic}).Allow; got != c.want {
			t.Errorf("%s %s: %v", c.verb, c.topic, got)
		}
	}
	for _, user := range []string{"", "+", "#", "alice/x", "$SYS"} {
		by := auth.Principal{Username: user}
		for _, topic := range []string{"devices/" + user, "devices/alice", "devices//a", "devices/a"} {
			if Explain(p, Query{By: by, Verb: Publish, Topic: topic}).Allow {
				t.Errorf("user %q publishes to %s", user, topic)
			}
		}
		if Explain(p, Query{By: by, Verb: Subscribe, Topic: "devices/#"}).Allow {
			t.Errorf("user %q subscribes to everything", user)
		}
	}
	Default()[0] = 'X'
	if Default()[0] == 'X' {
		t.Error("the shipped file can be changed by who asks for it")
	}
}

// A101, A102: a file that is not there, empty, half or open to all is an error and
// never a policy.
func TestLoadRefusesWhatItCannotTrust(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rules.yaml")
	for name, c := range map[string]struct {
		data string
		mode os.FileMode
		says string
	}{
		"missing":        {"", 0, "no such file"},
		"empty":          {"", 0o600, "the file is empty"},
		"comments":       {"# allow all\n", 0o600, "the file is empty"},
		"null":           {"---\n", 0o600, "is empty; write a mapping"},
		"half":           {string(Default()[:len(Default())-20]), 0o600, "rules.yaml:"},
		"too large":      {strings.Repeat("# x\n", FileBytesMax/4+1), 0o600, "more than 1048576 bytes"},
		"world-writable": {string(Default()), 0o602, "chmod o-w"},
	} {
		_ = os.Remove(path)
		if c.mode != 0 {
			if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Load(path)
		if p != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.says)
		}
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error("a directory:", err)
	}
	if err := os.WriteFile(path, Default(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(Default()), "- id: own-devices")
	if at, want := p.Rules()[0].Where(), fmt.Sprintf("%s:%d", path, strings.Count(before, "\n")+1); at != want {
		t.Errorf("the rule says it stands at %s, want %s", at, want)
	}
}

func TestErrorsAreListedButNotWithoutEnd(t *testing.T) {
	_, err := Parse("r", []byte("version: 1\nrules:\n"+strings.Repeat("  - {}\n", 50)))
	e, ok := err.(*Error)
	if !ok || len(e.Problems) != problemsMax || e.More == 0 || !strings.HasSuffix(err.Error(), "more") {
		t.Errorf("%v", err)
	}
	if e.Problems[0].Line != 3 || e.Problems[0].Column != 5 {
		t.Errorf("%+v", e.Problems[0])
	}
}
