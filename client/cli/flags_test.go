package cli

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

var rewrite = flag.Bool("rewrite", false, "record the outputs anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// documented are the options in mosquitto_pub(1) and mosquitto_sub(1) of
// Mosquitto 2.0, and whether they take a value.
var documented = map[string]map[string]bool{
	"both": {
		"-A": true, "-c": false, "--disable-clean-session": false, "--cafile": true, "--capath": true, "--cert": true, "--ciphers": true,
		"-d": false, "--debug": false, "-D": true, "--property": true, "--help": false, "-h": true, "--host": true, "-i": true, "--id": true,
		"-I": true, "--id-prefix": true, "--insecure": false, "-k": true, "--keepalive": true, "--key": true, "--keyform": true,
		"-L": true, "--url": true, "--nodelay": false, "-p": true, "--port": true, "-P": true, "--pw": true, "--proxy": true,
		"--psk": true, "--psk-identity": true, "-q": true, "--qos": true, "--quiet": false, "-S": false, "-t": true, "--topic": true,
		"--tls-alpn": true, "--tls-engine": true, "--tls-engine-kpass-sha1": true, "--tls-use-os-certs": false, "--tls-version": true,
		"-u": true, "--username": true, "--unix": true, "-V": true, "--protocol-version": true, "--will-payload": true, "--will-qos": true,
		"--will-retain": false, "--will-topic": true, "-x": true,
	},
	"pub": {
		"-f": true, "--file": true, "-l": false, "--stdin-line": false, "-m": true, "--message": true, "-M": true, "-n": false,
		"--null-message": false, "-r": false, "--retain": false, "--repeat": true, "--repeat-delay": true, "-s": false, "--stdin-file": false,
	},
	"sub": {
		"-C": true, "-E": false, "-F": true, "-N": false, "--pretty": false, "-R": false, "--random-filter": true, "--remove-retained": false,
		"--retained-only": false, "--retain-as-published": false, "-T": true, "--filter-out": true, "-U": true, "--unsubscribe": true,
		"-v": false, "--verbose": false, "-W": true,
	},
}

// mqttx are MQTTX's long options that mean the same here.
var mqttx = []string{"--hostname", "--port", "--topic", "--message", "--qos", "--retain", "--username", "--password", "--client-id",
	"--protocol", "--ca", "--cert", "--key", "--insecure", "--mqtt-version", "--keepalive", "--session-expiry-interval", "--no-clean",
	"--will-topic", "--will-message", "--will-qos", "--will-retain"}

func flagsOf(command string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	if command == "pub" {
		NewPub(fs)
	} else {
		NewSub(fs)
	}
	return fs
}

// Every documented option is known, under its name and with or without a value as
// documented: a script gets what it means or an error in words, never something
// else.
func TestEveryMosquittoOptionIsKnown(t *testing.T) {
	for _, command := range []string{"pub", "sub"} {
		fs := flagsOf(command)
		for _, group := range []string{"both", command} {
			for option, takesValue := range documented[group] {
				name := strings.TrimLeft(option, "-")
				f := fs.Lookup(name)
				if !strings.HasPrefix(option, "--") {
					f = fs.ShorthandLookup(name)
				}
				if f == nil {
					t.Errorf("%s: %s is unknown", command, option)
					continue
				}
				if wants := f.NoOptDefVal == ""; wants != takesValue && name != "random-filter" {
					t.Errorf("%s: %s takes a value: %v, in mosquitto: %v", command, option, wants, takesValue)
				}
			}
		}
	}
}

func TestMQTTXLongOptionsAreKnown(t *testing.T) {
	pub, sub := flagsOf("pub"), flagsOf("sub")
	for _, option := range mqttx {
		name := strings.TrimPrefix(option, "--")
		if pub.Lookup(name) == nil {
			t.Errorf("pub: %s is unknown", option)
		}
		if sub.Lookup(name) == nil && name != "message" && name != "retain" {
			t.Errorf("sub: %s is unknown", option)
		}
	}
}

// No flag may take a letter that the program's own global flags have.
func TestLeavesOutputToTheProgram(t *testing.T) {
	for _, command := range []string{"pub", "sub"} {
		fs := flagsOf(command)
		for _, taken := range []string{"output", "config", "data-dir"} {
			if fs.Lookup(taken) != nil {
				t.Errorf("%s has --%s", command, taken)
			}
		}
		if fs.ShorthandLookup("o") != nil {
			t.Errorf("%s has -o", command)
		}
	}
}

// TestFlags turns the command lines in testdata/*.txt into what they mean.
func TestFlags(t *testing.T) {
	for _, command := range []string{"pub", "sub"} {
		path := filepath.Join("testdata", command+".txt")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, section := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
			input, want, _ := strings.Cut(section, "\n----")
			want = strings.TrimPrefix(want, "\n")
			var comments, line []string
			for _, l := range strings.Split(input, "\n") {
				if strings.HasPrefix(l, "#") {
					comments = append(comments, l)
				} else {
					line = append(line, l)
				}
			}
			got := meaning(t, command, words(t, strings.Join(line, " ")))
			if got != want && !*rewrite {
				t.Errorf("%s %s\ngot:\n%s\nwant:\n%s", command, strings.Join(line, " "), got, want)
			}
			fmt.Fprintf(&out, "%s\n----\n%s\n\n", strings.Join(append(comments, line...), "\n"), got)
		}
		if *rewrite {
			if err := os.WriteFile(path, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// words splits like a shell, as far as the cases need it: blanks and single
// quotes.
func words(t *testing.T, s string) (out []string) {
	t.Helper()
	var word strings.Builder
	in, quoted := false, false
	for _, r := range s {
		switch {
		case r == '\'':
			quoted, in = !quoted, true
		case r == ' ' && !quoted:
			if in {
				out = append(out, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quoted {
		t.Fatalf("open quote in %q", s)
	}
	if in {
		out = append(out, word.String())
	}
	return out
}

// meaning parses a command line and says what would be done, or why not.
func meaning(t *testing.T, command string, args []string) string {
	t.Helper()
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	var pub *Pub
	var sub *Sub
	if command == "pub" {
		pub = NewPub(fs)
	} else {
		sub = NewSub(fs)
	}
	var said strings.Builder
	in := IO{Stdin: strings.NewReader("first line\nthe rest\n"), Stdout: &said, Stderr: &said, ProcessID: 4711}
	d := Defaults{CAFile: "default-ca.pem"}
	if err := fs.Parse(args); err != nil {
		err = UsageError(command, err, in)
		return strings.TrimSpace(said.String()) + exit(err)
	}
	var o client.Options
	var rest []string
	var err error
	if pub != nil {
		var plan *pubPlan
		if plan, err = pub.plan(fs.Args(), d, in); err == nil {
			o, rest = plan.options, sayPub(pub, plan)
		}
	} else {
		var plan *subPlan
		if plan, err = sub.plan(fs.Args(), d, in); err == nil {
			o, rest = plan.options, saySub(sub, plan)
		}
	}
	if err != nil {
		err = newPrinter(in, command, false).fail(withUsage(command, err))
		return strings.TrimSpace(said.String()) + exit(err)
	}
	return strings.Join(append(sayOptions(&o), rest...), "\n")
}

func exit(err error) string {
	var e interface{ ExitCode() int }
	errors.As(err, &e)
	return fmt.Sprintf("\nexit %d", e.ExitCode())
}

// sayOptions tells a connection, leaving out what is as it is by default.
func sayOptions(o *client.Options) []string {
	d := client.DefaultOptions()
	var s []string
	add := func(differs bool, format string, args ...any) {
		if differs {
			s = append(s, fmt.Sprintf(format, args...))
		}
	}
	c := &o.Connect
	add(o.WebSocket != "", "websocket %s", o.WebSocket)
	where := "plaintext"
	if o.TLS != nil {
		where = "tls"
		add(true, "%s %s:%d", where, o.Host, o.Port)
		add(o.TLS.CAFile != "default-ca.pem" || o.TLS.CAPath != "", "trust file=%q path=%q", o.TLS.CAFile, o.TLS.CAPath)
		add(o.TLS.CertFile != "", "certificate %s key %s", o.TLS.CertFile, o.TLS.KeyFile)
		add(o.TLS.SkipHostName, "any host name")
	} else {
		add(true, "%s %s:%d", where, o.Host, o.Port)
	}
	add(c.Version != d.Connect.Version, "version %s", c.Version)
	id := c.ClientID
	if strings.HasPrefix(id, "redoubt-") && len(id) == 20 {
		id = "redoubt-RANDOM"
	}
	add(id != "", "client id %s", id)
	add(c.HasUsername, "user %q", c.Username)
	add(c.HasPassword, "password %q", o.Password.Reveal())
	add(!c.CleanStart, "resume")
	add(c.SessionExpiry == math.MaxUint32, "session expiry never")
	add(c.SessionExpiry != 0 && c.SessionExpiry != math.MaxUint32, "session expiry %d", c.SessionExpiry)
	add(c.KeepAlive != d.Connect.KeepAlive, "keep alive %d", c.KeepAlive)
	add(o.Inflight != client.DefaultInflight, "inflight %d", o.Inflight)
	add(o.ConnectTimeout != client.DefaultConnectTimeout, "connect timeout %s", o.ConnectTimeout)
	add(c.ReceiveMaximum != d.Connect.ReceiveMaximum, "receive maximum %d", c.ReceiveMaximum)
	add(c.MaximumPacketSize != d.Connect.MaximumPacketSize, "maximum packet size %d", c.MaximumPacketSize)
	add(c.TopicAliasMaximum != 0, "topic alias maximum %d", c.TopicAliasMaximum)
	add(c.RequestResponseInformation, "request response information")
	add(!c.RequestProblemInformation, "no problem information")
	add(c.UserProperties != nil, "connect user properties %v", c.UserProperties)
	if w := c.Will; w != nil {
		p, err := mqtt.ParsePublishProperties(w.Props)
		add(true, "will %s %q qos=%d retain=%t delay=%d expiry=%d %s", w.Topic, w.Payload, w.QoS, w.Retain, w.DelaySeconds, w.MessageExpiry, sayProps(&p))
		add(err != nil, "will properties: %v", err)
	}
	return s
}

func sayProps(p *mqtt.PublishProperties) string {
	var s []string
	if p.HasPayloadFormat {
		s = append(s, fmt.Sprintf("utf8=%t", p.PayloadIsUTF8))
	}
	for name, v := range map[string]string{"content-type": p.ContentType} {
		if v != "" {
			s = append(s, name+"="+v)
		}
	}
	if p.ResponseTopic != "" {
		s = append(s, "response-topic="+p.ResponseTopic)
	}
	if p.CorrelationData != nil {
		s = append(s, fmt.Sprintf("correlation=%q", p.CorrelationData))
	}
	for _, u := range p.UserProperties {
		s = append(s, fmt.Sprintf("user(%q=%q)", u.Name, u.Value))
	}
	return strings.Join(s, " ")
}

func sayPub(p *Pub, plan *pubPlan) []string {
	m := &plan.message
	s := []string{strings.TrimSpace(fmt.Sprintf("publish %s %q qos=%d retain=%t %s", m.Topic, m.Payload, m.QoS, m.Retain, sayProps(&m.Properties)))}
	if p.lines {
		s[0] = fmt.Sprintf("publish %s lines qos=%d retain=%t", m.Topic, m.QoS, m.Retain)
	}
	if m.HasMessageExpiry {
		s = append(s, fmt.Sprintf("message expiry %d", m.MessageExpiry))
	}
	if m.TopicAlias != 0 {
		s = append(s, fmt.Sprintf("topic alias %d", m.TopicAlias))
	}
	if p.repeat != 1 || p.repeatDelay != 0 {
		s = append(s, fmt.Sprintf("repeat %d delay %s", p.repeat, p.repeatDelay))
	}
	return append(s, sayCommon(&p.common, plan.disconnect)...)
}

func saySub(sub *Sub, plan *subPlan) (s []string) {
	for _, f := range plan.subscribe.Filters {
		s = append(s, fmt.Sprintf("subscribe %s qos=%d handling=%d as_published=%t", f.Filter, f.QoS, f.RetainHandling, f.RetainAsPublished))
	}
	for _, f := range plan.unsubscribe.Filters {
		s = append(s, "unsubscribe "+f)
	}
	if plan.subscribe.SubscriptionID != 0 || plan.subscribe.UserProperties != nil || plan.unsubscribe.UserProperties != nil {
		s = append(s, fmt.Sprintf("subscription id %d properties %v %v", plan.subscribe.SubscriptionID, plan.subscribe.UserProperties, plan.unsubscribe.UserProperties))
	}
	if len(sub.drop) > 0 {
		s = append(s, fmt.Sprintf("drop %q", sub.drop))
	}
	if sub.count != 0 || sub.exitSubscribed || sub.noRetained || sub.onlyRetained {
		s = append(s, fmt.Sprintf("count=%d exit_subscribed=%t no_retained=%t only_retained=%t", sub.count, sub.exitSubscribed, sub.noRetained, sub.onlyRetained))
	}
	sample := &client.Message{Topic: "T", Payload: []byte("P"), QoS: 1, PacketID: 9}
	if shown := string(plan.print(nil, sample)); shown != "P\n" {
		s = append(s, fmt.Sprintf("print %q", shown))
	}
	return append(s, sayCommon(&sub.common, plan.disconnect)...)
}

func sayCommon(c *common, d *mqtt.Disconnect) (s []string) {
	if c.wait != 0 {
		s = append(s, "wait "+c.wait.String())
	}
	if c.debug {
		s = append(s, "debug")
	}
	if c.quiet {
		s = append(s, "quiet")
	}
	if d.SessionExpiry != nil || d.UserProperties != nil {
		expiry := "unset"
		if d.SessionExpiry != nil {
			expiry = fmt.Sprint(*d.SessionExpiry)
		}
		s = append(s, fmt.Sprintf("disconnect session expiry %s %v", expiry, d.UserProperties))
	}
	return s
}
