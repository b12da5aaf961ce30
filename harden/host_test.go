package harden

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// hostRows are those that the machine below is judged by. P1.4 dials, and has
// tests of its own.
var hostRows = []string{"P1.1", "P1.2", "P1.3a", "P1.3b", "P1.7", "P1.8", "P1.9", "P1.10", "P1.11", "P1.12"}

// What is in good order passes, and not one observation complains.
func TestAGoodHostPasses(t *testing.T) {
	t.Parallel()
	for _, id := range hostRows {
		_, row := newMachine(t).examine(id)
		if row.State() != Pass {
			t.Errorf("%s is %s", id, row.State())
		}
		fixture(id, "good", Pass)
		for _, r := range row.Results {
			for _, o := range r.Observations {
				if o.State != Pass {
					t.Errorf("%s %s: %+v", id, r.Scope, o)
				}
			}
		}
	}
}

// hostMutants is one line for each way a host can be wrong, or look right.
var hostMutants = []struct {
	row, name string
	spoil     func(m *machine)
	state     State
	want      string // in what was observed or in the summary
}{
	{"P1.1", "one process may open too few", func(m *machine) { m.put("sys/fs/nr_open", "2097152", "524288") }, Fail, "fs.nr_open: 524288"},
	{"P1.1", "all together may open too few", func(m *machine) { m.put("sys/fs/file-max", "9223372036854775807", "900000") }, Fail, "fs.file-max: 900000"},
	{"P1.1", "others have taken the room", func(m *machine) {
		m.files["sys/fs/file-max"], m.files["sys/fs/file-nr"] = "2097152\n", "1500000\t0\t2097152\n"
	}, Fail, "of which others have 1499997"},
	{"P1.1", "good in a file, not in force", func(m *machine) {
		m.files["../etc/sysctl.d/60-redoubt.conf"] = "fs.nr_open = 2097152\n"
		m.put("sys/fs/nr_open", "2097152", "65536")
	}, Fail, "fs.nr_open: 65536"},
	{"P1.1", "a container sees the figures of the machine and has its own limit", func(m *machine) {
		m.put(on("limits"), "1048576              1048576 ", "4096                 4096    ")
	}, Fail, "4096, and 4096 at most: row P1.2"},
	{"P1.1", "a container has few threads left", func(m *machine) {
		m.groups["system.slice/redoubt.service/pids.max"] = "50\n"
	}, Fail, "36 more"},
	{"P1.1", "a group above has few threads left", func(m *machine) {
		m.groups["system.slice/pids.max"], m.groups["system.slice/pids.current"] = "512\n", "500\n"
	}, Fail, "12 more"},
	{"P1.1", "version 1 counts elsewhere", func(m *machine) {
		m.files[on("cgroup")] = "8:pids:/docker/1\n1:name=systemd:/docker/1\n0::/\n"
		m.groups["pids/docker/1/pids.max"], m.groups["pids/docker/1/pids.current"] = "64\n", "30\n"
	}, Fail, "34 more"},
	{"P1.1", "the path of the group is the host's", func(m *machine) {
		m.files[on("cgroup")] = "8:pids:/docker/1\n"
		m.groups["pids/pids.max"], m.groups["pids/pids.current"] = "64\n", "30\n"
	}, Fail, "34 more"},
	{"P1.1", "the group is not there", func(m *machine) {
		m.files[on("cgroup")] = "0::/kubepods/pod1\n"
	}, Unknown, "the control group of the process is not there"},
	{"P1.1", "nobody planned the number", func(m *machine) {
		m.conf.Limits.ConnectionsTotal = config.Auto
		m.put("sys/fs/nr_open", "2097152", "524288")
	}, Warn, "a ceiling, not a plan"},
	{"P1.1", "the file plans a million", func(m *machine) { m.conf.Limits.ConnectionsTotal = 2_000_000 }, Fail, "2400256 for 2000000 connections"},

	{"P1.2", "fewer than the connections take", func(m *machine) { m.put(on("limits"), "1048576 ", "900000  ") }, Fail, "900000, and 1048576 at most"},
	{"P1.2", "lowered since the start", func(m *machine) {
		m.put(on("limits"), "1048576              1048576 ", "1024                 1048576 ")
	}, Fail, "1024, and"},
	{"P1.2", "only the hard limit is enough", func(m *machine) { m.put(on("limits"), "1048576 ", "65536   ") }, Fail, "65536, and 1048576 at most"},
	{"P1.2", "the unit says so, and did not start it", func(m *machine) {
		m.unit["MainPID"] = "1"
		m.put(on("limits"), "1048576 ", "20000   ")
	}, Fail, "did not start process 4242"},
	{"P1.2", "the unit says so, the process has another", func(m *machine) { m.put(on("limits"), "1048576 ", "20000   ") }, Fail, "20000, and"},
	{"P1.2", "raised after the start, the unit has not", func(m *machine) { m.unit["LimitNOFILE"] = "65536" }, Warn, "redoubt.service: 65536"},
	{"P1.2", "one short, the reserve included", func(m *machine) { m.put(on("limits"), "1048576 ", "960255  ") }, Fail, "960255, and"},
	{"P1.2", "what runs allows more than the file", func(m *machine) { m.report.ConnectionsMax, m.conf.Limits.ConnectionsTotal = 900_000, 10 }, Fail, "1080256 for 900000 connections"},
	{"P1.2", "the file asks for more than what runs", func(m *machine) { m.conf.Limits.ConnectionsTotal = 900_000 }, Fail, "1080256 for 900000 connections"},
	{"P1.2", "the broker does not say", func(m *machine) { m.report.ConnectionsMax = 0 }, Unknown, "does not say how many connections"},

	{"P1.3a", "no cookies", func(m *machine) { m.put("sys/net/ipv4/tcp_syncookies", "1", "0") }, Fail, "net.ipv4.tcp_syncookies: 0"},
	{"P1.3a", "a short queue and no cookies", func(m *machine) { m.put("sys/net/ipv4/tcp_syncookies", "1", "0") }, Fail, "net.ipv4.tcp_max_syn_backlog: 2048"},
	{"P1.3a", "somebody lowered the queue", func(m *machine) { m.put("sys/net/ipv4/tcp_max_syn_backlog", "2048", "16") }, Warn, "net.ipv4.tcp_max_syn_backlog: 16"},
	{"P1.3a", "raised since, the socket has the old backlog", func(m *machine) { m.backlog(func(_, l *Listening) { l.Backlog = 128 }) }, Fail, "(Send-Q of ss -ltn): 128"},
	{"P1.3a", "one below", func(m *machine) { m.backlog(func(_, l *Listening) { l.Backlog = 4095 }) }, Fail, "4095"},
	{"P1.3a", "lowered since, the next start is cut", func(m *machine) { m.put("sys/net/core/somaxconn", "4096", "128") }, Warn, "net.core.somaxconn: 128"},
	{"P1.3a", "another network namespace", func(m *machine) { m.links["self/ns/net"] = "net:[1]" }, Unknown, "nsenter"},
	{"P1.3a", "the socket of IPv6 is not told", func(m *machine) { m.listening[1] = m.listening[1][:1] }, Unknown, "the kernel does not list the socket"},
	{"P1.3a", "a listener that the kernel does not list", func(m *machine) {
		m.report.Listeners = append(m.report.Listeners, ListenerReport{"late", "127.0.0.1:8885", "mqtts"})
	}, Unknown, "the kernel does not list it"},
	{"P1.3a", "the table of IPv6 is hidden", func(m *machine) { delete(m.files, on("net/tcp6")) }, Unknown, "tcp6"},
	{"P1.3a", "another socket of the same address", func(m *machine) { m.backlog(func(_, l *Listening) { l.Inode = 999 }) }, Unknown, "the kernel does not list the socket"},
	{"P1.3a", "connections are lost now", func(m *machine) { m.backlog(func(a, b *Listening) { a.Dropped, b.Dropped = 5, 9 }) }, Fail, "9, 4 of them just now"},
	{"P1.3a", "connections were lost", func(m *machine) { m.backlog(func(a, b *Listening) { a.Dropped, b.Dropped = 5, 5 }) }, Warn, "5 since it listens"},
	{"P1.3a", "losses are not counted", func(m *machine) { m.backlog(func(_, l *Listening) { l.Counted = false }) }, Unknown, "does not count them"},
	{"P1.3a", "they are not accepted", func(m *machine) { m.backlog(func(_, l *Listening) { l.Waiting = 2049 }) }, Warn, "wait to be accepted: 2049"},

	{"P1.3b", "too small", func(m *machine) { m.put("sys/net/netfilter/nf_conntrack_max", "2097152", "262144") }, Fail, "nf_conntrack_max: 262144"},
	{"P1.3b", "one short", func(m *machine) { m.put("sys/net/netfilter/nf_conntrack_max", "2097152", "1599999") }, Fail, "nf_conntrack_max: 1599999"},
	{"P1.3b", "nearly full", func(m *machine) { m.put("sys/net/netfilter/nf_conntrack_count", "90000", "1468007") }, Fail, "70 %"},
	{"P1.3b", "kept for five days", func(m *machine) {
		m.put("sys/net/netfilter/nf_conntrack_tcp_timeout_established", "7200", "432000")
	}, Fail, "432000 s"},
	{"P1.3b", "kept for five days, and nobody planned", func(m *machine) {
		m.conf.Limits.ConnectionsTotal = config.Auto
		m.put("sys/net/netfilter/nf_conntrack_tcp_timeout_established", "7200", "432000")
	}, Warn, "432000 s"},
	{"P1.3b", "cut while clients are silent", func(m *machine) {
		m.put("sys/net/netfilter/nf_conntrack_tcp_timeout_established", "7200", "300")
	}, Warn, "300 s"},
	{"P1.3b", "few buckets", func(m *machine) { m.put("sys/net/netfilter/nf_conntrack_buckets", "524288", "16384") }, Warn, "buckets: 16384"},
	{"P1.3b", "a container sees its own table", func(m *machine) { delete(m.files, "sys/net/core/netdev_max_backlog") }, Unknown, "ask the node"},
	{"P1.3b", "a container sees none", func(m *machine) {
		delete(m.files, "sys/net/core/netdev_max_backlog")
		m.untrack()
		m.files["modules"] = ""
	}, Unknown, "ask the node"},
	{"P1.3b", "a container sees one that is too small", func(m *machine) {
		delete(m.files, "sys/net/core/netdev_max_backlog")
		m.put("sys/net/netfilter/nf_conntrack_max", "2097152", "262144")
	}, Fail, "nf_conntrack_max: 262144"},
	{"P1.3b", "loaded, and not shown", func(m *machine) { m.untrack() }, Unknown, "loaded, and its settings are not shown"},
	{"P1.3b", "settings are masked", func(m *machine) {
		for name := range m.files {
			if strings.HasPrefix(name, "sys/") {
				delete(m.files, name)
			}
		}
	}, Unknown, "cannot be read"},
	{"P1.3b", "another network namespace", func(m *machine) { m.links["self/ns/net"] = "net:[1]" }, Unknown, "nsenter"},
	{"P1.3b", "not loaded", func(m *machine) { m.untrack(); m.files["modules"] = "nf_conntrack_netlink_x 1 0\n" }, NotApplicable, "not loaded"},
	{"P1.3b", "a kernel without it", func(m *machine) { m.untrack(); delete(m.files, "modules") }, NotApplicable, "not loaded"},

	{"P1.7", "root", func(m *machine) { m.each("Uid:\t990\t990\t990\t990", "Uid:\t0\t0\t0\t0") }, Fail, "costs the whole machine"},
	{"P1.7", "can be root again", func(m *machine) { m.each("Uid:\t990\t990\t990\t990", "Uid:\t990\t990\t0\t990") }, Fail, "costs the whole machine"},
	{"P1.7", "one thread is root", func(m *machine) { m.put(on("task/4243/status"), "Uid:\t990\t990", "Uid:\t990\t0") }, Fail, "1 of 2 threads"},
	{"P1.7", "root of a namespace that is root's", func(m *machine) {
		m.each("Uid:\t990\t990\t990\t990", "Uid:\t0\t0\t0\t0")
		m.files[on("uid_map")] = "0 0 65536\n"
	}, Fail, "costs the whole machine"},
	{"P1.7", "root, and nobody says of what", func(m *machine) {
		m.each("Uid:\t990\t990\t990\t990", "Uid:\t0\t0\t0\t0")
		delete(m.files, on("uid_map"))
	}, Unknown, "is not told"},
	{"P1.7", "group of root", func(m *machine) { m.each("Gid:\t990\t990\t990\t990", "Gid:\t0\t0\t0\t0") }, Warn, "group 0"},
	{"P1.7", "root's group beside its own", func(m *machine) { m.each("Groups:\t990 ", "Groups:\t0 990 ") }, Warn, "group 0"},
	{"P1.7", "root of a user namespace", func(m *machine) {
		m.each("Uid:\t990\t990\t990\t990", "Uid:\t0\t0\t0\t0")
		m.files[on("uid_map")] = "0 100000 65536\n"
	}, Pass, "user 100000 outside"},

	{"P1.8", "everything", func(m *machine) { m.each("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff") }, Fail, "41 capabilities"},
	{"P1.8", "one", func(m *machine) { m.each("CapEff:\t0000000000000000", "CapEff:\t0000000000000002") }, Fail, "dac_override"},
	{"P1.8", "permitted, and not effective now", func(m *machine) { m.each("CapPrm:\t0000000000000000", "CapPrm:\t0000000000200000") }, Fail, "sys_admin"},
	{"P1.8", "one thread has them", func(m *machine) {
		m.put(on("task/4243/status"), "CapEff:\t0000000000000000", "CapEff:\t0000000000000400")
	}, Fail, "net_bind_service (1 of 2 threads)"},
	{"P1.8", "a port is configured that is not bound", func(m *machine) {
		m.each("CapEff:\t0000000000000000", "CapEff:\t0000000000000400")
		m.conf.Listeners = map[string]config.Listener{"low": {Protocol: "mqtts", Bind: []string{":443"}}}
	}, Fail, "net_bind_service"},
	{"P1.8", "more than the port takes", func(m *machine) {
		m.each("CapEff:\t0000000000000000", "CapEff:\t0000000000000401")
		m.put(on("net/tcp6"), ":22B3", ":01BB")
	}, Fail, "chown, net_bind_service"},
	{"P1.8", "nobody knows about the port", func(m *machine) {
		m.each("CapEff:\t0000000000000000", "CapEff:\t0000000000000400")
		delete(m.files, on("net/tcp"))
	}, Unknown, "is not known"},
	{"P1.8", "for a port below 1024", func(m *machine) {
		m.each("CapEff:\t0000000000000000", "CapEff:\t0000000000000400")
		m.put(on("net/tcp6"), ":22B3", ":01BB")
	}, Pass, "for a port below 1024"},

	{"P1.9", "off in a unit", func(m *machine) { m.each("NoNewPrivs:\t1", "NoNewPrivs:\t0") }, Fail, "although a unit or a container"},
	{"P1.9", "off in a container", func(m *machine) {
		m.each("NoNewPrivs:\t1", "NoNewPrivs:\t0")
		m.files[on("cgroup")], m.links[on("ns/pid")] = "0::/\n", "pid:[4026532999]"
	}, Fail, "although a unit or a container"},
	{"P1.9", "off for one thread", func(m *machine) { m.put(on("task/4243/status"), "NoNewPrivs:\t1", "NoNewPrivs:\t0") }, Fail, "1 of 2 threads"},
	{"P1.9", "off for the first thread alone", func(m *machine) { m.put(on("task/4242/status"), "NoNewPrivs:\t1", "NoNewPrivs:\t0") }, Fail, "1 of 2 threads"},
	{"P1.9", "off by hand", func(m *machine) {
		m.each("NoNewPrivs:\t1", "NoNewPrivs:\t0")
		m.files[on("cgroup")] = "0::/user.slice/user-1000.slice/session-3.scope\n"
	}, Warn, "started by hand"},
	{"P1.9", "off, and nobody says who started it", func(m *machine) {
		m.each("NoNewPrivs:\t1", "NoNewPrivs:\t0")
		delete(m.files, on("cgroup"))
	}, Fail, "although"},
	{"P1.9", "an old kernel", func(m *machine) { m.each("NoNewPrivs:\t1\n", "") }, Unknown, "not told"},

	{"P1.10", "no filter in a unit", func(m *machine) { m.each("Seccomp:\t2", "Seccomp:\t0") }, Fail, "although a unit"},
	{"P1.10", "no filter in a container", func(m *machine) {
		m.each("Seccomp:\t2", "Seccomp:\t0")
		m.files[on("cgroup")], m.links[on("ns/pid")] = "0::/\n", "pid:[4026532999]"
	}, Fail, "although a unit or a container"},
	{"P1.10", "no filter for one thread", func(m *machine) { m.put(on("task/4243/status"), "Seccomp:\t2", "Seccomp:\t0") }, Fail, "1 of 2 threads"},
	{"P1.10", "filters are counted, and the mode says none", func(m *machine) {
		m.each("Seccomp:\t2", "Seccomp:\t0")
	}, Fail, "every system call is allowed"},
	{"P1.10", "no filter by hand", func(m *machine) {
		m.each("Seccomp:\t2", "Seccomp:\t0")
		m.files[on("cgroup")] = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n"
	}, Warn, "started by hand"},
	{"P1.10", "a kernel without it", func(m *machine) { m.each("Seccomp:\t2\n", "") }, Unknown, "not told"},
	{"P1.10", "a mode nobody knows", func(m *machine) { m.each("Seccomp:\t2", "Seccomp:\t7") }, Unknown, "not told"},

	{"P1.11", "nobody keeps it", func(m *machine) { m.clockIs.Status |= clockUnsynchronised }, Fail, "nobody keeps it"},
	{"P1.11", "the call says so alone", func(m *machine) { m.clockIs.State = clockError }, Fail, "nobody keeps it"},
	{"P1.11", "the bit of another service is good", func(m *machine) {
		m.files["../run/systemd/timesync/synchronized"] = ""
		m.clockIs.Status = clockUnsynchronised
	}, Fail, "nobody keeps it"},
	{"P1.11", "kept once, long ago", func(m *machine) { m.clockIs.MaxErrorMicros = 16_000_000 }, Fail, "for long"},
	{"P1.11", "two seconds off", func(m *machine) { m.clockIs.MaxErrorMicros = 2_000_000 }, Warn, "2s off"},
	{"P1.11", "may not be asked", func(m *machine) { m.silent = syscall.EPERM }, Unknown, "not permitted"},

	{"P1.12", "past its end", func(m *machine) { m.system("debian", "11") }, Fail, "debian 11 got its last security update by 2026-08-31"},
	{"P1.12", "past its end, with a patch level", func(m *machine) { m.system("alpine", "3.20.3") }, Fail, "2026-04-01"},
	{"P1.12", "on the day after the last", func(m *machine) { m.now = time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC); m.system("ubuntu", "22.04") }, Fail, "2027-04-30"},
	{"P1.12", "ends soon", func(m *machine) { m.now = time.Date(2027, 4, 30, 12, 0, 0, 0, time.UTC); m.system("ubuntu", "22.04") }, Warn, "2027-04-30"},
	{"P1.12", "the table is old", func(m *machine) { m.now = time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC) }, Unknown, "the table of systems is of 2026-11-28"},
	{"P1.12", "the table is old, and so is the system", func(m *machine) { m.now = time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC); m.system("debian", "11") }, Unknown, "a newer redoubt knows"},
	{"P1.12", "nobody knows it", func(m *machine) { m.system("hannahmontana", "4") }, Unknown, "not in the table"},
	{"P1.12", "a version of its own", func(m *machine) { m.system("debian", "99") }, Unknown, "not in the table"},
	{"P1.12", "it says another in a second place", func(m *machine) { m.put(on("root/etc/os-release"), `"13"`, `"12"`) }, Unknown, "/usr/lib/os-release debian 13"},
	{"P1.12", "a link that leads out of its root", func(m *machine) {
		delete(m.files, on("root/etc/os-release"))
		delete(m.files, on("root/usr/lib/os-release"))
		m.links[on("root/etc/os-release")], m.links[on("root/usr/lib/os-release")] = "/etc/os-release", "/usr/lib/os-release"
	}, Unknown, "cannot be read"},
	{"P1.12", "rolling", func(m *machine) {
		m.put(on("root/etc/os-release"), "VERSION_ID", "BUILD_ID")
		m.put(on("root/usr/lib/os-release"), "VERSION_ID", "BUILD_ID")
	}, Unknown, "no ID and VERSION_ID"},
	{"P1.12", "a point release", func(m *machine) { m.system("rhel", "9.6") }, Pass, "rhel 9.6, until 2032-05-31"},
}

