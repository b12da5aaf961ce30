package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// run is one run of a command with what it read and wrote.
type run struct {
	stdin    io.Reader
	json     bool
	terminal bool
	defaults Defaults
	ctx      context.Context

	stdout, stderr output
}

// output is a buffer that a test may watch while a command writes.
type output struct {
	mu      sync.Mutex // guards b
	b       bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// do runs a command line and answers its exit code.
func (r *run) do(t *testing.T, command string, args ...string) int {
	t.Helper()
	if r.ctx == nil {
		r.ctx = t.Context()
	}
	if r.stdin == nil {
		r.stdin = strings.NewReader("")
	}
	in := IO{Stdin: r.stdin, Stdout: &r.stdout, Stderr: &r.stderr, JSON: r.json, Terminal: r.terminal, Clock: clock.System{}, ProcessID: 1}
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	var err error
	if command == "pub" {
		p := NewPub(fs)
		if err = fs.Parse(args); err == nil {
			err = p.Run(r.ctx, fs.Args(), r.defaults, in)
		} else {
			err = UsageError(command, err, in)
		}
	} else {
		s := NewSub(fs)
		if err = fs.Parse(args); err == nil {
			err = s.Run(r.ctx, fs.Args(), r.defaults, in)
		} else {
			err = UsageError(command, err, in)
		}
	}
	if err == nil {
		return 0
	}
	e, ok := err.(*Exit)
	if !ok || !e.Reported() || e.Error() == "" || e.Unwrap() == nil {
		t.Errorf("the failure is %#v", err)
		return -1
	}
	return e.ExitCode()
}

// at are the flags for a plaintext connection to b.
func at(b *fake.Broker, args ...string) []string {
	return append([]string{"-h", b.Host, "-p", fmt.Sprint(b.Port), "--protocol", "mqtt"}, args...)
}

// background runs sub until it has subscribed; the answer waits for its end.
func background(t *testing.T, r *run, b *fake.Broker, args ...string) (wait func() int) {
	t.Helper()
	r.stderr.changed = make(chan struct{}, 1)
	code := make(chan int, 1)
	go func() { code <- r.do(t, "sub", at(b, append(args, "-d")...)...) }()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(r.stderr.String(), "received SUBACK") {
		select {
		case <-r.stderr.changed:
		case <-deadline:
			t.Fatalf("sub has not subscribed: %s", r.stderr.String())
		}
	}
	return func() int { return <-code }
}

func TestPubAndSub(t *testing.T) {
	for _, v := range []string{"5", "311", "31"} {
		for _, q := range []string{"0", "1", "2"} {
			t.Run(v+" QoS "+q, func(t *testing.T) {
				b := fake.NewBroker(t, nil)
				var sub, pub run
				wait := background(t, &sub, b, "-t", "a/#", "-V", v, "-q", q, "-C", "2", "-v")
				if code := pub.do(t, "pub", at(b, "-t", "a/b", "-m", "one", "-V", v, "-q", q)...); code != 0 {
					t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
				}
				if code := pub.do(t, "pub", at(b, "-t", "a/c", "-n", "-V", v, "-q", q)...); code != 0 {
					t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
				}
				if code := wait(); code != 0 {
					t.Errorf("sub ended with %d: %s", code, sub.stderr.String())
				}
				if got := sub.stdout.String(); got != "a/b one\na/c \n" {
					t.Errorf("sub printed %q", got)
				}
				if pub.stdout.String() != "" || pub.stderr.String() != "" {
					t.Errorf("pub printed %q %q", pub.stdout.String(), pub.stderr.String())
				}
			})
		}
	}
}

func TestPubLines(t *testing.T) {
	for _, q := range []string{"0", "1", "2"} {
		b := fake.NewBroker(t, nil)
		var want strings.Builder
		for i := range 500 {
			fmt.Fprintf(&want, "line %d\r\n", i)
		}
		want.WriteString("\nno newline at the end")
		var sub run
		pub := run{stdin: strings.NewReader(want.String())}
		// The fake broker counts nothing, so that the window must hold all.
		wait := background(t, &sub, b, "-t", "a", "-q", q, "-C", "502", "-D", "connect", "receive-maximum", "502")
		if code := pub.do(t, "pub", at(b, "-t", "a", "-l", "-q", q, "-M", "3")...); code != 0 {
			t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
		}
		if code := wait(); code != 0 || sub.stdout.String() != want.String()+"\n" {
			t.Errorf("QoS %s: sub ended with %d and printed %d bytes, want %d", q, code, len(sub.stdout.String()), want.Len()+1)
		}
	}
}

// A line is sent when it is there, not when the input ends.
func TestPubLinesDoesNotWaitForTheEnd(t *testing.T) {
	b := fake.NewBroker(t, nil)
	r, w := io.Pipe()
	pub := run{stdin: r}
	code := make(chan int, 1)
	var sub run
	wait := background(t, &sub, b, "-t", "a", "-C", "1")
	go func() { code <- pub.do(t, "pub", at(b, "-t", "a", "-l")...) }()
	_, _ = io.WriteString(w, "now\n")
	if wait() != 0 || sub.stdout.String() != "now\n" {
		t.Errorf("sub printed %q", sub.stdout.String())
	}
	_ = w.Close()
	if c := <-code; c != 0 {
		t.Errorf("pub ended with %d: %s", c, pub.stderr.String())
	}
}

// The end of the connection ends -l although standard input says nothing.
func TestPubLinesNoticesTheEndOfTheConnection(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	s := fake.Start(t, nil, func(c *fake.Conn) {
		if c.Greet(mqtt.Connack{}) {
			c.Send((&mqtt.Disconnect{Reason: mqtt.ServerShuttingDown}).Append(nil, mqtt.V5, 0))
		}
	})
	pub := run{stdin: r}
	if code := pub.do(t, "pub", "-h", s.Host, "-p", fmt.Sprint(s.Port), "--protocol", "mqtt", "-t", "a", "-l"); code != client.ExitFailed {
		t.Errorf("pub ended with %d: %s", code, pub.stderr.String())
	}
}

func TestPubSources(t *testing.T) {
	b := fake.NewBroker(t, nil)
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("from\na file\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin, want string
		args        []string
	}{
		{"", "from\na file\x00", []string{"-f", file}},
		{"all\nof it\n", "all\nof it\n", []string{"-s"}},
		{"", "text", []string{"-m", "text"}},
	} {
		pub := run{stdin: strings.NewReader(c.stdin)}
		if code := pub.do(t, "pub", at(b, append(c.args, "-t", "r", "-r", "-q", "1")...)...); code != 0 {
			t.Fatalf("%q ended with %d: %s", c.args, code, pub.stderr.String())
		}
		if got, _ := b.Retained("r"); got != c.want {
			t.Errorf("%q published %q", c.args, got)
		}
	}
}

func TestPubRepeats(t *testing.T) {
	b := fake.NewBroker(t, nil)
	var sub, pub run
	wait := background(t, &sub, b, "-t", "a", "-C", "3", "-N")
	if code := pub.do(t, "pub", at(b, "-t", "a", "-m", "x", "--repeat", "3", "--repeat-delay", "0.01")...); code != 0 {
		t.Errorf("pub ended with %d", code)
	}
	if wait() != 0 || sub.stdout.String() != "xxx" {
		t.Errorf("sub printed %q", sub.stdout.String())
	}
}

func TestPubDenied(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-q", "1"}, client.ExitNotAuthorized, `not authorized to publish to "denied/a"`},
		{[]string{"-q", "2"}, client.ExitNotAuthorized, "refused with: redoubt why assigned-1\n"},
		{[]string{"-q", "1", "-i", "c", "-x", "60"}, client.ExitNotAuthorized, "redoubt why c publish denied/a"},
		{[]string{"-q", "1", "-V", "311", "-i", "c"}, client.ExitFailed, "MQTT 3.1.1 has no refusal of a message"},
		{[]string{"-q", "1", "--quiet"}, client.ExitNotAuthorized, ""},
	} {
		b := fake.NewBroker(t, nil)
		pub := run{}
		if code := pub.do(t, "pub", at(b, append(c.args, "-u", "u", "-t", "denied/a", "-m", "x")...)...); code != c.code {
			t.Errorf("%q ended with %d, want %d", c.args, code, c.code)
		}
		if got := pub.stderr.String(); !strings.Contains(got, c.says) || c.says == "" && got != "" {
			t.Errorf("%q says %q", c.args, got)
		}
	}
}

