package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// hostAccepted lets a run pass on whatever machine the tests are on: what is wrong
// with a machine is not for them to say.
var hostAccepted = []string{"--fail-on", "medium", "--max-unknown", "12"}

// beyondTheHost chooses the rows that are the broker's own.
func beyondTheHost() []string {
	var ids []string
	for _, c := range harden.Checks {
		if c.Phase > 1 && c.ID != "P5.10" && c.ID != "P5.11" { // the disk, and what bounds the memory
			ids = append(ids, c.ID)
		}
	}
	return []string{"--only", strings.Join(ids, ",")}
}

// judgeHost compares what a report says of the machine with what others say of it,
// and sees that a limit which is lowered under the running broker is found.
func judgeHost(t *testing.T, b *testkit.Broker, rep *doctorReport) {
	t.Helper()
	own := map[string]string{} // of this process, which started the broker
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		own[name] = strings.TrimSpace(value)
	}
	either := func(good bool, other ...string) []string {
		if good {
			return []string{"pass"}
		}
		return other
	}
	root := os.Getuid() == 0
	for id, want := range map[string][]string{
		"P1.1": {"pass", "warn"}, "P1.2": {"pass"}, "P1.3a": {"pass", "warn"}, // other tests lose connections meanwhile
		"P1.3b": {"pass", "warn", "unknown", "fail", ""}, "P1.4": {"pass", "warn"}, "P1.5": {""}, "P1.6": {""}, "P1.13": {""},
		"P5.10": {"pass", "warn", "fail"}, "P5.11": {"pass", "warn", "fail"},
		"P1.7": either(!root, "fail", "pass"), // root of a user namespace is well
		"P1.8": either(strings.Trim(own["CapEff"]+own["CapPrm"], "0") == "", "fail"),
		"P1.9": either(own["NoNewPrivs"] == "1", "warn", "fail"), "P1.10": either(own["Seccomp"] == "2", "warn", "fail"),
		"P1.11": {"pass", "warn", "unknown", "fail"}, "P1.12": {"pass", "warn", "unknown", "fail"},
	} {
		if got := rep.state(id); !slices.Contains(want, got) {
			t.Errorf("%s is %q, want one of %q", id, got, want)
		}
	}
	for _, name := range []string{"fs.nr_open", "net.ipv4.tcp_syncookies", "net.core.somaxconn"} {
		out, err := exec.Command("sysctl", "-n", name).Output()
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if said := rep.actual(name); err != nil || said != strings.TrimSpace(string(out)) {
			t.Errorf("%s is %q, sysctl says %q, %v", name, said, out, err)
		}
	}
	out, err := exec.Command("ss", "-Hltn", fmt.Sprintf("sport = :%d", b.Port)).Output()
	if f := strings.Fields(string(out)); !errors.Is(err, exec.ErrNotFound) && (err != nil || len(f) < 4 || rep.actual("backlog of the listening socket") != f[2]) {
		t.Errorf("a backlog of %s; ss says %q, %v", rep.actual("backlog of the listening socket"), out, err)
	}
	restore := lowerFiles(t, b.Pid(), 512)
	low, text2, code := examine(t, b, "--only", "P1.1,P1.2")
	if code != 1 || low.state("P1.1") != "fail" || low.state("P1.2") != "fail" || !strings.Contains(text2, "512, and") {
		t.Errorf("exit code %d: the lowered limit is not found\n%s", code, text2)
	}
	restore()
}

// actual is what was seen of something, in the first observation that begins so.
func (r *doctorReport) actual(what string) string {
	for _, f := range r.Results {
		for _, o := range f.Observations {
			if strings.HasPrefix(o.What, what) {
				return o.Actual
			}
		}
	}
	return ""
}
