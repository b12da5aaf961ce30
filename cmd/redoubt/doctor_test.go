package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestMain turns core dumps off, as the unit does for the broker, and removes
// what the kit built.
func TestMain(m *testing.M) {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		panic(err)
	}
	os.Exit(testkit.Main(m))
}

// withoutSecrets takes the secrets of this machine out of the environment that a
// broker under test inherits: they are a finding.
func withoutSecrets(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		for _, word := range []string{"PASS", "SECRET", "TOKEN", "KEY"} {
			if strings.Contains(upper, word) || strings.Contains(value, "@") {
				t.Setenv(name, "")
			}
		}
	}
}

type doctorReport struct {
	Node    string
	Score   struct{ Points, Cap int }
	Results []doctorResult
}

type doctorResult struct {
	ID, Scope, State, Summary, Confidence string
	Observations                          []struct{ What, Actual, State string }
}

// busy is what doctor says where noise hides how long a refusal takes. The tests share their
// machine: whether it says so is about that, and not about the broker.
const busy = "how long a wrong password takes: cannot be told here"

// untimed tells whether r is that, and nothing else.
func (r *doctorResult) untimed() bool {
	return r.State == "unknown" && strings.HasPrefix(r.Scope, "chain:") && strings.Contains(r.Summary, busy)
}

// examine runs redoubt doctor and answers what it said and its exit code.
func examine(t *testing.T, b *testkit.Broker, args ...string) (doctorReport, string, int) {
	t.Helper()
	return examineBy(t, testkit.Command(t), b, args...)
}

// examineBy is examine by one of the two programs: testkit.Binary has the doctor itself watched.
func examineBy(t *testing.T, program string, b *testkit.Broker, args ...string) (doctorReport, string, int) {
	t.Helper()
	r := testkit.Exec(t, 90*time.Second, "", append([]string{program, "doctor", "--config", b.Config, "--data-dir", b.DataDir, "-o", "json", "--within", "1m"}, args...)...)
	var rep doctorReport
	if err := json.Unmarshal([]byte(r.Stdout), &rep); err != nil {
		t.Fatalf("exit code %d, %v\n%s", r.Code, err, r.Text())
	}
	return rep, r.Text(), r.Code
}

// timed leaves out what could not be timed.
func (r *doctorReport) timed() {
	r.Results = slices.DeleteFunc(r.Results, func(f doctorResult) bool { return f.untimed() })
}

// state is the worst state of a row in a report.
func (r *doctorReport) state(id string) string {
	out := ""
	for _, f := range r.Results {
		if row, _, _ := strings.Cut(f.ID, "-"); row != id {
			continue
		}
		for _, s := range []string{"fail", "unknown", "warn", "pass"} {
			if f.State == s || out == s {
				out = s
				break
			}
		}
	}
	return out
}