// One refused line is told and does not stop the others; the exit code remembers.
func TestPubLinesGoOnAfterARefusal(t *testing.T) {
	b := fake.NewBroker(t, nil)
	pub := run{stdin: strings.NewReader("1\n2\n3\n")}
	if code := pub.do(t, "pub", at(b, "-t", "denied/a", "-l", "-q", "1")...); code != client.ExitNotAuthorized {
		t.Errorf("pub ended with %d", code)
	}
	if n := strings.Count(pub.stderr.String(), "not authorized to publish"); n != 3 {
		t.Errorf("%d refusals were told: %s", n, pub.stderr.String())
	}
	if d := b.Disconnects(); len(d) != 1 {
		t.Errorf("%d DISCONNECTs", len(d))
	}
}

func TestSubDenied(t *testing.T) {
	b := fake.NewBroker(t, nil)
	var sub run
	if code := sub.do(t, "sub", at(b, "-t", "denied/a", "-t", "denied/b")...); code != client.ExitNotAuthorized {
		t.Errorf("sub ended with %d", code)
	}
	for _, f := range []string{"denied/a", "denied/b"} {
		if !strings.Contains(sub.stderr.String(), "not authorized to subscribe to \""+f) {
			t.Errorf("says nothing of %s: %s", f, sub.stderr.String())
		}
	}
	// What is allowed goes on.
	var partly run
	if code := partly.do(t, "sub", at(b, "-t", "denied/a", "-t", "ok", "-E")...); code != 0 {
		t.Errorf("sub of two filters, one denied, ended with %d", code)
	}
	if !strings.Contains(partly.stderr.String(), "denied/a") {
		t.Errorf("says nothing of the denied one: %s", partly.stderr.String())
	}
}

