package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// A neighbour sees what nobody on the host can: that a listener on loopback is passed on to the network.
// With a rule that drops it, what he sees settles the row.
func TestDoctorFromOutside(t *testing.T) {
	testkit.Need(t, "nft")
	if !inNamespace(t) {
		return
	}
	withoutSecrets(t)
	neighbour := testkit.Go(t, "", "unshare", "--net", "sleep", "600")
	shell(t, fmt.Sprintf(`ip link set lo up
		until [[ $(readlink /proc/%[1]d/ns/net) != $(readlink /proc/self/ns/net) ]]; do sleep 0.05; done
		ip link add here type veth peer name there && ip link set there netns %[1]d
		ip addr add 192.0.2.1/24 dev here && ip link set here up
		nsenter --net=/proc/%[1]d/ns/net sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev there; ip link set there up'`, neighbour.Pid()))
	outer, plain := testkit.FreePort(t), testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{Listeners: fmt.Sprintf("  outer:\n    protocol: mqtts\n    bind: [\"192.0.2.1:%d\"]\n  plain:\n    protocol: mqtt\n    bind: [\"127.0.0.1:%d\"]\n", outer, plain)})
	passOn(t, fmt.Sprintf("192.0.2.1:%d", plain), fmt.Sprintf("127.0.0.1:%d", plain))
	file := filepath.Join(testkit.TempDir(t), "outside.json")
	look := func() int {
		t.Helper()
		r := testkit.Exec(t, 60*time.Second, "", "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", neighbour.Pid()), testkit.Command(t),
			"doctor", "--from", "outside", "--target", "192.0.2.1", "--ports", fmt.Sprintf("%d,%d", outer, plain), "-o", "json")
		testkit.WriteFile(t, file, r.Stdout)
		return r.Code
	}
	judged := func(scope, state, confidence string) {
		t.Helper()
		rep, text, _ := examine(t, b, "--only", "P1.4", "--outside", file)
		for _, f := range rep.Results {
			if strings.HasPrefix(f.Scope, scope) {
				if f.State != state || f.Confidence != confidence {
					t.Errorf("%s is %s by %s: %s", f.Scope, f.State, f.Confidence, f.Summary)
				}
				return
			}
		}
		t.Errorf("nothing about %s\n%s", scope, text)
	}
	if code := look(); code != 1 {
		t.Errorf("while it is passed on: exit code %d", code)
	}
	judged("listener:plain@", "fail", "external")
	judged("outside:192.0.2.1", "fail", "external")
	shell(t, fmt.Sprintf("nft 'table inet t { chain input { type filter hook input priority 0; policy accept; iifname here tcp dport %d drop; }; }'", plain))
	if code := look(); code != 0 {
		t.Errorf("with a rule that drops it: exit code %d", code)
	}
	judged("listener:plain@", "pass", "external")
	judged("listener:outer@", "pass", "external")
	judged("outside:192.0.2.1", "pass", "external")
	if r := b.Redoubt("", "doctor", "--from", "outside", "--target", "192.0.2.1"); r.Code != 2 || !strings.Contains(r.Stderr, "an address of this host") {
		t.Errorf("from the host itself: exit code %d\n%s", r.Code, r.Text())
	}
}

// passOn passes connections on, as a published port does.
func passOn(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer d.Close()
				go func() { _, _ = io.Copy(d, c); _ = d.Close() }()
				_, _ = io.Copy(c, d)
			}()
		}
	}()
}

// A file that everybody can change makes no row pass.
func TestDoctorOutsideOfEverybody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "outside.json")
	testkit.WriteFile(t, file, "{}")
	for mode, want := range map[os.FileMode]string{0o666: "everybody can change it", 0o664: "it is no report"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seenOutside(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

// What is asked for wrongly is told by its flag.
func TestDoctorFromOutsideUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"it is outside":      {"--from", "inside", "--target", "x"},
		"--target HOST":      {"--from", "outside"},
		"a host alone":       {"--from", "outside", "--target", "192.0.2.1:8883"},
		"as a table or as":   {"--from", "outside", "--target", "192.0.2.1", "-o", "sarif"},
		"1 to 65535":         {"--from", "outside", "--target", "192.0.2.1", "--ports", "70000"},
		"is for --from":      {"--ports", "22"},
		"an address of this": {"--from", "outside", "--target", "127.0.0.1"},
	} {
		out, err, code := command(t, "", append([]string{"doctor"}, args...)...)
		if err != nil {
			out += err.Error()
		}
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	file := filepath.Join(t.TempDir(), "x.json")
	testkit.WriteFile(t, file, "{}")
	if out, err, code := command(t, "", "doctor", "--outside", file, "--data-dir", dataDir(t)); code != 2 || !strings.Contains(fmt.Sprint(out, err), "no report of redoubt doctor --from outside") {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
}
