package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// This file runs what client libraries expose of MQTT, feature by feature, against
// one broker that offers all of it. The cases are written in the languages of the
// libraries, in test/clients; here is the broker, and the list that nothing falls
// out of.

const featureConfig = `
limits: {packet_bytes: 64KiB}
mqtt:
  exclusive_subscriptions: true
  sys_interval: 1s
  response_information: "replies/"
  rewrite: [{action: all, source: "old/#", re: "^old/(.+)$", dest: "new/$1"}]
  auto_subscribe: [{topic: "auto/${clientid}", qos: 1}]
`

const featureRules = `version: 1
rules:
  - {allow: all, topics: ["devices/${username}/#", "tenants/${username}/#", "new/#", "auto/+", "replies/#"]}
  - {allow: subscribe, users: [dev1], topics: ["$SYS/broker/#", "$events/#"]}
`

// features is a broker with everything, and the doors beside the usual ones.
type features struct {
	*testkit.Broker
	tenant, small int
}

func startFeatures(t *testing.T) *features {
	t.Helper()
	f := &features{tenant: testkit.FreePort(t), small: testkit.FreePort(t)}
	f.Broker = start(t, testkit.Options{
		WebSocket: true, Config: featureConfig, Rules: featureRules,
		Listeners: fmt.Sprintf("  tenant: {protocol: mqtts, bind: [\"127.0.0.1:%d\"], mountpoint: \"tenants/${username}/\"}\n"+
			"  small: {protocol: mqtts, bind: [\"127.0.0.1:%d\"], mqtt: {max_qos: 1, retain: false, wildcard_subscriptions: false, shared_subscriptions: false}}\n", f.tenant, f.small),
	})
	return f
}

// TestFeatures: what each library exposes of MQTT works, over TLS and, where the
// library can, over WebSocket.
func TestFeatures(t *testing.T) {
	t.Parallel()
	f := startFeatures(t)
	goSuite := pahoGo(t)
	t.Run("libraries", func(t *testing.T) {
		t.Run("mosquitto", func(t *testing.T) {
			t.Parallel()
			f.mosquitto(t)
		})
		for _, s := range []struct {
			name  string
			web   bool
			cases []string
			argv  []string
		}{
			{"paho", false, pahoFeatures, []string{python, "-B", clientFile(t, "paho_features.py")}},
			{"paho over WebSocket", true, pahoFeatures, []string{python, "-B", clientFile(t, "paho_features.py")}},
			{"js", false, mqttjsFeatures, []string{testkit.Need(t, "node"), clientFile(t, "mqttjs_features.js")}},
			{"js over WebSocket", true, mqttjsFeatures, []string{testkit.Need(t, "node"), clientFile(t, "mqttjs_features.js")}},
			{"go", false, pahoGoFeatures, []string{goSuite, "-settings"}},
			{"go over WebSocket", true, pahoGoFeatures, []string{goSuite, "-settings"}},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				f.judge(t, s.name, s.web, s.cases, s.argv)
			})
		}
	})
}

