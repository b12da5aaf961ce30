package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/importer"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

const importedRights = `topic read open/#
user admin
topic readwrite #
user alice
topic readwrite home/#
topic deny home/secret
topic read box/+
pattern readwrite dev/%u/%c
pattern deny dev/alice/c2
pattern read fence
`

// TestImportedRulesDecideAsMosquittoDid asks a Mosquitto and the rules that are made of its
// file the same. A client subscribes to one topic, so that what it is sent is the question.
func TestImportedRulesDecideAsMosquittoDid(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(mosquittoProgram); err != nil {
		t.Fatalf("mosquitto is not installed; run: sudo make deps")
	}
	made, err := importer.Mosquitto("acl", []byte(importedRights))
	if err != nil {
		t.Fatal(err)
	}
	at := startMosquittoWith(t, importedRights)
	flags := func(user, id string) []string {
		out := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(at), "-V", "mqttv5", "-i", id}
		if user != "" {
			out = append(out, "-u", user)
		}
		return out
	}
	for _, c := range []struct {
		user, id, verb, topic string
		allow                 bool
	}{
		{"", "c1", "receive", "open/a", true},
		{"", "c1", "publish", "open/a", false},
		{"alice", "c1", "receive", "open/a", false},
		{"alice", "c1", "publish", "home/a", true},
		{"alice", "c1", "publish", "home/secret", false},
		{"alice", "c1", "receive", "home/secret", false},
		{"alice", "c1", "receive", "box/1", true},
		{"alice", "c1", "publish", "box/1", false},
		{"alice", "c1", "publish", "dev/alice/c1", true},
		{"alice", "c1", "publish", "dev/bob/c1", false},
		{"alice", "c2", "publish", "dev/alice/c2", false},
		{"bob", "c+3", "publish", "dev/bob/c+3", false},
		{"bob", "c4", "receive", "home/a", false},
	} {
		name := fmt.Sprintf("%q/%s %s %s", c.user, c.id, c.verb, c.topic)
		q := rules.Query{By: auth.Principal{Username: c.user, Identity: c.user, ClientID: c.id}, Verb: rules.Verb(c.verb), Topic: c.topic}
		if e := rules.Explain(made.Policy, q); e.Allow != c.allow {
			t.Errorf("%s: expected %t, and the imported rules say %s", name, c.allow, e)
		}
		var is bool
		if c.verb == "publish" {
			if strings.Contains(c.topic, "+") {
				continue // no topic name; the rules alone are asked
			}
			r := testkit.Exec(t, patience, "", append([]string{"mosquitto_pub", "-d", "-q", "1", "-t", c.topic, "-m", "x"}, flags(c.user, c.id)...)...)
			is = !strings.Contains(r.Text(), "RC:135") // 0x87
			if !strings.Contains(r.Text(), "PUBACK") {
				t.Fatalf("%s: no answer:\n%s", name, r.Text())
			}
		} else {
			s := testkit.Go(t, "", append([]string{"stdbuf", "-oL", "mosquitto_sub", "-d", "-F", "got %t", "-t", c.topic, "-t", "fence", "-t", "open/fence"}, flags(c.user, c.id)...)...)
			if _, ok := s.Stdout.WaitFor(patience, 0, "Subscribed (mid"); !ok {
				t.Fatalf("%s: mosquitto_sub did not subscribe:\n%s%s", name, s.Stdout, s.Stderr)
			}
			fence := "fence"
			if c.user == "" {
				fence = "open/fence"
			}
			for _, topic := range []string{c.topic, fence} {
				if r := testkit.Exec(t, patience, "", append([]string{"mosquitto_pub", "-q", "1", "-t", topic, "-m", "x"}, flags("admin", "a")...)...); r.Code != 0 {
					t.Fatal(r.Text())
				}
			}
			if _, ok := s.Stdout.WaitFor(patience, 0, "got "+fence); !ok {
				t.Fatalf("%s: nothing came:\n%s%s", name, s.Stdout, s.Stderr)
			}
			is = strings.Contains(s.Stdout.String(), "got "+c.topic+"\n")
			s.Stop()
		}
		if is != c.allow {
			t.Errorf("%s: expected %t, and Mosquitto says %t", name, c.allow, is)
		}
	}
}

// startMosquittoWith starts one with an acl_file that takes any user name, and answers its port.
func startMosquittoWith(t *testing.T, rights string) int {
	t.Helper()
	dir := testkit.TempDir(t)
	testkit.WriteFile(t, filepath.Join(dir, "acl"), rights)
	for range 4 {
		port := testkit.FreePort(t)
		conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nacl_file %s\npersistence false\nsys_interval 0\nlog_dest stderr\n", port, filepath.Join(dir, "acl"))
		if os.Getuid() == 0 {
			conf += "user root\n"
		}
		path := filepath.Join(dir, "mosquitto.conf")
		testkit.WriteFile(t, path, conf)
		p := testkit.Go(t, "", mosquittoProgram, "-c", path)
		if _, ok := p.Stderr.WaitFor(patience, 0, "running"); ok {
			t.Cleanup(func() { p.Signal(syscall.SIGKILL); p.Wait(patience) })
			return port
		}
		p.Signal(syscall.SIGKILL)
		p.Wait(patience)
	}
	t.Fatal("mosquitto does not start")
	return 0
}
