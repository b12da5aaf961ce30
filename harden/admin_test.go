package harden

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
)

// A machine whose administration socket is there, as that of this user.
func newAdministered(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.quiet, m.report.UID = true, os.Geteuid()
	m.links[on("fd/2")] = "socket:[9]"
	dir, err := os.MkdirTemp("", "rdt") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m.conf.Admin.Socket = filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", m.conf.Admin.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(m.conf.Admin.Socket, 0o600); err != nil {
		t.Fatal(err)
	}
	m.put(on("net/unix"), "/run/redoubt/admin.sock", m.conf.Admin.Socket)
	return m
}

// absentRows are those whose subject is not there, and judgedRows the others that are judged
// on what the kernel and the process say.
var (
	absentRows = []string{"P1.5", "P1.6", "P2.1", "P2.3", "P5.1", "P5.2", "P5.3", "P5.4", "P5.5", "P5.6", "P5.17"}
	judgedRows = []string{"P4.5", "P5.8", "P5.9", "P5.10", "P5.11", "P5.12", "P5.13", "P5.14", "P5.15"}
)

// file writes a configuration file that the row about secrets reads.
func (m *machine) written(name, text string) {
	m.t.Helper()
	if m.file == "" {
		m.file = filepath.Join(m.t.TempDir(), "redoubt.yaml")
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(m.file), name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// adminGood is a good machine for a row: it has what the row is about.
func adminGood(t *testing.T, id string) *machine {
	m := newAdministered(t)
	switch id {
	case "P4.5":
		m.backend("db", config.Backend{Type: "postgresql", Servers: []string{"db.example.com:5432"}, TLS: config.BackendTLS{Mode: "required"}})
	case "P5.9":
		m.report.Settings["listeners.mqtts.proxy_sources"] = `["192.0.2.7", "10.1.2.0/24", "2001:db8::/64"]`
	case "P5.13":
		m.written("redoubt.yaml", "backends:\n  db: {type: redis, password: \"file:/etc/redoubt/db\"}\n  web: {headers: [{name: Accept, value: text/plain}]}\n"+
			"authn: {jwt: {t: {secret: credential:jwt}}} # the secret: see the vault\n# token: file:/run/x\nlimits: {inflight: 9}\n")
	case "P5.14":
		m.report.Settings["listeners.mqtts.tls.fetch_from"] = `["10.1.2.3/32"]`
	}
	return m
}

// backend is one that the process has and its configuration too.
func (m *machine) backend(name string, b config.Backend) {
	key := "backends." + name
	m.report.Settings[key+".type"] = b.Type
	m.report.Settings[key+".servers"] = `["` + strings.Join(b.Servers, `", "`) + `"]`
	m.report.Settings[key+".tls.mode"] = b.TLS.Mode
	m.conf.Backends = map[string]config.Backend{name: b}
}

func TestAGoodNodeIsWellAdministered(t *testing.T) {
	for _, id := range append(append([]string{}, judgedRows...), absentRows...) {
		_, row := adminGood(t, id).examine(id)
		want := Pass
		for _, a := range absentRows {
			if a == id {
				want = NotApplicable
			}
		}
		if row.State() != want {
			t.Errorf("%s is %s: %+v", id, row.State(), row.Results)
		}
		fixture(id, "good", want)
		if want == NotApplicable && (len(row.Results) != 1 || len(row.Results[0].Observations) == 0 || len(row.Results[0].Summary) < 20) {
			t.Errorf("%s does not say why: %+v", id, row.Results)
		}
	}
	_, row := newAdministered(t).examine("P5.1")
	if s := row.Results[0].Summary; !strings.Contains(s, "there is no dashboard or REST listener; administration is by a unix socket that only ") {
		t.Error(s)
	}
	for id, want := range map[string]State{"P4.5": NotApplicable, "P5.9": NotApplicable, "P5.14": NotApplicable, "P1.13": Manual, "P5.16": Manual} {
		if _, row := newAdministered(t).examine(id); row.State() != want {
			t.Errorf("%s is %s: %+v", id, row.State(), row.Results)
		}
		fixture(id, "its subject is not there", want)
	}
}

// namelessPort makes of one socket another that nobody names.
func namelessPort(m *machine) { m.put(on("net/tcp"), ":238C", ":46A3") }

// adminMutants is one line for each way in which it can be wrong, or look right.
var adminMutants = []struct {
	row, name string
	spoil     func(m *machine)
	state     State
	want      string
}{
	{"P5.2", "others may open the socket", func(m *machine) { m.mode(m.conf.Admin.Socket, 0o666) }, Fail, "has mode 0666"},
	{"P5.2", "the group may open the socket", func(m *machine) { m.mode(m.conf.Admin.Socket, 0o660) }, Fail, "has mode 0660"},
	{"P5.2", "the folder is everybody's", func(m *machine) { m.mode(filepath.Dir(m.conf.Admin.Socket), 0o777) }, Fail, "folder of the administration socket"},
	{"P5.2", "another user's", func(m *machine) { m.report.UID = 4711 }, Fail, "does not belong to user 4711"},
	{"P5.2", "a file in its place", func(m *machine) {
		_ = os.Remove(m.conf.Admin.Socket)
		_ = os.WriteFile(m.conf.Admin.Socket, nil, 0o600)
	}, Fail, "is not a socket"},
	{"P5.1", "others may open the socket", func(m *machine) { m.mode(m.conf.Admin.Socket, 0o666) }, Unknown, "row P5.2"},
	{"P5.1", "a port that nobody names", namelessPort, Unknown, "nobody says what"},
	{"P5.3", "a section of it that this program does not know", func(m *machine) { m.report.Settings["dashboard.bind"] = "[]" }, Unknown, "older than the broker"},
	{"P5.4", "a REST listener that this program does not know", func(m *machine) { m.report.Settings["api.bind"] = "[]" }, Unknown, "older than the broker"},
	{"P5.5", "a section of it that this program does not know", func(m *machine) { m.report.Settings["backup.target"] = "x" }, Unknown, "older than the broker"},
	{"P5.5", "a list that is not the list", func(m *machine) { m.report.Settings = map[string]string{"x": "y"} }, Unknown, "positive control"},
	{"P5.6", "a section of it that this program does not know", func(m *machine) { m.report.Settings["audit.sinks.a"] = "x" }, Unknown, "older than the broker"},
	{"P1.5", "a port that nobody names", namelessPort, Unknown, "row P1.4"},
	{"P2.1", "a section of it that this program does not know", func(m *machine) { m.report.Settings["cluster.secret"] = "x" }, Unknown, "older than the broker"},

	{"P4.5", "in plain text", func(m *machine) {
		m.backend("db", config.Backend{Type: "postgresql", Servers: []string{"db.example.com:5432"}, TLS: config.BackendTLS{Mode: "off"}})
	}, Fail, "in plain text"},
	{"P4.5", "one server of two", func(m *machine) {
		m.backend("db", config.Backend{Type: "redis", Servers: []string{"127.0.0.1:6379", "192.0.2.9:6379"}, TLS: config.BackendTLS{Mode: "off"}})
	}, Fail, "192.0.2.9:6379 in plain text"},
	{"P4.5", "the file is good, the process is not", func(m *machine) { m.report.Settings["backends.db.tls.mode"] = "off" }, Fail, "the back end in force"},
	{"P4.5", "the process is good, the file is not", func(m *machine) {
		m.conf.Backends = map[string]config.Backend{"db": {Type: "redis", Servers: []string{"192.0.2.9:6379"}, TLS: config.BackendTLS{Mode: "off"}}}
	}, Fail, "the back end in the configuration"},
	{"P4.5", "only the process has it", func(m *machine) { m.report.Settings["backends.db.tls.mode"] = "off"; m.conf.Backends = nil }, Fail, "in force"},
	{"P4.5", "a mode nobody knows", func(m *machine) { m.report.Settings["backends.db.tls.mode"] = "maybe" }, Unknown, "does not know"},
	{"P4.5", "on this host", func(m *machine) {
		m.backend("db", config.Backend{Type: "redis", Servers: []string{"127.0.0.1:6379"}, TLS: config.BackendTLS{Mode: "off"}})
	}, Pass, "is on this host"},

	{"P5.8", "on every address", func(m *machine) { m.metricsAt("00000000", "0.0.0.0:9100") }, Fail, "whoever reaches it"},
	{"P5.8", "on an inner address", func(m *machine) { m.metricsAt(hexWord(m.t, "0A000001"), "10.0.0.1:9100") }, Fail, "10.0.0.1:9100"},
	{"P5.8", "the file says loopback, the kernel has another", func(m *machine) { m.put(on("net/tcp"), hexWord(m.t, "7F000001"), "00000000") }, Unknown, "the kernel lists none"},
	{"P5.8", "an interface routes loopback", func(m *machine) { m.files["sys/net/ipv4/conf/eth0/route_localnet"] = "1\n" }, Warn, "its network reaches 127.0.0.1"},
	{"P5.8", "on a port that nobody names", func(m *machine) { m.conf.Metrics.Bind = nil }, Unknown, "nobody says what it is"},
	{"P5.8", "also on an address of another family", func(m *machine) {
		m.conf.Metrics.Bind = append(m.conf.Metrics.Bind, "[2001:db8::1]:9100")
	}, Unknown, "another configuration is in force"},

	{"P5.9", "everybody", func(m *machine) { m.proxies(`["0.0.0.0/0"]`) }, Fail, "0.0.0.0/0 is a large part"},
	{"P5.9", "everybody, in halves", func(m *machine) { m.proxies(`["0.0.0.0/1", "128.0.0.0/1"]`) }, Fail, "128.0.0.0/1 is a large part"},
	{"P5.9", "everybody, as IPv4 within IPv6", func(m *machine) { m.proxies(`["::ffff:0:0/96"]`) }, Fail, "::ffff:0:0/96 is a large part"},
	{"P5.9", "everybody of IPv6", func(m *machine) { m.proxies(`["10.0.0.1", "::/0"]`) }, Fail, "::/0 is a large part"},
	{"P5.9", "a whole private network", func(m *machine) { m.proxies(`["10.0.0.0/8"]`) }, Fail, "10.0.0.0/8"},
	{"P5.9", "a wide one", func(m *machine) { m.proxies(`["10.1.0.0/16"]`) }, Warn, "more than 256"},
	{"P5.9", "not understood", func(m *machine) { m.proxies(`{a: b}`) }, Unknown, "is not understood"},

	{"P5.10", "nearly full", func(m *machine) { m.space.BytesFree = 200 << 20 }, Fail, "200 MiB of 100.0 GiB"},
	{"P5.10", "free for root alone", func(m *machine) { m.space.BytesFree = 0 }, Fail, "0 bytes"},
	{"P5.10", "no inodes", func(m *machine) { m.space.InodesFree = 3 }, Fail, "free inodes: 3"},
	{"P5.10", "read-only", func(m *machine) { m.space.ReadOnly = true }, Fail, "read-only"},
	{"P5.10", "getting full", func(m *machine) { m.space.BytesFree = 9 << 30 }, Warn, "(9 %)"},
	{"P5.10", "the store may take more than there is", func(m *machine) { m.report.StoreBytesMax = 80 << 30 }, Warn, "lets the store still take"},
	{"P5.10", "few inodes", func(m *machine) { m.space.InodesFree = 2000 }, Warn, "2000 of 1000000"},
	{"P5.10", "a file system that says nothing", func(m *machine) { m.space = Space{} }, Unknown, "no bytes"},

	{"P5.11", "none in a unit", func(m *machine) { m.groups["system.slice/redoubt.service/memory.max"] = "max\n" }, Fail, "although a unit"},
	{"P5.11", "none in a container", func(m *machine) {
		m.files[on("cgroup")], m.links[on("ns/pid")] = "0::/system.slice/redoubt.service\n", "pid:[4026532999]"
		m.groups["system.slice/redoubt.service/memory.max"] = "max\n"
	}, Fail, "although a unit or a container"},
	{"P5.11", "more than the machine has", func(m *machine) { m.groups["system.slice/redoubt.service/memory.max"] = "1099511627776\n" }, Fail, "it bounds nothing"},
	{"P5.11", "exactly what the machine has", func(m *machine) { m.groups["system.slice/redoubt.service/memory.max"] = "16384000000\n" }, Fail, "it bounds nothing"},
	{"P5.11", "no limit of version 1", func(m *machine) {
		m.files[on("cgroup")] = "4:memory:/redoubt\n1:name=systemd:/system.slice/redoubt.service\n"
		m.groups["memory/redoubt/memory.limit_in_bytes"] = "9223372036854771712\n"
	}, Fail, "none, at no level"},
	{"P5.11", "none, by hand", func(m *machine) {
		m.groups["system.slice/redoubt.service/memory.max"] = "max\n"
		m.files[on("cgroup")] = "0::/user.slice/x.scope\n"
		m.groups["user.slice/x.scope/memory.max"] = "max\n"
		m.groups["../../../nothing"] = ""
	}, Unknown, ""}, // the group is not among what this test writes down
	{"P5.11", "of a group above", func(m *machine) {
		m.groups["system.slice/redoubt.service/memory.max"], m.groups["system.slice/memory.max"] = "max\n", "4000000000\n"
	}, Pass, "3.7 GiB"},

	{"P5.12", "a program gets it", func(m *machine) { m.dump("33", "0", "|/usr/share/apport/apport -p%p") }, Fail, "whatever the limit is"},
	{"P5.12", "a service gets it", func(m *machine) { m.dump("33", "0", "@/run/core") }, Fail, "whatever the limit is"},
	{"P5.12", "a file", func(m *machine) { m.dump("33", "unlimited", "core") }, Fail, "a crash writes keys"},
	{"P5.12", "the limit was raised since", func(m *machine) { m.dump("00000004", "4096", "|/lib/systemd/systemd-coredump %P") }, Fail, "4096 bytes"},
	{"P5.12", "called like the one that keeps to it", func(m *machine) { m.dump("33", "0", "|/tmp/systemd-coredumper %P") }, Fail, "gets all of the memory"},
	{"P5.12", "one kind of memory is left in", func(m *machine) { m.dump("00000010", "unlimited", "core") }, Fail, "a crash writes keys"},
	{"P5.12", "the one that keeps to the limit", func(m *machine) { m.dump("33", "0", "|/lib/systemd/systemd-coredump %P") }, Pass, "systemd-coredump"},
	{"P5.12", "a file that may have no bytes", func(m *machine) { m.dump("33", "0", "core") }, Pass, "core"},

	{"P5.13", "a password", func(m *machine) { m.written("redoubt.yaml", "backends:\n  db:\n    password: hunter2\n") }, Fail, "line 3"},
	{"P5.13", "a password of digits", func(m *machine) { m.written("redoubt.yaml", "backends: {db: {type: redis, password: 12345678}}\n") }, Fail, "line 1"},
	{"P5.13", "in a comment", func(m *machine) {
		m.written("redoubt.yaml", "a: b\n# was password: hunter2\n#   db_password: hunter2\n")
	}, Fail, "line 3"},
	{"P5.13", "a key", func(m *machine) { m.written("redoubt.yaml", "x: |\n  -----BEGIN EC PRIVATE KEY-----\n") }, Fail, "a private key"},
	{"P5.13", "in an address", func(m *machine) { m.written("redoubt.yaml", "url: https://joe:hunter2@example.com/\n") }, Fail, "an address with a password"},
	{"P5.13", "in a copy", func(m *machine) { m.written("redoubt.yaml.bak", "api_key: hunter2\n") }, Fail, "a copy of the configuration, line 1"},
	{"P5.13", "in what an editor left", func(m *machine) { m.written(".redoubt.yaml.swp", "x\n password: hunter2\n") }, Fail, "a copy of the configuration, line 2"},
	{"P5.13", "held, and in no file", func(m *machine) { m.report.Settings["backends.db.password"] = "hunter2" }, Fail, "backends.db.password: holds"},
	{"P5.13", "in a header", func(m *machine) {
		m.report.Settings["backends.web.headers"] = `[{name: Authorization, value: "Bearer hunter2"}]`
	}, Fail, "a header that is a credential"},
	{"P5.13", "the file cannot be read", func(m *machine) { m.file += ".gone" }, Unknown, "cannot be looked at"},

	{"P5.14", "all of loopback", func(m *machine) { m.fetch(`["127.0.0.0/8"]`) }, Fail, "loopback"},
	{"P5.14", "the metadata of clouds", func(m *machine) { m.fetch(`["169.254.169.254/32"]`) }, Fail, "credentials"},
	{"P5.14", "the metadata, in a network", func(m *machine) { m.fetch(`["169.254.0.0/16"]`) }, Fail, "credentials"},
	{"P5.14", "the metadata, as IPv4 within IPv6", func(m *machine) { m.fetch(`["::ffff:169.254.169.254/128"]`) }, Fail, "credentials"},
	{"P5.14", "everything", func(m *machine) { m.fetch(`["10.1.2.3/32", "0.0.0.0/0"]`) }, Fail, "0.0.0.0/0"},
	{"P5.14", "everything of IPv6", func(m *machine) { m.fetch(`["::/0"]`) }, Fail, "::/0"},
	{"P5.14", "a wide one", func(m *machine) { m.fetch(`["10.1.0.0/16"]`) }, Warn, "more than 256"},

	{"P5.15", "a library that was preloaded", func(m *machine) { m.mapped("/opt/agent/inject.so") }, Fail, "/opt/agent/inject.so"},
	{"P5.15", "a library of a user", func(m *machine) { m.mapped("/srv/joe/libssl.so.3") }, Fail, "/srv/joe"},
	{"P5.15", "a library that was deleted since", func(m *machine) { m.mapped("/usr/lib/libx.so (deleted)") }, Fail, "(deleted)"},
	{"P5.15", "memory that is code and no file", func(m *machine) { m.mapped("") }, Fail, "memory of no file"},
	{"P5.15", "in memory, by a name", func(m *machine) { m.mapped("/memfd:x (deleted)") }, Fail, "memfd"},
	{"P5.15", "a path that only looks like the system's", func(m *machine) { m.mapped("/usr/lib/../../tmp/x.so") }, Fail, "/tmp/x.so"},
	{"P5.15", "another program", func(m *machine) { m.mapped("/usr/lib/redoubt-helper") }, Fail, "redoubt-helper"},
	{"P5.15", "libraries of the system", func(m *machine) { m.mapped("/usr/lib/x86_64-linux-gnu/libc.so.6") }, Pass, "libc.so.6"},

	{"P5.16", "replaced", func(m *machine) { m.links[on("exe")] = "/usr/bin/redoubt (deleted)" }, Warn, "does not run yet"},
}

func (m *machine) mode(path string, mode os.FileMode) {
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) proxies(text string) { m.report.Settings["listeners.mqtts.proxy_sources"] = text }

func (m *machine) fetch(text string) { m.report.Settings["listeners.mqtts.tls.fetch_from"] = text }

func (m *machine) mapped(file string) {
	m.files[on("maps")] += "7f0000000000-7f0000001000 r-xp 00000000 08:01 8 " + file + "\n"
}

// metricsAt puts them elsewhere, in the file and in the kernel.
func (m *machine) metricsAt(word, bind string) {
	m.put(on("net/tcp"), hexWord(m.t, "7F000001"), word)
	m.conf.Metrics.Bind = []string{bind}
}

func (m *machine) dump(filter, limit, pattern string) {
	m.files[on("coredump_filter")], m.files["sys/kernel/core_pattern"] = filter+"\n", pattern+"\n"
	m.files[on("limits")] += "Max core file size        " + limit + "                    unlimited            bytes     \n"
}

func TestEveryAdminMutantIsFound(t *testing.T) {
	for _, c := range adminMutants {
		t.Run(c.row+"/"+c.name, func(t *testing.T) {
			fixture(c.row, c.name, c.state)
			m := adminGood(t, c.row)
			c.spoil(m)
			rep, row := m.examine(c.row)
			var out strings.Builder
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if got := row.State(); got != c.state || !strings.Contains(out.String(), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", got, c.state, c.want, out.String())
			}
			if strings.Contains(out.String(), "hunter2") {
				t.Errorf("a secret is shown:\n%s", out.String())
			}
			for _, r := range row.Results {
				if (r.State == Fail || r.State == Warn) && r.Fix == "" {
					t.Errorf("%s: no fix for %s", r.Scope, r.Summary)
				}
			}
		})
	}
}

// What is taken away, or what nobody understands, makes a row unknown: not pass, and for those
// whose subject is not there not not_applicable either.
func TestWithoutEvidenceTheAdministrationIsUnknown(t *testing.T) {
	sockets := []string{on("net/tcp"), on("net/udp")}
	lines := map[string][]string{"P5.1": sockets, "P5.2": sockets, "P5.3": sockets, "P5.4": sockets, "P5.17": sockets, "P1.5": sockets, "P1.6": sockets, "P2.1": sockets, "P2.3": sockets,
		"P1.13": {on("net/tcp")}, "P5.8": {on("net/tcp")}, "P5.11": {"meminfo", on("cgroup")}, "P5.12": {on("coredump_filter")}, "P5.15": {on("maps")}}
	for id, files := range lines {
		for _, name := range files {
			m := adminGood(t, id)
			m.files[name] = "nonsense nobody understands\n"
			if _, row := m.examine(id); row.State() != Unknown {
				t.Errorf("%s is %s when %s is nonsense: %+v", id, row.State(), name, row.Results)
			}
			m = adminGood(t, id)
			delete(m.files, name)
			if _, row := m.examine(id); row.State() != Unknown {
				t.Errorf("%s is %s without %s: %+v", id, row.State(), name, row.Results)
			}
			removed(id, name)
		}
	}
	all := append(append([]string{"P1.13", "P5.16"}, judgedRows...), absentRows...)
	for _, id := range all {
		m := adminGood(t, id)
		m.broker = false
		if _, row := m.examine(id); row.State() != Unknown || row.Results[0].Summary == "" {
			t.Errorf("%s is %s without the broker", id, row.State())
		}
		removed(id, "the broker")
	}
	for what, c := range map[string]struct {
		rows  []string
		spoil func(m *machine)
	}{
		"its settings": {append([]string{"P4.5", "P5.9", "P5.10", "P5.13", "P5.14"}, absentRows...), func(m *machine) { m.report.Settings = nil }},
		"its process":  {append([]string{"P5.8", "P5.10", "P5.11", "P5.12", "P5.15", "P5.16", "P1.13"}, absentRows...), func(m *machine) { m.report.PID = 0 }},
		"its network":  {[]string{"P5.8", "P1.5", "P2.3", "P5.1", "P5.2"}, func(m *machine) { delete(m.links, on("ns/net")) }},
		"its files": {[]string{"P5.8", "P1.5", "P2.3", "P5.1", "P5.2"}, func(m *machine) {
			delete(m.links, on("fd/5"))
			delete(m.links, on("fd/6"))
			delete(m.links, on("fd/7"))
		}},
		"its socket":    {[]string{"P5.1", "P5.2", "P5.3", "P5.4"}, func(m *machine) { _ = os.Remove(m.conf.Admin.Socket) }},
		"its program":   {[]string{"P5.15", "P5.16"}, func(m *machine) { delete(m.links, on("exe")) }},
		"its log":       {[]string{"P5.6"}, func(m *machine) { delete(m.links, on("fd/2")) }},
		"its groups":    {[]string{"P5.11"}, func(m *machine) { m.groups = nil }},
		"an answer":     {[]string{"P5.10"}, func(m *machine) { m.silent = errors.New("no") }},
		"the pattern":   {[]string{"P5.12"}, func(m *machine) { m.dump("33", "0", "core"); delete(m.files, "sys/kernel/core_pattern") }},
		"the interface": {[]string{"P5.8"}, func(m *machine) { delete(m.files, "sys/net/ipv4/conf/lo/route_localnet") }},
	} {
		for _, id := range c.rows {
			m := adminGood(t, id)
			c.spoil(m)
			if _, row := m.examine(id); row.State() != Unknown {
				t.Errorf("%s is %s without %s: %+v", id, row.State(), what, row.Results)
			}
			removed(id, what)
		}
	}
}