// each changes every thread.
func (m *machine) each(old, new string) {
	m.t.Helper()
	m.put(on("task/4242/status"), old, new)
	m.put(on("task/4243/status"), old, new)
}

// untrack takes the settings of the table of connections away.
func (m *machine) untrack() {
	for name := range m.files {
		if strings.HasPrefix(name, "sys/net/netfilter/") {
			delete(m.files, name)
		}
	}
}

func (m *machine) system(id, version string) {
	m.files[on("root/etc/os-release")] = "ID=" + id + "\nVERSION_ID='" + version + "'\n"
	m.files[on("root/usr/lib/os-release")] = m.files[on("root/etc/os-release")]
}

func TestEveryHostMutantIsFound(t *testing.T) {
	for _, c := range hostMutants {
		t.Run(c.row+"/"+c.name, func(t *testing.T) {
			fixture(c.row, c.name, c.state)
			m := newMachine(t)
			c.spoil(m)
			rep, row := m.examine(c.row)
			var out bytes.Buffer
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if got := row.State(); got != c.state || !strings.Contains(out.String(), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", got, c.state, c.want, out.String())
			}
			for _, r := range row.Results {
				if (r.State == Fail || r.State == Warn) && r.Fix == "" {
					t.Errorf("%s: no fix for %s", r.Scope, r.Summary)
				}
			}
		})
	}
}

