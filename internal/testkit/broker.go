package testkit

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// readyMark is in the line by which the broker says that it serves.
const readyMark = "ready"

// startWithin is how long a first start may take: it makes keys and opens
// listeners, with the race detector on two busy cores.
const startWithin = 30 * time.Second

// Options say how a broker differs from the usual one.
type Options struct {
	DataDir string // "": a new one
	Config  string // appended to the configuration file the kit writes
	Rules   string // content of the rules file; "": what the broker creates
	Users   string // folder with a store that has users, as Users made it; "": what the broker creates
	Port    int    // 0: a free one

	Listeners string // more entries of listeners, two spaces in

	Environment []string // more of it: NAME=VALUE

	// Repeats: the test has a broker do the same thousands of times, or starts it again and
	// again, or another test has a watched one do it. That takes the race detector many times
	// as long and shows it nothing new.
	Repeats bool

	WebSocket   bool // with a listener wss
	ListenerTCP int  // port of a listener without TLS; 0: none
	ListenerWS  int  // the same for WebSocket
}

// Broker is the real program, serving on loopback.
type Broker struct {
	*Process
	DataDir string
	Config  string // path of the configuration file
	Rules   string // path of the rules file
	Port    int    // MQTT over TLS
	Metrics int    // HTTP

	WebSocket int // MQTT over WebSocket over TLS; 0: off

	program string // that serves
	t       testing.TB
}

// Start starts a broker and waits until it is ready. At the end of the test it
// is stopped if it still runs, and judged: a race report or a panic fails the
// test.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = filepath.Join(TempDir(t), "data")
	}
	b := &Broker{DataDir: o.DataDir, Rules: filepath.Join(o.DataDir, "rules.yaml"), program: Binary(t), t: t}
	if o.Repeats {
		b.program = Command(t)
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if o.Rules != "" {
		WriteFile(t, b.Rules, o.Rules)
	}
	if o.Users != "" {
		copyStore(t, o.Users, o.DataDir)
	}
	// A port that was free a moment ago may be taken: that one reason is worth
	// another try.
	for try := 0; ; try++ {
		b.Port, b.Metrics = o.Port, FreePort(t)
		if b.Port == 0 {
			b.Port = FreePort(t)
		}
		b.Config = filepath.Join(TempDir(t), "redoubt.yaml")
		wss := "    bind: []\n"
		if o.WebSocket { // paho for Python makes an Origin up from the address
			b.WebSocket = FreePort(t)
			wss = fmt.Sprintf("    bind: [\"127.0.0.1:%d\"]\n    origins: [\"https://localhost:%d\"]\n", b.WebSocket, b.WebSocket)
		}
		if o.ListenerTCP != 0 {
			wss += fmt.Sprintf("  mqtt:\n    protocol: mqtt\n    bind: [\"127.0.0.1:%d\"]\n", o.ListenerTCP)
		}
		if o.ListenerWS != 0 {
			wss += fmt.Sprintf("  ws:\n    protocol: ws\n    bind: [\"127.0.0.1:%d\"]\n", o.ListenerWS)
		}
		wss += o.Listeners
		if !strings.Contains(o.Config, "flapping:") { // suites connect with one name as often as they like
			o.Config = "flapping: {connects: 0}\n" + o.Config
			if !strings.Contains(o.Config, "limits:") {
				o.Config = "limits: {client_connect_rate: {connects: 0}}\n" + o.Config
			}
		}
		WriteFile(t, b.Config, fmt.Sprintf("listeners:\n  mqtts:\n    bind: [\"127.0.0.1:%d\"]\n  wss:\n%smetrics:\n  bind: [\"127.0.0.1:%d\"]\n%s", b.Port, wss, b.Metrics, o.Config))
		argv := b.argv("serve", AllowRoot()...)
		if len(o.Environment) > 0 { // env becomes the program it starts
			argv = slices.Concat([]string{"env"}, o.Environment, argv)
		}
		b.Process = Go(t, "", argv...)
		_, ok := b.Stdout.WaitFor(startWithin, 0, readyMark)
		if ok {
			break
		}
		if try < 3 && b.Ended() && strings.Contains(b.Stderr.String()+b.Stdout.String(), "address already in use") {
			continue
		}
		t.Fatalf("the broker did not become ready\nstdout:\n%s\nstderr:\n%s", b.Stdout, b.Stderr)
	}
	t.Cleanup(b.judge)
	return b
}

// AllowRoot is the flag a broker wants where the tests run as root.
func AllowRoot() []string {
	if os.Getuid() == 0 {
		return []string{"--allow-root"}
	}
	return nil
}

// WriteFile writes a private file.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// argv is a command line of the program for this broker.
func (b *Broker) argv(command string, args ...string) []string {
	return append([]string{b.program, command, "--config", b.Config, "--data-dir", b.DataDir}, args...)
}

// Redoubt runs a subcommand against this broker to its end. words are the
// subcommand and its arguments.
func (b *Broker) Redoubt(stdin string, words ...string) Run {
	b.t.Helper()
	program := Command(b.t)
	if slices.Contains([]string{"serve", "bench"}, words[0]) {
		program = Binary(b.t)
	}
	argv := append([]string{program}, words...)
	return Exec(b.t, 30*time.Second, stdin, append(argv, "--config", b.Config, "--data-dir", b.DataDir)...)
}

// AddUser makes a user with a password that was chosen.
func (b *Broker) AddUser(name, password string) {
	b.t.Helper()
	if r := b.Redoubt(password+"\n", "user", "add", name, "--password-stdin"); r.Code != 0 {
		b.t.Fatalf("user add %s: exit code %d\n%s", name, r.Code, r.Text())
	}
}

// storeFolder is where the data directory keeps users, among other things.
const storeFolder = "store"

// Users has the program make users with passwords that were chosen, in a data
// directory that no broker runs on, and answers the folder for Options; Main removes
// it. A suite does so once: in place of this, each user of each broker costs a process
// and a hash.
func Users(t testing.TB, namesAndPasswords ...string) string {
	t.Helper()
	program := Command(t)
	dir, err := os.MkdirTemp(built.dir, "users-")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(namesAndPasswords); i += 2 {
		r := Exec(t, 30*time.Second, namesAndPasswords[i+1]+"\n", program, "user", "add", namesAndPasswords[i], "--password-stdin", "--data-dir", dir)
		if r.Code != 0 {
			t.Fatalf("user add %s: exit code %d\n%s", namesAndPasswords[i], r.Code, r.Text())
		}
	}
	return dir
}

// copyStore gives a data directory the store of another, unless it has one.
func copyStore(t testing.TB, from, to string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(to, storeFolder)); err == nil {
		return
	}
	files := os.DirFS(from)
	err := fs.WalkDir(files, storeFolder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Mkdir(filepath.Join(to, path), 0o700)
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Addr is host and port of the MQTT listener.
func (b *Broker) Addr() string { return fmt.Sprintf("127.0.0.1:%d", b.Port) }

// CA is the file that clients trust.
func (b *Broker) CA() string { return filepath.Join(b.DataDir, "certs", "ca.pem") }

// Log is everything the broker printed.
func (b *Broker) Log() string { return b.Stdout.String() + b.Stderr.String() }

// judge ends the broker and looks at what it left.
func (b *Broker) judge() {
	if !b.Ended() {
		b.Stop()
	}
	log := b.Log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "BUG:"} {
		if i := strings.Index(log, bad); i >= 0 {
			b.t.Errorf("the broker printed %q:\n%s", bad, log[i:min(len(log), i+8000)])
		}
	}
}