// settings are suiteSettings and what the features need.
func (f *features) settings(t *testing.T, name string, web bool) string {
	t.Helper()
	at, path := f.Port, ""
	if web {
		at, path = f.WebSocket, "/mqtt"
	}
	text, err := json.Marshal(map[string]any{
		"host": "localhost", "port": at, "path": path, "ca": f.CA(), "tenant": f.tenant, "small": f.small, "name": strings.ReplaceAll(name, " ", "-"),
		"user": user, "password": password, "other": other, "other_password": otherPassword,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judge runs a suite and makes a subtest of every case; one that the suite did not
// report has failed, and one that nobody listed too.
func (f *features) judge(t *testing.T, name string, web bool, want, argv []string) {
	t.Helper()
	r := testkit.Exec(t, 2*time.Minute, "", append(argv, f.settings(t, name, web))...)
	got := make(map[string]report)
	for s := bufio.NewScanner(strings.NewReader(r.Stdout)); s.Scan(); {
		var line report
		if json.Unmarshal(s.Bytes(), &line) == nil {
			got[line.Case] = line
		}
	}
	for _, c := range want {
		if web && (strings.HasSuffix(c, "/mountpoint") || strings.HasSuffix(c, "/small_listener")) {
			continue // those listeners are not WebSocket
		}
		if web && name == "go over WebSocket" && (strings.HasPrefix(c, "v5/") || strings.HasSuffix(c, "/will")) {
			continue // paho.golang is handed a connection and makes no WebSocket; the other one's cannot be cut
		}
		t.Run(c, func(t *testing.T) {
			line, ok := got[c]
			switch {
			case !ok:
				t.Errorf("the suite did not report this case\n%s", r.Text())
			case !line.OK:
				t.Error(line.Detail)
			}
		})
		delete(got, c)
	}
	for c := range got {
		t.Errorf("the suite reports %s, which is not in the list", c)
	}
	if r.Code != 0 {
		t.Errorf("exit code %d\n%s", r.Code, r.Stderr)
	}
}

// pahoGo builds the suite of the two Go libraries, which is a module of its own.
func pahoGo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(testkit.TempDir(t), "pahogo")
	cmd := exec.Command("go", "test", "-c", "-o", binary, ".")
	cmd.Dir = clientFile(t, "pahogo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the rest that is not watched: with C, most of the library were compiled once more
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Go clients: %v (make deps fetches their modules)\n%s", err, out)
	}
	return binary
}

// in makes the names of cases.
func in(versions, names string) (out []string) {
	for v := range strings.FieldsSeq(versions) {
		for n := range strings.FieldsSeq(names) {
			out = append(out, v+"/"+n)
		}
	}
	return out
}

const (
	everyVersion = "round_trip resume will sys_topics events delayed exclusive rewrite auto_subscribe mountpoint shared"
	onlyV5       = "session_expiry will_delay alias_in alias_out maximum_packet subscription_identifiers no_local retain_options " +
		"message_expiry request_response user_properties server_keep_alive assigned_id reasons small_listener"
)

var (
	pahoFeatures   = append(in("v5", onlyV5), in("v31 v311 v5", everyVersion)...)
	pahoGoFeatures = append(in("v5", onlyV5+" receive_maximum"), in("v31 v311 v5", everyVersion)...)
	mqttjsFeatures = append(in("v5", onlyV5), in("v31 v311 v5", everyVersion)...)
)

// allOfMessage is a format of mosquitto_sub with what a message has beside its payload.
const allOfMessage = "got %t %p q%q r%r type=%C answer=%R id=%D expiry=%E subscription=%S user=%P alias=%A"

// mosquitto is what the options of mosquitto_pub and mosquitto_sub expose.
func (f *features) mosquitto(t *testing.T) {
	topic := func(name string) string { return "devices/" + user + "/mosquitto/" + name }
	for _, version := range mosquittoVersions {
		t.Run(version, func(t *testing.T) {
			everySub := func(filter string, args ...string) *testkit.Process {
				return sub(t, f.Broker, version, filter, append([]string{"-q", "1"}, args...)...)
			}
			a := everySub("old/mosquitto-"+version, "-i", "mosquitto-auto-"+version)
			mustPub(t, f.Broker, version, "old/mosquitto-"+version, "rewritten", "-q", "1")
			got(t, a, "new/mosquitto-"+version+" rewritten q1 r0")
			mustPub(t, f.Broker, version, "auto/mosquitto-auto-"+version, "unasked", "-q", "1")
			got(t, a, "auto/mosquitto-auto-"+version+" unasked q1 r0")
			a.Stop()
			a = everySub("$SYS/broker/version")
			got(t, a, "$SYS/broker/version redoubt version")
			a.Stop()
			a = everySub("$events/client/connected")
			b := everySub("$share/mosquitto-"+version+"/"+topic(version), "-i", "mosquitto-shared-"+version)
			got(t, a, "$events/client/connected {") // of whomever
			if _, ok := a.Stdout.WaitFor(patience, 0, "mosquitto-shared-"+version); !ok {
				t.Errorf("no event about it:\n%s", a.Stdout)
			}
			a.Stop()
			mustPub(t, f.Broker, version, "$delayed/1/"+topic(version), "later", "-q", "1")
			mustPub(t, f.Broker, version, topic(version), "now", "-q", "1")
			got(t, b, topic(version)+" later q1 r0")
			if s := b.Stdout.String(); strings.Index(s, " now ") > strings.Index(s, " later ") || !strings.Contains(s, " now ") {
				t.Errorf("it was not delayed:\n%s", s)
			}
			b.Stop()
		})
	}
	t.Run("properties", func(t *testing.T) {
		a := sub(t, f.Broker, "mqttv5", topic("p"), "-q", "1", "-F", allOfMessage, "-D", "subscribe", "subscription-identifier", "7",
			"-D", "connect", "topic-alias-maximum", "4", "--retain-as-published")
		mustPub(t, f.Broker, "mqttv5", topic("p"), "x", "-q", "1", "-r", "-D", "publish", "content-type", "text/plain",
			"-D", "publish", "response-topic", "replies/m", "-D", "publish", "correlation-data", "42", "-D", "publish", "message-expiry-interval", "100",
			"-D", "publish", "user-property", "b", "2", "-D", "publish", "user-property", "a", "1", "-D", "publish", "user-property", "b", "3", "-D", "publish", "topic-alias", "5")
		if text, ok := a.Stdout.WaitFor(patience, 0, topic("p")+" x q1 r1 type=text/plain answer=replies/m id=42 expiry="); !ok {
			t.Errorf("got:\n%s", text)
		}
		if text, ok := a.Stdout.WaitFor(patience, 0, "subscription=7 user=b:2 a:1 b:3"); !ok {
			t.Errorf("got:\n%s", text)
		}
		a.Stop()
		mustPub(t, f.Broker, "mqttv5", topic("p"), "", "-q", "1", "-r")
	})
	t.Run("session", func(t *testing.T) {
		args := []string{"-q", "1", "-c", "-i", "mosquitto-session", "-x", "100", "-D", "connect", "maximum-packet-size", "500"}
		sub(t, f.Broker, "mqttv5", topic("s"), args...).Stop()
		mustPub(t, f.Broker, "mqttv5", topic("s"), strings.Repeat("x", 500), "-q", "1")
		mustPub(t, f.Broker, "mqttv5", topic("s"), "small", "-q", "1")
		a := sub(t, f.Broker, "mqttv5", topic("s"), args...)
		got(t, a, topic("s")+" small q1 r0")
		if strings.Contains(a.Stdout.String(), "xxx") {
			t.Error("a message over the client's maximum was sent")
		}
		a.Stop()
	})
	t.Run("will delay", func(t *testing.T) {
		a := sub(t, f.Broker, "mqttv5", topic("w"), "-q", "1", "-F", allOfMessage)
		dying := sub(t, f.Broker, "mqttv5", topic("nothing"), "-i", "mosquitto-dying", "-x", "100", "-c", "--will-topic", topic("w"), "--will-payload", "gone", "--will-qos", "1",
			"-D", "will", "will-delay-interval", "1", "-D", "will", "user-property", "k", "v")
		dying.Signal(killed)
		dying.Wait(patience)
		mustPub(t, f.Broker, "mqttv5", topic("w"), "before", "-q", "1")
		got(t, a, topic("w")+" gone q1 r0")
		if s := a.Stdout.String(); !strings.Contains(s, "user=k:v") || strings.Index(s, " gone ") < strings.Index(s, " before ") {
			t.Errorf("got:\n%s", s)
		}
		a.Stop()
	})
	t.Run("reasons", func(t *testing.T) {
		r := pub(t, f.Broker, "mqttv5", topic("nobody"), "x", "-q", "1", "-d")
		if !strings.Contains(r.Text(), "RC:16") { // 0x10
			t.Errorf("mosquitto_pub says:\n%s", r.Text())
		}
		// mosquitto_rr asks once it may hear the answer.
		b := sub(t, f.Broker, "mqttv5", topic("rr"), "-F", allOfMessage)
		a := testkit.Go(t, "", "mosquitto_rr", "-h", "localhost", "-p", port(f.Broker), "--cafile", f.CA(), "-V", "mqttv5", "-u", user, "-P", password,
			"-t", topic("rr"), "-e", "replies/mosquitto", "-m", "question")
		got(t, b, topic("rr")+" question q0 r0 type= answer=replies/mosquitto")
		mustPub(t, f.Broker, "mqttv5", "replies/mosquitto", "this is it", "-q", "1")
		if r := a.Wait(patience); !strings.Contains(r.Stdout, "this is it") {
			t.Errorf("mosquitto_rr says:\n%s", r.Text())
		}
		b.Stop()
	})
}
