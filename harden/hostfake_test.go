package harden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// machine is a host in good order with a broker on it, of which a test takes
// something away: what the kernel shows in files, and what it answers to calls.
type machine struct {
	t        *testing.T
	files    map[string]string // below /proc; content
	links    map[string]string // the same; where they lead
	groups   map[string]string // below /sys/fs/cgroup
	report   BrokerReport
	conf     config.Config
	now      time.Time
	broker   bool
	quiet    bool
	baseline Baseline
	file     string            // of the configuration
	before   func(root string) // is called when all is written down

	// What calls answer.
	listening [2][]Listening // asked the first time, and again
	asked     int
	clockIs   ClockState
	unit      map[string]string
	space     Space
	silent    error // instead of every answer
}

const brokerPID = 4242

// on is a path of the process.
func on(name string) string { return fmt.Sprintf("%d/%s", brokerPID, name) }

func newMachine(t *testing.T) *machine {
	t.Helper()
	all6, local4 := strings.Repeat("0", 32), hexWord(t, "7F000001")
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(addr, none, state string, inode int) string {
		return fmt.Sprintf("   0: %s %s:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 x\n", addr, none, state, inode)
	}
	status := "Name:\tredoubt\nUid:\t990\t990\t990\t990\nGid:\t990\t990\t990\t990\nGroups:\t990 \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n" +
		"CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"
	release := "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n"
	m := &machine{
		t: t, broker: true, now: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC),
		files: map[string]string{
			"sys/fs/nr_open": "2097152\n", "sys/fs/file-max": "9223372036854775807\n", "sys/fs/file-nr": "5000\t0\t9223372036854775807\n",
			"sys/net/ipv4/tcp_syncookies": "1\n", "sys/net/ipv4/tcp_max_syn_backlog": "2048\n",
			"sys/net/core/somaxconn": "4096\n", "sys/net/core/netdev_max_backlog": "1000\n",
			"sys/net/netfilter/nf_conntrack_max": "2097152\n", "sys/net/netfilter/nf_conntrack_count": "90000\n",
			"sys/net/netfilter/nf_conntrack_buckets": "524288\n", "sys/net/netfilter/nf_conntrack_tcp_timeout_established": "7200\n",
			"modules": "nf_conntrack 180224 2 nf_nat,nft_ct, Live 0x0000000000000000\n",
			on("limits"): "Limit                     Soft Limit           Hard Limit           Units     \n" +
				"Max processes             96364                96364                processes \n" +
				"Max open files            1048576              1048576              files     \n",
			"meminfo":                             "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
			"sys/net/ipv4/conf/lo/route_localnet": "0\n",
			"sys/kernel/core_pattern":             "|/usr/share/apport/apport -p%p\n",
			on("coredump_filter"):                 "00000000\n",
			on("maps"):                            "00400000-00800000 r-xp 00000000 08:01 7 /usr/bin/redoubt\n00800000-00900000 rw-p 00000000 00:00 0 \n7ffd0000-7ffd2000 r-xp 00000000 00:00 0 [vdso]\n",
			on("root/var/lib/redoubt/x"):          "",
			on("cgroup"):                          "0::/system.slice/redoubt.service\n",
			on("uid_map"):                         "         0          0 4294967295\n",
			on("task/4242/status"):                status,
			on("task/4243/status"):                status,
			on("root/etc/os-release"):             release, on("root/usr/lib/os-release"): release,
			on("net/tcp"):  head + line(local4+":238C", "00000000", "0A", 102),
			on("net/tcp6"): head + line(all6+":22B3", all6, "0A", 101),
			on("net/udp"):  head, on("net/udp6"): head, on("net/if_inet6"): "00000000000000000000000000000001 01 80 10 80 lo\n",
			on("net/unix"):    "Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01 103 /run/redoubt/admin.sock\n",
			on("net/netstat"): "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPPureAcks\nTcpExt: 0 24 25 66\nIpExt: InNoRoutes\nIpExt: 0\n",
		},
		links: map[string]string{
			on("exe"):  "/usr/bin/redoubt",
			on("fd/5"): "socket:[101]", on("fd/6"): "socket:[102]", on("fd/7"): "socket:[103]",
			on("ns/net"): "net:[4026531840]", "self/ns/net": "net:[4026531840]", on("ns/pid"): "pid:[4026531836]",
		},
		groups: map[string]string{"system.slice/redoubt.service/pids.max": "4915\n", "system.slice/redoubt.service/pids.current": "14\n", "system.slice/pids.max": "max\n",
			"system.slice/redoubt.service/memory.max": "8000000000\n", "system.slice/memory.max": "max\n"},
		report: BrokerReport{Node: "n1", Version: "1", PID: brokerPID, UID: 990, ConnectionsMax: 800_000,
			Listeners:  []ListenerReport{{"mqtts", "[::]:8883", "mqtts"}},
			StoreBytes: 1 << 30, StoreBytesMax: 10 << 30,
			Settings: map[string]string{"node.data_dir": "/var/lib/redoubt", "listeners.mqtts.proxy_sources": "[]", "listeners.mqtts.tls.fetch_from": "[]", "audit.data_plane": "denials"}},
		space:   Space{Bytes: 100 << 30, BytesFree: 60 << 30, Inodes: 1_000_000, InodesFree: 900_000},
		clockIs: ClockState{Status: 0x2001, MaxErrorMicros: 20_000},
		unit:    map[string]string{"LoadState": "loaded", "MainPID": fmt.Sprint(brokerPID), "LimitNOFILE": "1048576"},
	}
	m.conf.Limits.ConnectionsTotal = 800_000
	m.conf.Limits.KeepAliveMax = 300
	m.conf.Metrics.Bind = []string{"127.0.0.1:9100"}
	m.conf.Admin.Socket = "/run/redoubt/admin.sock"
	sockets := []Listening{
		{Addr: netip.MustParseAddrPort("127.0.0.1:9100"), Inode: 102, Backlog: 4096, Counted: true},
		{Addr: netip.MustParseAddrPort("[::]:8883"), Inode: 101, Backlog: 4096, Waiting: 3, Counted: true},
	}
	m.listening = [2][]Listening{slices.Clone(sockets), slices.Clone(sockets)}
	return m
}

