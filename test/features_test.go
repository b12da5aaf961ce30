package test

import (
	"bufio"
	"encoding/json"
	"fmt"
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
	f := startFeatures(t)
	t.Run("libraries", func(t *testing.T) {
		for _, s := range []struct {
			name  string
			web   bool
			cases []string
			argv  []string
		}{
			{"paho", false, pahoFeatures, []string{python, clientFile(t, "paho_features.py")}},
			{"paho over WebSocket", true, pahoFeatures, []string{python, clientFile(t, "paho_features.py")}},
			{"js", false, mqttjsFeatures, []string{testkit.Need(t, "node"), clientFile(t, "mqttjs_features.js")}},
			{"js over WebSocket", true, mqttjsFeatures, []string{testkit.Need(t, "node"), clientFile(t, "mqttjs_features.js")}},
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
	mqttjsFeatures = append(in("v5", onlyV5), in("v31 v311 v5", everyVersion)...)
)