// The broker as it ships passes every row that is its own, within the time a run has, leaves no
// probe user behind, and no secret in any output or log. Both are watched by the race detector;
// the form for people is then of a run by and on what is shipped, which is probed no less.
func TestDoctorOnTheRealBroker(t *testing.T) {
	withoutSecrets(t)
	options := testkit.Options{WebSocket: true, Config: "flapping: {connects: 15}\n"}
	b := testkit.Start(t, options)
	b.AddUser("device1", "canary-5up3r-53cr37")
	users := b.Redoubt("", "user", "list", "-o", "json")
	began := time.Now()
	rep, text, code := examineBy(t, testkit.Binary(t), b, hostAccepted...)
	if took := time.Since(began); code != 0 || took > doctorWithin && !testkit.Watched() { // the detector slows the broker down, and so do its neighbours
		t.Errorf("exit code %d, %v\n%s", code, took, text)
	}
	judgeHost(t, b, &rep)
	rows, entrances, looked := map[string]bool{}, map[string]int{}, map[string]string{}
	for _, f := range rep.Results {
		row, _, _ := strings.Cut(f.ID, "-")
		if rows[row] = true; strings.HasPrefix(row, "P1.") || row == "P5.10" || row == "P5.11" {
			continue // of the machine, which tests share
		}
		if c, err := harden.Select(harden.Checks, []string{row}); err == nil && row != "P2.2" && c[0].Looks {
			looked[row] = f.State
			continue
		}
		name, _, _ := strings.Cut(f.Scope, "@")
		entrances[name]++
		state := "pass"
		if row >= "P3.4" && row <= "P3.6" { // nobody is asked for a certificate, and the broker's names no responder
			state = "not_applicable"
		}
		if f.untimed() {
			continue
		}
		if want := map[bool]string{true: "kernel", false: "behavioural"}[row == "P2.2"]; f.State != state || f.Confidence != want || len(f.Observations) == 0 {
			t.Errorf("%s %s: %s by %s evidence: %s", f.ID, f.Scope, f.State, f.Confidence, f.Summary)
		}
	}
	for row, state := range map[string]string{"P2.1": "not_applicable", "P2.3": "not_applicable", "P4.5": "not_applicable", "P5.1": "not_applicable", "P5.2": "not_applicable", "P5.3": "not_applicable", "P5.4": "not_applicable",
		"P5.5": "not_applicable", "P5.6": "not_applicable", "P5.8": "pass", "P5.9": "not_applicable", "P5.12": "pass", "P5.13": "pass", "P5.14": "not_applicable", "P5.15": "pass", "P5.16": "manual", "P5.17": "not_applicable"} {
		if looked[row] != state {
			t.Errorf("%s is %q, want %q", row, looked[row], state)
		}
	}
	if len(rows) != len(harden.Checks) || entrances["listener:mqtts"] != 11 || entrances["listener:wss"] != 11 {
		t.Errorf("rows %v, entrances %v", rows, entrances)
	}
	c := admin.NewClient(filepath.Join(b.DataDir, "admin.sock"))
	rules, err := c.Rules(t.Context())
	if err != nil || slices.ContainsFunc(rules.Data, func(r admin.RuleInfo) bool { return strings.Contains(r.ID, "temporary") }) {
		t.Errorf("a grant is left: %v, %v", rules, err)
	}
	if now := b.Redoubt("", "user", "list", "-o", "json"); now.Code != 0 || now.Stdout != users.Stdout || !strings.Contains(now.Stdout, "device1") {
		t.Errorf("the users have changed: %s", now.Text())
	}
	options.Repeats = true
	shipped := testkit.Start(t, options)
	shipped.AddUser("device1", "canary-5up3r-53cr37")
	plain := shipped.Redoubt("", append([]string{"doctor", "--evidence"}, beyondTheHost()...)...)
	end := "score 100/100  13 pass 0 fail 0 unknown 15 not applicable 1 manual\n"
	if strings.Contains(plain.Stdout, busy) {
		end = "  12 pass 0 fail 1 unknown 15 not applicable 1 manual\n"
	}
	if !strings.Contains(plain.Stdout, "[success]") || strings.Contains(plain.Stdout, "[failure]") || !strings.HasSuffix(plain.Stdout, end) {
		t.Errorf("%s", plain.Text())
	}
	for name, out := range map[string]string{"json": text, "text": plain.Text(), "the broker's log": b.Log(), "the other's log": shipped.Log()} {
		if strings.Contains(out, "rdt_") || strings.Contains(out, "canary") {
			t.Errorf("%s holds a secret", name)
		}
	}
	judgeLogOfRuns(t, b)
	judgeLogOfRuns(t, shipped)
}

// judgeLogOfRuns sees that what doctor has done is in the log, and is not most of it.
func judgeLogOfRuns(t *testing.T, b *testkit.Broker) {
	t.Helper()
	if _, ok := b.Stderr.WaitFor(30*time.Second, 0, "redoubt doctor has ended"); !ok || !strings.Contains(b.Log(), "redoubt doctor has begun") {
		t.Errorf("the log does not say that doctor was here:\n%s", b.Log())
	}
	for line := range strings.Lines(b.Log()) {
		for _, not := range []string{"probe user made", "probe user ended", "authorization/check", "/api/v5/probe", "bad user name or password", "bad authentication method"} {
			if strings.Contains(line, not) {
				t.Errorf("a line of its own: %s", line)
			}
		}
	}
}