// Listening implements Host.
func (m *machine) Listening() ([]Listening, error) {
	m.asked++
	return m.listening[min(m.asked, 2)-1], m.silent
}

// Clock implements Host.
func (m *machine) Clock() (ClockState, error) { return m.clockIs, m.silent }

// Unit implements Host.
func (m *machine) Unit(context.Context, string, ...string) (map[string]string, error) {
	return m.unit, m.silent
}

// Space implements Host. It is asked of what the process sees.
func (m *machine) Space(path string) (Space, error) {
	if !strings.HasSuffix(path, fmt.Sprintf("proc/%d/root/var/lib/redoubt", brokerPID)) {
		return Space{}, fmt.Errorf("nobody has asked about %s", path)
	}
	return m.space, m.silent
}

// Ruleset implements Host.
func (m *machine) Ruleset(context.Context) ([]byte, error) {
	return nil, errors.New("operation not permitted")
}

// put changes a file: the words of old become new.
func (m *machine) put(name, old, new string) {
	m.t.Helper()
	if !strings.Contains(m.files[name], old) {
		m.t.Fatalf("%s does not hold %q", name, old)
	}
	m.files[name] = strings.Replace(m.files[name], old, new, 1)
}

// backlog changes what is told about the listener for clients, both times.
func (m *machine) backlog(change func(first, second *Listening)) {
	change(&m.listening[0][1], &m.listening[1][1])
}

// looksAt is where a row looks, so that the rest need not be written down each time.
var looksAt = map[string][]string{
	"P1.1":  {"sys/fs/", on("limits"), on("cgroup"), on("fd/"), "system.slice/", "pids/"},
	"P1.2":  {on("limits"), on("cgroup")},
	"P1.3a": {"sys/net/ipv4/", "sys/net/core/", on("net/"), on("fd/"), on("ns/"), "self/"},
	"P1.3b": {"sys/net/", "modules", on("ns/"), "self/"},
	"P1.4":  {on("ns/"), "self/", on("net/"), on("fd/"), "sys/net/ipv4/conf/"},
	"P1.7":  {on("task/"), on("uid_map")},
	"P1.8":  {on("task/"), on("net/"), on("fd/"), on("ns/"), "self/"},
	"P1.9":  {on("task/"), on("cgroup"), on("ns/")}, "P1.10": {on("task/"), on("cgroup"), on("ns/")},
	"P1.12": {on("root/")},
	"P1.13": {on("net/")},
	"P1.5":  absentLooksAt, "P1.6": absentLooksAt, "P2.1": absentLooksAt, "P2.3": absentLooksAt, "P5.17": absentLooksAt,
	"P5.1": absentLooksAt, "P5.2": absentLooksAt, "P5.3": absentLooksAt, "P5.4": absentLooksAt,
	"P5.6": {on("fd/2")}, "P5.8": {on("ns/"), "self/", on("net/"), on("fd/"), "sys/net/ipv4/conf/"},
	"P5.11": {"meminfo", on("cgroup"), on("ns/pid"), "system.slice/", "memory/"},
	"P5.12": {on("coredump_filter"), on("limits"), "sys/kernel/"},
	"P5.15": {on("maps"), on("exe")}, "P5.16": {on("exe")},
}

// absentLooksAt is where rows look whose subject is not there.
var absentLooksAt = []string{on("ns/"), "self/", on("net/"), on("fd/")}

// examine writes the machine down and judges a row on it.
func (m *machine) examine(id string) (*Report, *Row) {
	m.t.Helper()
	root := m.t.TempDir()
	needed := func(name string) bool {
		return strings.HasPrefix(name, "../") || slices.ContainsFunc(looksAt[id], func(p string) bool { return strings.HasPrefix(name, p) })
	}
	write := func(dir string, files map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if !needed(name) {
				continue
			}
			path := filepath.Join(root, dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(files[name]), 0o600)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	write("proc", m.files)
	write("sys/fs/cgroup", m.groups)
	for name, to := range m.links {
		if !needed(name) {
			continue
		}
		path := filepath.Join(root, "proc", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
			m.t.Fatal(err)
		}
	}
	e := &Env{Clock: clock.NewManual(m.now), Config: &m.conf, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"), Host: m, Step: 20 * time.Millisecond, Quiet: m.quiet, File: m.file, Baseline: m.baseline}
	if m.broker {
		e.Broker = account{BrokerReport: m.report}
	}
	if m.before != nil {
		m.before(root)
	}
	rep := examine(m.t, e, id)
	return rep, &rep.Rows[0]
}