// Each piece of evidence that is taken away, or that nobody understands, makes a row
// unknown and never pass.
func TestWithoutEvidenceAHostIsUnknown(t *testing.T) {
	process := []string{on("task/4242/status")}
	for id, evidence := range map[string][]string{
		"P1.1":  {"sys/fs/nr_open", "sys/fs/file-max", "sys/fs/file-nr", on("limits"), on("cgroup")},
		"P1.2":  {on("limits")},
		"P1.3a": {"sys/net/ipv4/tcp_syncookies", "sys/net/ipv4/tcp_max_syn_backlog", "sys/net/core/somaxconn", on("net/netstat"), on("net/tcp"), on("net/unix")},
		"P1.3b": {"sys/net/netfilter/nf_conntrack_max", "sys/net/netfilter/nf_conntrack_count", "sys/net/netfilter/nf_conntrack_buckets", "sys/net/netfilter/nf_conntrack_tcp_timeout_established"},
		"P1.7":  process, "P1.8": process, "P1.9": process, "P1.10": process,
		"P1.12": {on("root/etc/os-release")},
	} {
		for _, name := range evidence {
			m := newMachine(t)
			m.files[name] = "nonsense nobody understands\n"
			_, row := m.examine(id)
			if row.State() != Unknown && name != on("net/unix") { // which has lines, or none
				t.Errorf("%s is %s when %s is nonsense", id, row.State(), name)
			}
			m = newMachine(t)
			if delete(m.files, name); name == on("task/4242/status") {
				delete(m.files, on("task/4243/status"))
			}
			if name == on("root/etc/os-release") {
				delete(m.files, on("root/usr/lib/os-release"))
			}
			if _, row = m.examine(id); row.State() != Unknown {
				t.Errorf("%s is %s without %s: %+v", id, row.State(), name, row.Results)
			}
			removed(id, name)
		}
	}
	for what, spoil := range map[string]func(m *machine){
		"the broker":  func(m *machine) { m.broker = false },
		"its process": func(m *machine) { m.report.PID = 0 },
	} {
		for _, id := range append([]string{"P1.4"}, hostRows...) {
			m := newMachine(t)
			spoil(m)
			if _, row := m.examine(id); row.State() != Unknown || row.Results[0].Summary == "" {
				t.Errorf("%s is %s without %s", id, row.State(), what)
			}
			removed(id, what)
		}
	}
	for what, c := range map[string]struct {
		rows  []string
		spoil func(m *machine)
	}{
		"answers":          {[]string{"P1.3a", "P1.11"}, func(m *machine) { m.silent = errors.New("no") }},
		"its network":      {[]string{"P1.3a", "P1.3b", "P1.4"}, func(m *machine) { delete(m.links, on("ns/net")) }},
		"our network":      {[]string{"P1.3a", "P1.3b", "P1.4"}, func(m *machine) { delete(m.links, "self/ns/net") }},
		"its descriptors":  {[]string{"P1.3a", "P1.4"}, func(m *machine) { m.links = map[string]string{on("ns/net"): "net:[1]", "self/ns/net": "net:[1]"} }},
		"the table's host": {[]string{"P1.3b"}, func(m *machine) { delete(m.files, "sys/net/core/netdev_max_backlog") }},
		"its groups":       {[]string{"P1.1"}, func(m *machine) { m.groups = nil }},
		"what a group has": {[]string{"P1.1"}, func(m *machine) { delete(m.groups, "system.slice/redoubt.service/pids.current") }},
	} {
		for _, id := range c.rows {
			m := newMachine(t)
			c.spoil(m)
			if _, row := m.examine(id); row.State() != Unknown {
				t.Errorf("%s is %s without %s: %+v", id, row.State(), what, row.Results)
			}
			removed(id, what)
		}
	}
}