func TestSubChoosesWhatItPrints(t *testing.T) {
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"everything", "old\nnew\nother\n", []string{"-C", "3"}},
		{"no retained ones", "new\nother\n", []string{"-R", "-C", "2"}},
		{"no retained ones in 3.1.1", "new\nother\n", []string{"-R", "-C", "2", "-V", "311"}},
		{"retained ones only", "old\n", []string{"--retained-only"}},
		{"not from some topics", "old\nnew\n", []string{"-T", "x/other", "-C", "2"}},
		{"the first", "old\n", []string{"-C", "1"}},
		{"formatted", "x/old|old|1|3\n", []string{"-C", "1", "-F", "%t|%p|%r|%l"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := fake.NewBroker(t, nil)
			var before, pub, sub run
			if before.do(t, "pub", at(b, "-t", "x/old", "-m", "old", "-r", "-q", "1")...) != 0 {
				t.Fatal(before.stderr.String())
			}
			wait := background(t, &sub, b, append(c.args, "-t", "x/+")...)
			for _, m := range []string{"new", "other"} {
				if pub.do(t, "pub", at(b, "-t", "x/"+m, "-m", m, "-q", "1")...) != 0 {
					t.Fatal(pub.stderr.String())
				}
			}
			if code := wait(); code != 0 {
				t.Errorf("sub ended with %d: %s", code, sub.stderr.String())
			}
			if got := sub.stdout.String(); got != c.want {
				t.Errorf("printed %q, want %q", got, c.want)
			}
		})
	}
}

func TestSubTimesOut(t *testing.T) {
	b := fake.NewBroker(t, nil)
	var sub run
	if code := sub.do(t, "sub", at(b, "-t", "a", "-W", "0.05")...); code != client.ExitTimeout {
		t.Errorf("sub ended with %d", code)
	}
	if !strings.Contains(sub.stderr.String(), "timed out after 50ms (-W)") {
		t.Errorf("says %q", sub.stderr.String())
	}
	if len(b.Disconnects()) != 1 {
		t.Error("left without DISCONNECT: the will would be published")
	}
}

func TestPubTimesOut(t *testing.T) {
	s := fake.Start(t, nil, func(c *fake.Conn) {
		if c.Greet(mqtt.Connack{}) {
			c.Want(mqtt.PUBLISH)
			c.Want(mqtt.DISCONNECT)
		}
	})
	silent := fake.Start(t, nil, (*fake.Conn).Drain)
	for _, server := range []*fake.Server{s, silent} {
		var pub run
		code := pub.do(t, "pub", "-h", server.Host, "-p", fmt.Sprint(server.Port), "--protocol", "mqtt", "-t", "a", "-m", "x", "-q", "1", "-W", "0.05")
		if code != client.ExitTimeout {
			t.Errorf("pub ended with %d: %s", code, pub.stderr.String())
		}
	}
}

