// Package test runs real clients against the real program: mosquitto, paho for
// Python, MQTT.js and a bare socket, over TLS, as users would. It is not where
// rooms are tested; those tests sit beside their files. A failure here means that
// somebody's device would not work, or that somebody's secret would be out.
//
// What the suites need is installed by `make deps`; without it they fail.
package test

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// The users of the suites, with the rights the shipped rules give: their own
// devices/NAME/#.
const (
	user          = "dev1"
	password      = "correct-horse-battery-1"
	other         = "dev2"
	otherPassword = "correct-horse-battery-2"
)

// patience is the limit for one step of a suite; nothing waits for it to pass.
const patience = 30 * time.Second

// sideBySide is how many of the tests that call t.Parallel run at a time: most of
// what they do is to wait for other programs and for deadlines. Tests that judge how
// long the bystander of a siege waits, or a time of their own, run alone.
const sideBySide = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", sideBySide); err != nil {
			panic(err)
		}
	}
	os.Exit(testkit.Main(m))
}

// users is the folder with the two users, once it was made.
var users struct {
	once   sync.Once
	folder string
}

// start starts a broker with the two users. That they can be added to one that runs
// is shown where it is the subject.
func start(t *testing.T, o testkit.Options) *testkit.Broker {
	t.Helper()
	users.once.Do(func() { users.folder = testkit.Users(t, user, password, other, otherPassword) })
	if users.folder == "" {
		t.Fatal("the users could not be made; the first test says why")
	}
	o.Users = users.folder
	return testkit.Start(t, o)
}

// clientFile is a file of test/clients.
func clientFile(t *testing.T, name string) string {
	t.Helper()
	root, err := testkit.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "test", "clients", name)
}

// suiteSettings is what the suites in other languages are given.
func suiteSettings(t *testing.T, b *testkit.Broker) string {
	t.Helper()
	port, path := b.Port, "" // of WebSocket
	if b.WebSocket != 0 {
		port, path = b.WebSocket, "/mqtt"
	}
	text, err := json.Marshal(map[string]any{
		"host": "localhost", "port": port, "path": path, "ca": b.CA(), "wrong_ca": foreignCA(t),
		"user": user, "password": password, "other": other, "other_password": otherPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// report is one line of a suite in another language.
type report struct {
	Case   string
	OK     bool
	Detail string
}

// judgeSuite runs a suite and makes a subtest of every case. A case of want that
// the suite did not report has failed.
func judgeSuite(t *testing.T, b *testkit.Broker, want []string, argv ...string) {
	t.Helper()
	r := testkit.Exec(t, 4*time.Minute, "", append(argv, suiteSettings(t, b))...)
	got := make(map[string]report)
	for s := bufio.NewScanner(strings.NewReader(r.Stdout)); s.Scan(); {
		var line report
		if json.Unmarshal(s.Bytes(), &line) == nil {
			got[line.Case] = line
		}
	}
	for _, version := range []string{"v311", "v5"} {
		for _, name := range want {
			t.Run(version+"/"+name, func(t *testing.T) {
				line, ok := got[version+"/"+name]
				switch {
				case !ok:
					t.Errorf("the suite did not report this case\n%s", r.Text())
				case !line.OK:
					t.Error(line.Detail)
				}
			})
		}
	}
	if r.Code != 0 || len(got) != 2*len(want) {
		t.Errorf("exit code %d, %d cases, want %d\n%s", r.Code, len(got), 2*len(want), r.Stderr)
	}
	if t.Failed() {
		t.Logf("the broker's log:\n%s", b.Log())
	}
}

// port is the number as an argument.
func port(b *testkit.Broker) string { return strconv.Itoa(b.Port) }
