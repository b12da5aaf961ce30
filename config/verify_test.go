package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/secret"
)

func load(t *testing.T, text string) *Loaded {
	t.Helper()
	l, err := loadText(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDiff(t *testing.T) {
	from := load(t, "listeners: {old: {protocol: mqtt, bind: ['127.0.0.1:1883']}, mqtts: {tls: {certificates: [{cert: a, key: file:k}]}}}\nlimits: {inflight: 5}\n")
	to := load(t, "listeners: {new: {protocol: mqtt, bind: ['127.0.0.1:1884']}, mqtts: {tls: {certificates: [{cert: a, key: file:k}]}}}\nlog: {level: warn}\nlimits: {connections_per_prefix: {/24: 7}}\n")
	to.Config.Listeners["mqtts"].TLS.Certificates[0].Key.Value = secret.FromString("renewed")
	want := []Change{
		{"log.level", "info", "warn", Live, ""},
		{"listeners.mqtts.tls.certificates", `[{cert: /etc/redoubt/a, key: "file:/etc/redoubt/k"}]`, `[{cert: /etc/redoubt/a, key: "file:/etc/redoubt/k"}] (new content)`, NewConnections, ""},
		{"listeners.new.protocol", "", "mqtt", Restart, "listeners.new"},
		{"listeners.new.bind", "", `["127.0.0.1:1884"]`, Live, "listeners.new"},
		{"listeners.new.advertised", "", "[]", Live, "listeners.new"},
		{"listeners.new.access", "", "[]", Live, "listeners.new"},
		{"listeners.new.proxy_protocol", "", "off", NewConnections, "listeners.new"},
		{"listeners.new.proxy_sources", "", "[]", NewConnections, "listeners.new"},
		{"listeners.new.proxy_tls", "", "ignore", NewConnections, "listeners.new"},
		{"listeners.new.socket_mode", "", `"0660"`, Restart, "listeners.new"},
		{"listeners.new.mountpoint", "", `""`, NewConnections, "listeners.new"},
		{"listeners.new.authn", "", "default", NewConnections, "listeners.new"},
		{"listeners.new.mqtt.max_qos", "", "2", NewConnections, "listeners.new"},
		{"listeners.new.mqtt.retain", "", "true", NewConnections, "listeners.new"},
		{"listeners.new.mqtt.wildcard_subscriptions", "", "true", NewConnections, "listeners.new"},
		{"listeners.new.mqtt.shared_subscriptions", "", "true", NewConnections, "listeners.new"},
		{"listeners.new.limits.connections", "", "0", NewConnections, "listeners.new"},
		{"listeners.new.limits.connect_rate", "", "0", NewConnections, "listeners.new"},
		{"listeners.new.limits.publish_rate_total.messages", "", "0", Live, "listeners.new"},
		{"listeners.new.limits.publish_rate_total.bytes", "", "0", Live, "listeners.new"},
		{"listeners.new.limits.publish_rate_total.burst", "", "2s", Live, "listeners.new"},
		{"limits.inflight", "5", "32", Live, ""},
		{"limits.connections_per_prefix", "{/24: 20000, /32: 2000, /56: 20000, /64: 2000}", "{/24: 7, /32: 2000, /56: 20000, /64: 2000}", NewConnections, ""},
		{"listeners.old.protocol", "mqtt", "", Restart, "listeners.old"},
		{"listeners.old.bind", `["127.0.0.1:1883"]`, "", Live, "listeners.old"},
		{"listeners.old.advertised", "[]", "", Live, "listeners.old"},
		{"listeners.old.access", "[]", "", Live, "listeners.old"},
		{"listeners.old.proxy_protocol", "off", "", NewConnections, "listeners.old"},
		{"listeners.old.proxy_sources", "[]", "", NewConnections, "listeners.old"},
		{"listeners.old.proxy_tls", "ignore", "", NewConnections, "listeners.old"},
		{"listeners.old.socket_mode", `"0660"`, "", Restart, "listeners.old"},
		{"listeners.old.mountpoint", `""`, "", NewConnections, "listeners.old"},
		{"listeners.old.authn", "default", "", NewConnections, "listeners.old"},
		{"listeners.old.mqtt.max_qos", "2", "", NewConnections, "listeners.old"},
		{"listeners.old.mqtt.retain", "true", "", NewConnections, "listeners.old"},
		{"listeners.old.mqtt.wildcard_subscriptions", "true", "", NewConnections, "listeners.old"},
		{"listeners.old.mqtt.shared_subscriptions", "true", "", NewConnections, "listeners.old"},
		{"listeners.old.limits.connections", "0", "", NewConnections, "listeners.old"},
		{"listeners.old.limits.connect_rate", "0", "", NewConnections, "listeners.old"},
		{"listeners.old.limits.publish_rate_total.messages", "0", "", Live, "listeners.old"},
		{"listeners.old.limits.publish_rate_total.bytes", "0", "", Live, "listeners.old"},
		{"listeners.old.limits.publish_rate_total.burst", "2s", "", Live, "listeners.old"},
	}
	if got := Diff(from.Config, to.Config); !reflect.DeepEqual(got, want) {
		for _, c := range got {
			t.Errorf("%+v", c)
		}
	}
	if got := Diff(to.Config, to.Config); got != nil {
		t.Errorf("a configuration differs from itself: %v", got)
	}
}

func TestVerify(t *testing.T) {
	from := load(t, "")
	soft := load(t, "log: {level: debug}\nlimits: {inflight: 5, packet_bytes: 2MiB}\nauthz: {deny_action: disconnect}\n")
	if err := soft.Verify(from.Config); err != nil {
		t.Error(err)
	}
	if err := Verify(from.Config, soft.Config); err != nil {
		t.Error(err)
	}
	open := load(t, "listeners:\n  mqtts: {bind: [':8884']}\n  wss: {bind: [], path: /other}\n  mqtt: {protocol: mqtt, bind: ['127.0.0.1:1883']}\n")
	if err := open.Verify(from.Config); err != nil {
		t.Errorf("listeners come, go and move: %v", err)
	}
	if err := from.Verify(open.Config); err != nil {
		t.Errorf("and back: %v", err)
	}
	hard := load(t, "log:\n  level: debug\n  format: json\nlisteners:\n  mqtts: {tls: {profile: modern}}\n  wss: {path: /other}\n")
	want := strings.Join([]string{
		`/etc/redoubt/redoubt.yaml:3: log.format: changed from auto to json, which needs a restart. Nothing has been reloaded.`,
		`/etc/redoubt/redoubt.yaml:5: listeners.mqtts.tls.profile: changed from intermediate to modern, which needs a restart. Nothing has been reloaded.`,
		`/etc/redoubt/redoubt.yaml:6: listeners.wss.path: changed from /mqtt to /other, which needs a restart. Nothing has been reloaded.`,
	}, "\n")
	err := hard.Verify(from.Config)
	if err == nil {
		t.Fatal("a change that needs a restart passes")
	}
	var got []string
	for _, p := range err.(*Errors).Problems {
		p.Origin.Column = 0
		got = append(got, p.Error())
	}
	if strings.Join(got, "\n") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestVerifyKnowsEveryRestartKey changes one value at a time.
func TestVerifyKnowsEveryRestartKey(t *testing.T) {
	from := load(t, "")
	for _, lf := range leaves(from.Config) {
		to := load(t, "").Config
		for _, other := range leaves(to) {
			if other.key == lf.key && other.value.CanSet() {
				other.value.SetZero()
			}
		}
		changed := Diff(from.Config, to)
		if len(changed) == 0 {
			continue // zero already, or inside a map
		}
		if err := Verify(from.Config, to); (err != nil) != (lf.row.Reload == Restart) {
			t.Errorf("%s, %s: %v", lf.key, lf.row.Reload, err)
		}
	}
}
