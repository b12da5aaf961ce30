package harden

import (
	"fmt"
	"testing"
)

// stray opens a socket for datagrams that nobody names.
func stray(m *machine) {
	m.files[on("net/udp")] += fmt.Sprintf("   0: %s:1117 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 104 1 x\n", hexWord(m.t, "00000000"))
	m.links[on("fd/8")] = "socket:[104]"
}

// A row whose subject is not there does not apply while nothing of it can be seen, and is unknown
// as soon as something could be: whichever family, network or file it is in.
func TestWhatCouldBeThereIsUnknown(t *testing.T) {
	t.Parallel()
	section := map[string]string{"P1.5": "cluster.bind", "P1.6": "cluster.bind", "P2.1": "cluster.token", "P2.3": "cluster.tls.ca", "P5.17": "cluster.evacuate",
		"P5.1": "admin.users.root", "P5.2": "admin.bind", "P5.3": "admin.sso.issuer", "P5.4": "api.keys", "P5.5": "backup.schedule", "P5.6": "siem.url"}
	sockets := map[string]func(m *machine){
		"a port that nobody names":                  namelessPort,
		"a port that nobody names, over IPv6":       func(m *machine) { m.put(on("net/tcp6"), ":22B3", ":1111") },
		"a port that nobody names, over UDP":        stray,
		"a unix socket that nobody names":           func(m *machine) { m.put(on("net/unix"), m.conf.Admin.Socket, "/run/other.sock") },
		"the table of IPv6 is hidden":               func(m *machine) { delete(m.files, on("net/tcp6")) },
		"the table of IPv6 for datagrams is hidden": func(m *machine) { delete(m.files, on("net/udp6")) },
		"the table of unix sockets is masked":       func(m *machine) { m.files[on("net/unix")] = "" },
		"what is seen is another network's":         func(m *machine) { m.links["self/ns/net"] = "net:[1]" },
	}
	own := map[string]func(m *machine){
		"no list at all":              func(m *machine) { m.report.Settings = nil },
		"a list that is not the list": func(m *machine) { m.report.Settings = map[string]string{"node.data_dir": "/x"} },
		"a list of names that only begin alike": func(m *machine) {
			m.report.Settings = map[string]string{"listeners": "{}", "listeners.": "", "audit": "{}", "audit.": ""}
		},
		"nobody says whose the process is": func(m *machine) { m.report.PID = 0 },
	}
	for _, id := range absentRows {
		key := section[id]
		if key == "" {
			t.Fatalf("%s has no section", id)
		}
		table := map[string]func(m *machine){
			"the process has a section that the file and this program do not know": func(m *machine) { m.report.Settings[key] = "x" },
			"the same, and an empty value":                                         func(m *machine) { m.report.Settings[key] = "" },
		}
		more := sockets
		if id == "P5.5" || id == "P5.6" {
			more = own
		}
		for name, spoil := range more {
			table[name] = spoil
		}
		for name, spoil := range table {
			m := adminGood(t, id)
			spoil(m)
			if _, row := m.examine(id); row.State() != Unknown || row.Results[0].Summary == "" {
				t.Errorf("%s: %s is %s: %+v", name, id, row.State(), row.Results)
			}
			fixture(id, name, Unknown)
		}
	}
}