// Its own descriptors are needed only where the broker could be who has them.
func TestTheBrokersOwnFilesAreNotOthers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.report.ConnectionsMax, m.conf.Limits.ConnectionsTotal = 10, 10
	m.files["sys/fs/file-max"], m.files["sys/fs/file-nr"] = "1000\n", "734\t0\t1000\n"
	if _, row := m.examine("P1.1"); row.State() != Pass { // 12 + 256 and the three it has
		t.Errorf("%s: %+v", row.State(), row.Results[0].Summary)
	}
	for name := range m.links {
		if strings.HasPrefix(name, on("fd/")) {
			delete(m.links, name)
		}
	}
	m.files["sys/fs/file-nr"] = "735\t0\t1000\n"
	if _, row := m.examine("P1.1"); row.State() != Unknown {
		t.Errorf("%s: %+v", row.State(), row.Results[0].Summary)
	}
}

// The table of systems is well formed, and the command that helps is one command.
func TestTheTableOfSystems(t *testing.T) {
	if _, err := time.Parse(time.DateOnly, systemsOf); err != nil {
		t.Error(err)
	}
	for name, end := range systemEnds {
		if _, err := time.Parse(time.DateOnly, end); err != nil || len(strings.Fields(name)) != 2 {
			t.Errorf("%q: %v", name, err)
		}
	}
	m := newMachine(t)
	m.put("sys/net/ipv4/tcp_syncookies", "1", "0")
	_, row := m.examine("P1.3a")
	const want = `printf 'net.ipv4.tcp_max_syn_backlog = 4096\nnet.ipv4.tcp_syncookies = 1\n' >> /etc/sysctl.d/60-redoubt.conf && sysctl --system`
	if got := row.Results[0].Fix; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for n, want := range map[int64]int64{1: 1 << 20, 1 << 20: 1 << 20, 1<<20 + 1: 1 << 21, filesFor(1_000_000): million} {
		if got := rounded(n); got != want {
			t.Errorf("%d is rounded to %d, want %d", n, got, want)
		}
	}
}

// A row with parts is chosen whole or by part.
func TestPartsOfARow(t *testing.T) {
	for words, want := range map[string]int{"P1.3": 2, "P1.3a": 1, "p1.3B": 1, "conntrack": 1, "P1.3,P1.3a": 2} {
		got, err := Select(Checks, strings.Split(words, ","))
		if err != nil || len(got) != want || got[0].row() != 3 {
			t.Errorf("%s: %d, %v", words, len(got), err)
		}
	}
	if _, err := Select(Checks, []string{"P"}); err == nil {
		t.Error("P is no row")
	}
}