func TestInterruptedSubHasDoneItsJob(t *testing.T) {
	b := fake.NewBroker(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	sub := run{ctx: ctx}
	wait := background(t, &sub, b, "-t", "a")
	cancel()
	if code := wait(); code != 0 {
		t.Errorf("sub ended with %d: %s", code, sub.stderr.String())
	}
	if len(b.Disconnects()) != 1 {
		t.Error("left without DISCONNECT")
	}
}

func TestInterruptedPubHasNot(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := fake.Start(t, nil, func(c *fake.Conn) {
		if c.Greet(mqtt.Connack{}) {
			c.Want(mqtt.PUBLISH)
			cancel()
			c.Want(mqtt.DISCONNECT)
		}
	})
	pub := run{ctx: ctx}
	code := pub.do(t, "pub", "-h", s.Host, "-p", fmt.Sprint(s.Port), "--protocol", "mqtt", "-t", "a", "-m", "x", "-q", "1")
	if code != client.ExitFailed || !strings.Contains(pub.stderr.String(), "interrupted before") {
		t.Errorf("pub ended with %d: %s", code, pub.stderr.String())
	}
}

// At QoS 0 the refusal comes, if at all, while pub says goodbye.
func TestPubTellsARefusalAtQoS0(t *testing.T) {
	s := fake.Start(t, nil, func(c *fake.Conn) {
		if c.Greet(mqtt.Connack{}) {
			c.Want(mqtt.PUBLISH)
			c.Want(mqtt.DISCONNECT)
			c.Send((&mqtt.Disconnect{Reason: mqtt.NotAuthorized}).Append(nil, mqtt.V5, 0))
		}
	})
	var pub run
	code := pub.do(t, "pub", "-h", s.Host, "-p", fmt.Sprint(s.Port), "--protocol", "mqtt", "-t", "a", "-m", "x")
	if code != client.ExitNotAuthorized || !strings.Contains(pub.stderr.String(), "DISCONNECT 0x87") {
		t.Errorf("pub ended with %d: %s", code, pub.stderr.String())
	}
}

func TestPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("geheim\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := Defaults{Password: secret.FromString("geheim"), HasPassword: true}
	wrong := Defaults{Password: secret.FromString("wrong"), HasPassword: true}
	for _, c := range []struct {
		name     string
		defaults Defaults
		stdin    string
		args     []string
		code     int
	}{
		{"flag", wrong, "", []string{"-u", "u", "-P", "geheim"}, 0},
		{"file", wrong, "", []string{"-u", "u", "--password-file", file}, 0},
		{"standard input", wrong, "geheim\n", []string{"-u", "u", "--password-file", "-"}, 0},
		{"environment", env, "", []string{"-u", "u"}, 0},
		{"environment, no user name", env, "", nil, client.ExitNotAuthorized},
		{"wrong", wrong, "", []string{"-u", "u"}, client.ExitNotAuthorized},
		{"none", Defaults{}, "", []string{"-u", "u"}, client.ExitNotAuthorized},
		{"empty file", env, "\n", []string{"-u", "u", "--password-file", "-"}, client.ExitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := fake.NewBroker(t, nil)
			b.Password = "geheim"
			r := run{defaults: c.defaults, stdin: strings.NewReader(c.stdin)}
			if code := r.do(t, "pub", at(b, append(c.args, "-t", "a", "-m", "x", "-d")...)...); code != c.code {
				t.Errorf("ended with %d, want %d: %s", code, c.code, r.stderr.String())
			}
			if strings.Contains(r.stderr.String(), "geheim") || strings.Contains(r.stderr.String(), "wrong:") {
				t.Errorf("the password is in %s", r.stderr.String())
			}
		})
	}
}

// The CA of the data directory is trusted by default; another one is, if named.
func TestDefaultCA(t *testing.T) {
	current := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	dir := t.TempDir()
	ca, other := fake.NewAuthority(t, "Plant CA", current), fake.NewAuthority(t, "Other CA", current)
	caFile, otherFile := ca.File(dir, "ca.pem"), other.File(dir, "other.pem")
	b := fake.NewBroker(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf("broker", current)}})
	for _, c := range []struct {
		byDefault string
		args      []string
		code      int
	}{
		{caFile, nil, 0},
		{otherFile, nil, client.ExitTLS},
		{otherFile, []string{"--cafile", caFile}, 0},
		{caFile, []string{"--cafile", otherFile}, client.ExitTLS},
		{caFile, []string{"--tls-use-os-certs"}, client.ExitTLS},
		{otherFile, []string{"--capath", dir}, 0},
	} {
		r := run{defaults: Defaults{CAFile: c.byDefault}}
		args := append(c.args, "-h", "localhost", "-p", fmt.Sprint(b.Port), "-t", "a", "-m", "x", "-q", "1")
		if code := r.do(t, "pub", args...); code != c.code {
			t.Errorf("default %s, %q: ended with %d, want %d: %s", filepath.Base(c.byDefault), c.args, code, c.code, r.stderr.String())
		}
	}
}

