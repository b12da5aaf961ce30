package lint

import "strings"

// room is one line of the house plan: a folder, its floor, and why it exists.
type room struct {
	Dir   string // a folder at the root, or internal/NAME
	Floor int    // a room may import rooms of lower floors only
	Why   string // what is lost when the wall around it falls
}

// house lists the rooms from the roof down. Rooms on one floor do not import
// each other; cmd/redoubt introduces them. A new room gets a line here and two
// sentences in docs/adr/ first.
var house = []room{
	{"cmd/redoubt", 13, "cmd is the one program: flags, wiring, exit code and no logic. Nobody imports it, so that everything below can be run in a test"},
	{"admin", 12, "admin turns operator requests into calls; it is one of several ways in and the broker must run without it"},
	{"dashboard", 12, "dashboard is a web page; the broker must run without it"},
	{"client", 12, "client is the remote side (pub, sub, bench). It shares only the codec with the broker, so that one mistake cannot hide behind itself"},
	{"harden", 11, "harden judges a configuration and a host; what it judges must not depend on it"},
	{"importer", 10, "importer reads other brokers' files; the broker must not know they exist"},
	{"backup", 10, "backup copies state; what it copies must not depend on it"},
	{"config", 9, "config is the file schema. Packages below own their option structs and are handed values, so that each can be built in a test without a file"},
	{"conn", 8, "conn owns sockets, loops and goroutines. Whatever imports it can block, so nothing that decides may"},
	{"enroll", 8, "enroll decides who gets a certificate over the network; it must not reach the administration of the broker, nor the broker it"},
	{"listener", 7, "listener is policy at the door; it answers verdicts, conn acts on them"},
	{"broker", 6, "broker is where rooms meet in the order the specification asks for; the rooms below do not know each other"},
	{"router", 5, "router answers who wants a message and nothing else, so that it can be checked against a twin too plain to be wrong"},
	{"retain", 5, "retain answers what later subscribers get; it is a different question from who wants this now"},
	{"delay", 5, "delay holds what is to be published later; when the time comes it is judged and routed like any message, which is not its business"},
	{"cluster", 5, "cluster is the only room that knows there is more than one node"},
	{"store", 4, "store is what survives power loss; it must be provable without sessions or sockets"},
	{"audit", 4, "audit records who did what; a record must not depend on what it records"},
	{"session", 3, "session is one MQTT session as a value: no socket, no clock, no I/O, so that every state is reachable in a unit test"},
	{"auth", 3, "auth answers 'may this client...?' as a value; back ends that call out live in auth/<backend>"},
	{"limit", 3, "limit answers 'how much, how often?' as a value"},
	{"pki", 2, "pki makes and watches keys and certificates; who uses them is not its business"},
	{"backend", 2, "backend asks servers of others, and may wait for them; who decides what an answer means must not"},
	{"metrics", 2, "metrics counts; it must never be a reason for another import"},
	{"alarm", 2, "alarm says what is wrong now; it must never be a reason for another import"},
	{"mqtt", 1, "mqtt is bytes and packets with the standard library only, so that a decoder bug is a decoder bug"},
	{"topic", 1, "topic is names, filters and matching with the standard library only"},
}

// internalFloor is the cellar: clock, secret, safefile. Everybody may use it, and
// it uses nobody.
const internalFloor = 0

// testOnly are folders that only _test.go files import and that may themselves
// import anything.
var testOnly = map[string]string{
	"internal/testkit":      "internal/testkit starts real brokers and users for suites; a program that ships must not carry it",
	"client/internal/fake":  "client/internal/fake is a server that misbehaves on demand; a program that ships must not carry it",
	"auth/kerberos/kdctest": "auth/kerberos/kdctest runs a KDC and its clients for suites; a program that ships must not carry it",
	"store/storetest":       "store/storetest is the suite of every log driver and a disk that misbehaves on demand; a program that ships must not carry it",
	"sim":                   "sim is a fake network and disk; a program that ships must not carry it",
}

// programs are folders of main packages beside cmd/redoubt: tools of the build
// and suites. They may import anything and nobody imports them.
var programs = []string{"internal/tools", "test"}

// notes for rooms that only a few may read.
var readers = map[string][]string{
	"config": {"cmd/redoubt", "admin", "harden"},
}

// roomOf finds the room a folder belongs to: auth/builtin belongs to auth, and
// internal/clock is a room of its own.
func roomOf(dir string) (room, bool) {
	for _, r := range house {
		if dir == r.Dir || strings.HasPrefix(dir, r.Dir+"/") {
			return r, true
		}
	}
	if rest, ok := strings.CutPrefix(dir, "internal/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return room{"internal/" + name, internalFloor, "internal/* is the cellar: everybody stands on it, so it stands on nobody"}, true
	}
	return room{}, false
}

// within tells whether dir is one of the folders or below one.
func within(dir string, folders ...string) bool {
	for _, f := range folders {
		if dir == f || strings.HasPrefix(dir, f+"/") {
			return true
		}
	}
	return false
}

// isProgram tells whether dir holds a tool or a suite.
func isProgram(dir string) bool { return within(dir, programs...) }

// isTestOnly tells whether dir is for tests only.
func isTestOnly(dir string) bool {
	for d := range testOnly {
		if within(dir, d) {
			return true
		}
	}
	return false
}
