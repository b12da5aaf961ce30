package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// inNamespace runs a test once more in a network namespace of its own, as root of it, and
// tells whether this is that run. Settings of the kernel and nftables are of a namespace.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const mark = "FIX_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	argv := []string{testkit.Need(t, "unshare"), "--net"}
	if os.Geteuid() != 0 {
		argv = append(argv, "--map-root-user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], append(argv[1:], self, "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.timeout=4m")...)
	cmd.Env = append(os.Environ(), mark+"="+t.Name(), "WATCHED_REDOUBT="+testkit.Binary(t), "PLAIN_REDOUBT="+testkit.Command(t)) // built once
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("in a network namespace: %v\n%s", err, out)
	}
	return false
}

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("bash", "-ec", "PATH=$PATH:/usr/sbin:/sbin\n"+script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// files are all below a folder, journals aside.
func files(t *testing.T, dir string) string {
	t.Helper()
	return shell(t, "cd "+dir+"; find . -not -path '*/redoubt-fix*' -not -path ./var -not -path ./var/lib -printf '%p %M %U:%G ' -exec bash -c '[[ -f $0 ]] && sha256sum <$0 || echo' {} \\; | sort")
}

// An operator mends a host for real and takes it back: settings of the kernel, the packet
// filter, files of the host, permissions, limits of the process, and the configuration, on a
// broker that serves meanwhile.
func TestFixOnTheRealHost(t *testing.T) {
	testkit.Need(t, "nft")
	if !inNamespace(t) {
		return
	}
	withoutSecrets(t)
	root := t.TempDir()
	testkit.WriteFile(t, filepath.Join(root, "redoubt.service"), "")
	shell(t, "mkdir -p "+root+"/usr/lib/systemd/system && mv "+root+"/redoubt.service "+root+"/usr/lib/systemd/system/")
	// A neighbour at the other end of a wire, in a namespace of its own.
	neighbour := testkit.Go(t, "", "unshare", "--net", "sleep", "600")
	ns := fmt.Sprintf("nsenter --net=/proc/%d/ns/net", neighbour.Pid())
	shell(t, fmt.Sprintf(`ip link set lo up
		until [[ $(readlink /proc/%d/ns/net) != $(readlink /proc/self/ns/net) ]]; do sleep 0.05; done
		ip link add here type veth peer name there && ip link set there netns %d
		ip addr add 192.0.2.1/24 dev here && ip link set here up
		%s ip addr add 192.0.2.2/24 dev there && %s ip link set there up
		echo 128 > /proc/sys/net/core/somaxconn; echo 0 > /proc/sys/net/ipv4/tcp_syncookies`, neighbour.Pid(), neighbour.Pid(), ns, ns))
	outer, inner := testkit.FreePort(t), testkit.FreePort(t)
	b := testkit.Start(t, testkit.Options{
		Listeners: fmt.Sprintf("  outer:\n    protocol: mqtts\n    bind: [\"192.0.2.1:%d\"]\n  plain:\n    protocol: mqtt\n    bind: [\"192.0.2.1:%d\"]\n    proxy_protocol: required\n    proxy_sources: [\"198.51.100.7/32\"]\n", outer, inner),
		Config: fmt.Sprintf("waivers:\n  - {id: P1.4, scope: listeners.plain, reason: a test, owner: nobody, expires: %s}\n"+
			"limits: { topic_levels: 12, client_connect_rate: {connects: 0} } # deep\n", time.Now().AddDate(0, 0, 9).Format(time.DateOnly)),
	})
	key := filepath.Join(b.DataDir, "certs", "server.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	reached := func(port int) bool {
		return exec.Command("bash", "-c", fmt.Sprintf("%s timeout 3 bash -c 'exec 3<>/dev/tcp/192.0.2.1/%d'", ns, port)).Run() == nil
	}
	const live = "sysctl -n net.core.somaxconn net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog; nft list ruleset"
	limit := fmt.Sprintf("prlimit --pid %d --nofile --noheadings --output SOFT,HARD", b.Pid())
	state := func() string {
		conf, err := os.ReadFile(b.Config)
		if err != nil {
			t.Fatal(err)
		}
		return shell(t, live) + "\n" + files(t, root) + "\n" + string(conf) + shell(t, "stat -c '%a %u:%g' "+key) + shell(t, limit)
	}
	lowerFiles(t, b.Pid(), 512)
	before := state()
	if !reached(outer) || !reached(inner) {
		t.Fatal("the ports are not reached before there is a rule")
	}
	// Rows of the broker itself, and those of the host that are of a namespace.
	rows := []string{"fix", "P1.2", "P1.3a", "P1.4", "P2.2", "P4.3", "--firewall", "--clients", "192.0.2.0/24", "--root", root, "--within", "1m"}
	plan := b.Redoubt("", rows...)
	if plan.Code != 0 || !strings.Contains(plan.Stdout, "sysctl.d/60-redoubt.conf (new)") || !strings.Contains(plan.Stdout, "nothing is changed yet") || state() != before {
		t.Fatalf("the plan: exit code %d\n%s\n%s", plan.Code, plan.Text(), state())
	}
	done := b.Redoubt("", append(rows, "--apply")...)
	for _, line := range []string{"P1.2-open-files  fail -> pass", "P1.3a-syn-backlog  fail -> warn  (a part of it counts when the broker starts again)  listener:metrics", "P2.2-private-files  fail -> pass", "-limits: { topic_levels: 12,", "+limits: { topic_levels: 10,"} {
		if done.Code != 0 || !strings.Contains(done.Stdout, line) {
			t.Errorf("exit code %d, without %q\n%s\n%s", done.Code, line, done.Text(), b.Log())
		}
	}
	if got := shell(t, "sysctl -n net.core.somaxconn net.ipv4.tcp_syncookies | tr '\\n' ' '"); got != "4096 1" {
		t.Errorf("the kernel has %s", got)
	}
	if !reached(outer) {
		t.Error("the port of clients is not reached any more")
	}
	if reached(inner) {
		t.Error("a port that is for proxies is reached by others")
	}
	shell(t, ns+" ip addr add 198.51.100.9/24 dev there; ip route add 198.51.100.0/24 dev here; "+ns+" ip addr del 192.0.2.2/24 dev there; "+ns+" ip route add 192.0.2.0/24 dev there")
	if reached(outer) {
		t.Error("a client of another network gets to the port")
	}
	shell(t, ns+" ip addr add 192.0.2.2/24 dev there")
	if now := shell(t, limit); strings.HasPrefix(now, "512 ") {
		t.Errorf("open files: %s", now)
	}
	if again := b.Redoubt("", append(rows, "--apply")...); again.Code != 1 || !strings.Contains(again.Stdout, "\n0 steps, for 0 rows; 1 row for you to do by hand") || !strings.Contains(again.Stdout, "start the broker again: it opens the sockets of metrics") {
		t.Errorf("a second time: exit code %d\n%s", again.Code, again.Text())
	}
	// The script of a folder would have done the same to the host.
	dir := filepath.Join(t.TempDir(), "change")
	if w := b.Redoubt("", "fix", "P1.4", "--firewall", "--root", t.TempDir(), "--write-dir", dir); w.Code != 0 || shell(t, "sh -n "+dir+"/apply.sh && nft -c -f "+dir+"/etc/nftables.d/60-redoubt.nft && echo well") != "well" {
		t.Errorf("--write-dir: exit code %d\n%s", w.Code, w.Text())
	}
	run := regexp.MustCompile(`--rollback (\S+) --root`).FindStringSubmatch(done.Stdout)
	if run == nil {
		t.Fatalf("the run is not named:\n%s", done.Stdout)
	}
	back := b.Redoubt("", "fix", "--root", root, "--rollback", run[1])
	if now := state(); back.Code != 0 || now != before {
		t.Errorf("exit code %d\n%s\nbefore:\n%s\nnow:\n%s", back.Code, back.Text(), before, now)
	}
	if list := b.Redoubt("", "fix", "--root", root, "--runs"); !strings.Contains(list.Stdout, run[1]+"  rolled back") {
		t.Errorf("%s", list.Text())
	}
	if ready := b.Redoubt("", "status", "--ready"); ready.Code != 0 {
		t.Errorf("the broker: %s", ready.Text())
	}
}

// The broker's user mends what is his, at run time and on disk, and nothing of the host.
func TestFixOfTheBroker(t *testing.T) {
	withoutSecrets(t)
	root := t.TempDir()
	b := testkit.Start(t, testkit.Options{Config: "mqtt: {retain: true}\n"})
	if set := b.Redoubt("", "config", "set", "limits.topic_levels", "14"); set.Code != 0 {
		t.Fatal(set.Text())
	}
	out := b.Redoubt("", "fix", "P4.3", "--apply", "-o", "json", "--root", root)
	var got struct {
		Source, Run, Rollback string
		Steps                 []struct{ Kind, Name, From, To string }
		Outcomes              []struct{ ID, Before, After string }
	}
	if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil || out.Code != 0 || got.Source != "the running broker" || len(got.Steps) != 1 || got.Steps[0].Kind != "setting" ||
		len(got.Outcomes) != 1 || got.Outcomes[0].Before != "warn" || got.Outcomes[0].After != "pass" {
		t.Fatalf("exit code %d, %v: %s", out.Code, err, out.Text())
	}
	if v := b.Redoubt("", "config", "get", "limits.topic_levels"); !strings.HasPrefix(v.Stdout, "10 ") {
		t.Errorf("%s", v.Text())
	}
	if r := b.Redoubt("", "fix", "--rollback", "--root", root); r.Code != 0 {
		t.Errorf("%s", r.Text())
	}
	if v := b.Redoubt("", "config", "get", "limits.topic_levels"); !strings.HasPrefix(v.Stdout, "14 ") {
		t.Errorf("%s", v.Text())
	}
	doctor, _, _ := examine(t, b, "--only", "P4.3")
	if doctor.state("P4.3") != "warn" {
		t.Errorf("%+v", doctor)
	}
	text := b.Redoubt("", "doctor", "--only", "P4.3")
	if !strings.Contains(text.Stdout, "redoubt fix --all --plan") {
		t.Errorf("doctor gives no hint: %s", text.Text())
	}
	b.Stop()
	offline := b.Redoubt("", "fix", "P4.1", "P2.2", "--root", root)
	if offline.Code != 3 || !strings.Contains(offline.Stdout, "made from the configuration alone (no broker answers") || !strings.Contains(offline.Stdout, "P4.1: not seen, which is no pass, and nothing is changed of what is not seen") {
		t.Errorf("without a broker: exit code %d\n%s", offline.Code, offline.Text())
	}
}

// What makes no sense is said, with exit code 2, and nothing is done.
func TestFixUsage(t *testing.T) {
	dir := dataDir(t)
	for _, args := range [][]string{
		{}, {"P9.9"}, {"P1.3a", "--all"}, {"P1.3a", "--plan", "--apply"}, {"--all", "--rollback"}, {"P1.3a", "--force"}, {"P1.3a", "--last"},
		{"P1.3a", "--clients", "10.0.0.0/8"}, {"P1.4", "--firewall", "--clients", "10.0.0.1/8"}, {"P2.2", "--firewall"}, {"P1.3a", "--within", "2m"}, {"--rollback", "a", "b"}, {"P1.3a", "--runs"},
	} {
		if out, err, code := command(t, "", append(append([]string{"fix"}, args...), "--data-dir", dir)...); code != 2 || err == nil {
			t.Errorf("%v: exit code %d, %v, %s", args, code, err, out)
		}
	}
	if out, _, code := command(t, "", "fix", "P3.3", "--data-dir", dir); code != 3 || !strings.Contains(out, "P3.3: not seen, which is no pass") || !strings.Contains(out, "start it with redoubt serve") {
		t.Errorf("without a broker: exit code %d, %s", code, out)
	}
	root := t.TempDir()
	if out, err, code := command(t, "", "fix", "--rollback", "--root", root, "--data-dir", dir); code != 1 || err == nil || !strings.Contains(err.Error(), "no run to roll back") {
		t.Errorf("exit code %d, %v, %s", code, err, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".json") }) {
		t.Errorf("%v, %v", entries, err)
	}
}