func TestJSON(t *testing.T) {
	b := fake.NewBroker(t, nil)
	sub, pub, denied := run{json: true}, run{json: true}, run{json: true}
	wait := background(t, &sub, b, "-t", "a", "-C", "2", "-q", "1")
	if code := pub.do(t, "pub", at(b, "-t", "a", "-m", "<é>", "-q", "1", "-D", "publish", "user-property", "k", "v",
		"-D", "publish", "content-type", "text/plain", "-D", "publish", "message-expiry-interval", "9")...); code != 0 {
		t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
	}
	pub.stdin = strings.NewReader("\xff\x00")
	if code := pub.do(t, "pub", at(b, "-t", "a", "-s")...); code != 0 {
		t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
	}
	if wait() != 0 {
		t.Fatalf("sub: %s", sub.stderr.String())
	}
	var got []map[string]any
	for d := json.NewDecoder(strings.NewReader(sub.stdout.String())); d.More(); {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%v in %s", err, sub.stdout.String())
		}
		if _, err := time.Parse(time.RFC3339Nano, m["tst"].(string)); err != nil {
			t.Error(err)
		}
		delete(m, "tst")
		got = append(got, m)
	}
	want := []map[string]any{
		{"topic": "a", "qos": 1.0, "retain": 0.0, "payloadlen": 4.0, "mid": got[0]["mid"], "payload": "<é>", "properties": map[string]any{
			"message-expiry-interval": 9.0, "content-type": "text/plain", "user-properties": []any{map[string]any{"name": "k", "value": "v"}},
		}},
		{"topic": "a", "qos": 0.0, "retain": 0.0, "payloadlen": 2.0, "payload_base64": "/wA="},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if lines := strings.Split(strings.TrimSpace(pub.stdout.String()), "\n"); len(lines) != 2 ||
		lines[0] != `{"topic":"a","qos":1,"retain":0,"payloadlen":4,"reason_code":0,"reason":"success"}` {
		t.Errorf("pub printed %q", lines)
	}
	if code := denied.do(t, "pub", at(b, "-t", "denied/a", "-m", "x", "-q", "1")...); code != client.ExitNotAuthorized {
		t.Errorf("denied pub ended with %d", code)
	}
	var e struct {
		Error struct {
			Kind     string
			ExitCode int `json:"exit_code"`
		}
	}
	if err := json.Unmarshal([]byte(denied.stderr.String()), &e); err != nil || e.Error.Kind != "publish_refused" || e.Error.ExitCode != 5 {
		t.Errorf("%v in %s", err, denied.stderr.String())
	}
}

// What a publisher chose cannot steer the terminal; a pipe gets the bytes.
func TestTerminalIsNotSteered(t *testing.T) {
	for terminal, want := range map[bool]string{true: "a\\x1b[2J \\x1b]0;x\\x07\ttext\n", false: "a\x1b[2J \x1b]0;x\x07\ttext\n"} {
		b := fake.NewBroker(t, nil)
		var pub run
		sub := run{terminal: terminal}
		wait := background(t, &sub, b, "-t", "#", "-C", "1", "-v")
		if code := pub.do(t, "pub", at(b, "-t", "a\x1b[2J", "-m", "\x1b]0;x\x07\ttext")...); code != 0 {
			t.Fatalf("pub ended with %d: %s", code, pub.stderr.String())
		}
		if wait() != 0 || sub.stdout.String() != want {
			t.Errorf("terminal %t: printed %q, want %q", terminal, sub.stdout.String(), want)
		}
	}
}

func TestWarnsOfPlaintextPasswords(t *testing.T) {
	for host, warns := range map[string]bool{"localhost": false, "127.0.0.1": false, "::1": false, "10.1.2.3": true, "broker.example": true} {
		if loopback(host) == warns {
			t.Errorf("%s counts as loopback: %t", host, !warns)
		}
	}
	var out output
	o := client.DefaultOptions()
	o.TLS, o.Host, o.Connect.HasPassword = nil, "10.1.2.3", true
	new(common).warnPlaintext(newPrinter(IO{Stderr: &out}, "pub", false), &o)
	if !strings.Contains(out.String(), "in the clear") {
		t.Errorf("says %q", out.String())
	}
}

func TestConnectFailureHasItsExitCode(t *testing.T) {
	b := fake.NewBroker(t, nil)
	b.Close()
	for _, command := range []string{"pub", "sub"} {
		args := at(b, "-t", "a")
		if command == "pub" {
			args = append(args, "-m", "x")
		}
		var r run
		if code := r.do(t, command, args...); code != client.ExitCannotConnect {
			t.Errorf("%s ended with %d: %s", command, code, r.stderr.String())
		}
		if !strings.HasPrefix(r.stderr.String(), "redoubt "+command+": connection to 127.0.0.1:") {
			t.Errorf("%s says %q", command, r.stderr.String())
		}
	}
}