// What an operator can get wrong on a real broker is found, and by the right row.
func TestDoctorFindsWhatIsWrong(t *testing.T) {
	withoutSecrets(t)
	for name, c := range map[string]struct {
		options testkit.Options
		spoil   func(t *testing.T, b *testkit.Broker)
		row     string
		state   string
		want    string
		code    int
	}{
		"everybody may do everything": {options: testkit.Options{Rules: "version: 1\nrules:\n  - allow: all\n    topics: [\"#\"]\n"}, row: "P4.2", state: "fail", want: "without a grant: PUBACK 0x00", code: 1},
		"everybody may read all":      {options: testkit.Options{Rules: "version: 1\nrules:\n  - allow: subscribe\n    topics: [\"#\"]\n"}, row: "P4.2", state: "fail", want: "subscribe to # without a grant: SUBACK 0x02", code: 1},
		"a deny is no finding":        {options: testkit.Options{Rules: "version: 1\nrules:\n  - deny: all\n    topics: [\"#\"]\n"}, row: "P4.2", state: "pass", code: 0},
		"denials end the connection":  {options: testkit.Options{Config: "authz: { deny_action: disconnect }\n"}, row: "P4.2", state: "pass", code: 0},
		"fewer things offered":        {options: testkit.Options{Config: "mqtt: { max_qos: 1, retain: false, wildcard_subscriptions: false }\n"}, row: "P4.2", state: "pass", code: 0},
		"one version only":            {options: testkit.Options{Config: "mqtt: { versions: [\"5.0\"] }\n"}, row: "P4.1", state: "pass", code: 0},
		"modern TLS":                  {options: testkit.Options{Config: "  mqtts2: { protocol: mqtts, bind: [\"127.0.0.1:0\"], tls: { profile: modern } }\n"}, row: "P3.1", state: "pass", code: 0},
		"modern suites":               {options: testkit.Options{Config: "  mqtts2: { protocol: mqtts, bind: [\"127.0.0.1:0\"], tls: { profile: modern } }\n"}, row: "P3.2", state: "pass", code: 0},
		"a larger limit":              {options: testkit.Options{Config: "limits: { topic_levels: 12 }\n"}, row: "P4.3", state: "warn", want: "limits.topic_levels", code: 0},
		"tighter limits":              {options: testkit.Options{Config: "limits: { packet_bytes: 4KiB, topic_levels: 3, subscriptions: 7, wildcard_subscriptions: 3, inflight: 5, awaiting_rel: 4 }\n"}, row: "P4.3", state: "pass", code: 0},
		"an open key": {spoil: func(t *testing.T, b *testkit.Broker) {
			if err := os.Chmod(filepath.Join(b.DataDir, "certs", "server.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, row: "P2.2", state: "fail", want: "server.key has mode 0644", code: 1},
		"another certificate in the file": {spoil: func(t *testing.T, b *testkit.Broker) {
			text, err := os.ReadFile(b.CA())
			if err != nil {
				t.Fatal(err)
			}
			testkit.WriteFile(t, filepath.Join(b.DataDir, "certs", "server.pem"), string(text))
		}, row: "P3.3", state: "fail", want: "which no file has", code: 1},
		"the broker has gone": {spoil: func(_ *testing.T, b *testkit.Broker) { b.Stop() }, row: "P4.1", state: "unknown", want: "no broker answers", code: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has a broker of its own, and mostly waits
			o := c.options
			if strings.HasPrefix(o.Config, "  ") {
				// A second listener goes where the kit's file ends its first.
				o = testkit.Options{}
			}
			b := testkit.Start(t, o)
			if o.Config != c.options.Config {
				b = second(t, b, c.options.Config)
			}
			if c.spoil != nil {
				c.spoil(t, b)
			}
			rep, text, code := examine(t, b, "--only", c.row)
			all := len(rep.Results)
			rep.timed()
			if untimed := len(rep.Results) < all && code == 3; rep.state(c.row) != c.state || code != c.code && !untimed {
				t.Errorf("%s is %q, exit code %d; want %q, %d\n%s\n%s", c.row, rep.state(c.row), code, c.state, c.code, text, b.Log())
			}
			said := false
			for _, f := range rep.Results {
				said = said || strings.Contains(f.Summary, c.want)
				for _, x := range f.Observations {
					said = said || strings.Contains(x.What+": "+x.Actual, c.want)
				}
			}
			if !said {
				t.Errorf("nobody says %q\n%s", c.want, text)
			}
		})
	}
}

// second restarts a broker with one more listener.
func second(t *testing.T, b *testkit.Broker, more string) *testkit.Broker {
	t.Helper()
	b.Stop()
	text, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteFile(t, b.Config, strings.Replace(string(text), "metrics:", more+"metrics:", 1))
	p := testkit.Go(t, "", append([]string{testkit.Binary(t), "serve", "--config", b.Config, "--data-dir", b.DataDir}, testkit.AllowRoot()...)...)
	if _, ok := p.Stdout.WaitFor(30*time.Second, 0, "ready"); !ok {
		t.Fatalf("%s%s", p.Stdout, p.Stderr)
	}
	b.Process = p
	return b
}

// A doctor that is killed in the middle leaves users that end by themselves, and
// nothing else.
func TestDoctorKilledLeavesNothingThatLasts(t *testing.T) {
	b := testkit.Start(t, testkit.Options{Config: "log: {level: debug}\n"})
	d := testkit.Go(t, "", testkit.Command(t), "doctor", "--config", b.Config, "--data-dir", b.DataDir, "--only", "P4.2")
	if _, ok := b.Stderr.WaitFor(30*time.Second, 0, "probe user made", `"topic":"probe-`); !ok {
		t.Fatalf("no probe user was made: %s", b.Log())
	}
	d.Signal(os.Kill)
	d.Wait(30 * time.Second)
	c := admin.NewClient(filepath.Join(b.DataDir, "admin.sock"))
	made := 0
	var expires time.Time
	for ; made <= 4; made++ { // until the table is full
		u, err := c.AddProbe(t.Context(), false)
		if err != nil {
			break
		}
		expires = u.ExpiresAt
	}
	if left := time.Until(expires); made == 0 || made > 3 || left > time.Minute || left < 30*time.Second {
		t.Errorf("%d users could be made beside those that were left; the last ends in %v", made, left)
	}
}

func TestDoctorUsage(t *testing.T) {
	dir := dataDir(t)
	for _, args := range [][]string{{"--only", "P9.9"}, {"--explain", "nothing"}, {"--fail-on", "sometimes"}, {"--max-unknown", "-1"}, {"stray"}, {"--colour"}} {
		if out, err, code := command(t, "", append(append([]string{"doctor"}, args...), "--data-dir", dir)...); code != 2 {
			t.Errorf("%v: exit code %d, %v, %s", args, code, err, out)
		}
	}
	out, err, code := command(t, "", "doctor", "--explain", "p4.1", "--data-dir", dir)
	if err != nil || code != 0 || !strings.Contains(out, "P4.1-authentication") || !strings.Contains(out, "Positive control") {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	file := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := os.WriteFile(file, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err, code := command(t, "", "doctor", "--config", file); code != 2 || err == nil {
		t.Errorf("a configuration that is refused: exit code %d, %v", code, err)
	}
}

// Without a broker the files are judged, and every row is unknown: that there is no cluster and no
// dashboard is seen on a process. How many unknown rows are too many is the caller's to say.
func TestDoctorWithoutBroker(t *testing.T) {
	b := testkit.Start(t, testkit.Options{})
	b.Stop()
	for _, c := range []struct {
		args []string
		code int
	}{{nil, 3}, {[]string{"--max-unknown", strconv.Itoa(len(harden.Checks))}, 0}, {[]string{"--max-unknown", strconv.Itoa(len(harden.Checks) - 1)}, 3}, {[]string{"--only", "P4.1", "--max-unknown", "1"}, 0}} {
		rep, text, code := examine(t, b, c.args...)
		if code != c.code || rep.Score.Points != 0 {
			t.Errorf("%v: exit code %d, want %d\n%s", c.args, code, c.code, text)
		}
		if len(c.args) == 0 && !strings.Contains(text, "redoubt serve") {
			t.Errorf("it does not say what to do:\n%s", text)
		}
	}
}

// A socket that answers but is not a broker's is an error of the checker.
func TestDoctorCannotAsk(t *testing.T) {
	dir := dataDir(t)
	l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	if _, err, code := command(t, "", "doctor", "--data-dir", dir); code != 2 || err == nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}
