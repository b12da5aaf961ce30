package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Where another program looks at the same, redoubt doctor has to say the same: TLS is compared
// with OpenSSL, sslscan and testssl in package test, and the rest here. A disagreement
// names both, since either can be wrong.

// heard is what ss lists of a process: addresses that listen, with the Send-Q of each.
func heard(t *testing.T, flags string, pid int) map[string]string {
	t.Helper()
	r := testkit.Exec(t, 20*time.Second, "", testkit.Need(t, "ss"), flags)
	if r.Code != 0 {
		t.Fatal(r.Text())
	}
	found := map[string]string{}
	for line := range strings.Lines(r.Stdout) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.Contains(line, fmt.Sprintf("pid=%d,", pid)) {
			continue
		}
		address := strings.Replace(f[3], "*:", "[::]:", 1)
		found[address] = f[2]
	}
	return found
}

// TestSocketsAreThoseOfSS: the same sockets, in both families, and the same backlogs.
func TestSocketsAreThoseOfSS(t *testing.T) {
	t.Parallel()
	six, every, quic := testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{WebSocket: true, ListenerTCP: testkit.FreePort(t), Listeners: fmt.Sprintf(
		"  six:\n    protocol: mqtts\n    bind: [\"[::1]:%d\"]\n  every:\n    protocol: mqtts\n    bind: [\":%d\"]\n  quic:\n    protocol: quic\n    bind: [\"127.0.0.1:%d\"]\n", six, every, quic)})
	rep, text, _ := examine(t, b, "--only", "P1.3a,P1.4", "--max-unknown", "9")
	said, backlogs := map[string]string{}, map[string]string{}
	for _, r := range rep.Results {
		_, at, found := strings.Cut(r.Scope, "@")
		if !found {
			if _, at, found = strings.Cut(r.Scope, "socket:tcp:"); !found {
				continue
			}
		}
		if strings.HasPrefix(r.ID, "P1.4-") {
			said[at] = r.State
			continue
		}
		for _, o := range r.Observations {
			if strings.Contains(o.What, "Send-Q") {
				backlogs[at] = o.Actual
			}
		}
	}
	tcp, udp := heard(t, "-Hltnp", b.Pid()), heard(t, "-Hlunp", b.Pid())
	if len(tcp) < 6 || len(udp) != 1 {
		t.Fatalf("ss lists %v and %v\n%s", tcp, udp, text)
	}
	for at, queue := range tcp {
		if _, ok := said[at]; !ok {
			t.Errorf("ss lists tcp %s, and doctor (P1.4) does not: %v", at, said)
		}
		if backlogs[at] != queue {
			t.Errorf("the backlog of %s is %s for ss, and %q for doctor (P1.3a)", at, queue, backlogs[at])
		}
	}
	for at := range udp {
		if _, ok := said[at]; !ok {
			t.Errorf("ss lists udp %s, and doctor (P1.4) does not: %v", at, said)
		}
	}
	for at := range said {
		if tcp[at] == "" && udp[at] == "" {
			t.Errorf("doctor (P1.4) lists %s, and ss does not: %v %v", at, tcp, udp)
		}
	}
}

// demanded are the directives of the unit by which rows of the checklist hold, with what
// systemd-analyze security calls them.
var demanded = []struct{ row, directive, field string }{
	{"P1.7", "User=redoubt", "UserOrDynamicUser"},
	{"P1.8", "CapabilityBoundingSet=", "CapabilityBoundingSet_CAP_SYS_ADMIN"},
	{"P1.8", "CapabilityBoundingSet=", "CapabilityBoundingSet_CAP_NET_ADMIN"},
	{"P1.8", "AmbientCapabilities=", "AmbientCapabilities"},
	{"P1.9", "NoNewPrivileges=yes", "NoNewPrivileges"},
	{"P1.10", "SystemCallFilter=@system-service", "SystemCallFilter_mount"},
	{"P5.15", "MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute"},
}

// TestTheUnitIsWhatSystemdSays: of each directive that a row counts on, systemd says that it is in
// force, and says the opposite of a unit without it.
func TestTheUnitIsWhatSystemdSays(t *testing.T) {
	t.Parallel()
	program := testkit.Need(t, "systemd-analyze")
	judge := func(unit string) map[string]bool {
		t.Helper()
		root := testkit.TempDir(t)
		dir := filepath.Join(root, "usr", "lib", "systemd", "system")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		testkit.WriteFile(t, filepath.Join(dir, "redoubt.service"), unit)
		r := testkit.Exec(t, 30*time.Second, "", program, "security", "--offline=true", "--json=short", "--no-pager", "--root="+root, "redoubt.service")
		var found []struct {
			Set   bool   `json:"set"`
			Field string `json:"json_field"`
		}
		if err := json.Unmarshal([]byte(r.Stdout), &found); err != nil {
			t.Fatalf("%v\n%s", err, r.Text())
		}
		set := map[string]bool{}
		for _, f := range found {
			set[f.Field] = f.Set
		}
		return set
	}
	unit := packaged(t, "linux/redoubt.service")
	whole := judge(unit)
	lines := strings.Split(unit, "\n")
	for _, d := range demanded {
		if is, known := whole[d.field]; !slices.Contains(lines, d.directive) || !is || !known {
			t.Errorf("row %s counts on %s, and systemd-analyze says of %s: %v (known: %v)", d.row, d.directive, d.field, is, known)
		}
		if d.directive == "AmbientCapabilities=" {
			continue // none is the default, too
		}
		without := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, d.directive[:strings.Index(d.directive, "=")+1]) })
		if judge(strings.Join(without, "\n"))[d.field] {
			t.Errorf("row %s fails without %s, and systemd-analyze says that %s is in force", d.row, d.directive, d.field)
		}
	}
}

// TestTheExampleOfRulesIsTaken: nft understands the packaged rules, drops what they say, and
// refuses them with a word that is wrong.
func TestTheExampleOfRulesIsTaken(t *testing.T) {
	testkit.Need(t, "nft")
	if !inNamespace(t) {
		return
	}
	rules := packaged(t, "linux/nftables.conf")
	good, wrong := filepath.Join(t.TempDir(), "good.nft"), filepath.Join(t.TempDir(), "wrong.nft")
	testkit.WriteFile(t, good, rules)
	testkit.WriteFile(t, wrong, strings.Replace(rules, "inet_service", "inet_servant", 1))
	if r := testkit.Exec(t, 20*time.Second, "", "nft", "-c", "-f", good); r.Code != 0 || r.Stderr != "" {
		t.Errorf("nft takes the packaged example not: %s", r.Text())
	}
	if r := testkit.Exec(t, 20*time.Second, "", "nft", "-c", "-f", wrong); r.Code == 0 {
		t.Error("nft takes anything")
	}
	if r := testkit.Exec(t, 20*time.Second, "", "nft", "-f", good); r.Code != 0 {
		t.Fatal(r.Text())
	}
	for set, ports := range map[string][]string{"client_tcp": {"8883", "8084"}, "inner_tcp": {"1883", "8083", "18084"}} {
		r := testkit.Exec(t, 20*time.Second, "", "nft", "-n", "list", "set", "inet", "redoubt", set)
		for _, p := range ports {
			if !strings.Contains(r.Stdout, p) {
				t.Errorf("the example has %s in %s, and nft does not: %s", p, set, r.Text())
			}
		}
	}
}
