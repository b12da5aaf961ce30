package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// kept are settings of run time, each a minute after the one before: key, value, and so on.
func kept(words ...string) (out []Kept) {
	for i := 0; i < len(words); i += 2 {
		out = append(out, Kept{Key: words[i], Value: words[i+1], At: now.Add(time.Duration(i) * time.Minute), UID: 7})
	}
	return out
}

// with layers what must not be an error.
func with(t *testing.T, l *Loaded, judge func(*Config) error, words ...string) *Loaded {
	t.Helper()
	out, err := l.With(kept(words...), judge)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// idle is what does not count, one line each.
func idle(l *Loaded) (out []string) {
	for _, i := range l.Idle() {
		out = append(out, fmt.Sprintf("%s %v: %s", i.Key, i.Pinned, i.Why))
	}
	return out
}

// Run time wins over defaults, and everything an operator wrote elsewhere over both.
func TestRunTimeLayer(t *testing.T) {
	base, err := loadText("limits:\n  inflight: 5\nlisteners:\n  inner: {protocol: mqtt, bind: ['127.0.0.1:1883']}\n", "REDOUBT_LOG__LEVEL=warn")
	if err != nil {
		t.Fatal(err)
	}
	before := *base.Config
	l := with(t, base, nil, "limits.inflight", "9", "log.level", "debug", "limits.packet_bytes", "2097152", "mqtt.versions", `["5.0"]`,
		"limits.connections_per_prefix", `{"/24": 7}`, "listeners.inner.mqtt.max_qos", "1", "listeners.mqtts.mqtt.retain", "false", "mqtt.response_information", "x # y: [z")
	c := l.Config
	if c.Limits.Inflight != 5 || c.Log.Level != "warn" || c.Limits.PacketBytes != 2<<20 || !slices.Equal(c.MQTT.Versions, []string{"5.0"}) ||
		c.Limits.ConnectionsPerPrefix["/24"] != 7 || c.Limits.ConnectionsPerPrefix["/32"] != 2000 || c.Listeners["inner"].MQTT.MaxQoS != 1 ||
		c.Listeners["mqtts"].MQTT.Retain || c.Listeners["mqtts"].MQTT.MaxQoS != 2 || c.MQTT.ResponseInformation != "x # y: [z" {
		t.Errorf("%s", l.YAML(true))
	}
	for key, want := range map[string]string{"limits.inflight": "/etc/redoubt/redoubt.yaml:2", "log.level": "env REDOUBT_LOG__LEVEL",
		"limits.packet_bytes": "set at run time 2026-11-20 15:08:05 UTC by uid 7", "limits.topic_levels": "default",
		"listeners.inner": "/etc/redoubt/redoubt.yaml:4"} {
		if o := l.Origin(key); o.String() != want || o.Pinned() == (o.Kind == FromRunTime || o.Kind == FromDefault) {
			t.Errorf("%s is from %s, want %s", key, o, want)
		}
	}
	if got, want := idle(l), []string{"limits.inflight true: the value of /etc/redoubt/redoubt.yaml:2 holds", "log.level true: the value of env REDOUBT_LOG__LEVEL holds"}; !slices.Equal(got, want) {
		t.Errorf("idle: %q", got)
	}
	if !reflect.DeepEqual(*base.Config, before) || base.Config.Limits.ConnectionsPerPrefix["/24"] != 20000 {
		t.Error("the configuration below has changed")
	}
	if again := with(t, l, nil); !reflect.DeepEqual(again.Config, base.Config) || again.Idle() != nil || again.Origin("limits.packet_bytes") != (Origin{}) {
		t.Errorf("without any of them:\n%s", again.YAML(true))
	}
}

// What no longer fits is left out, named, and costs nothing else.
func TestWhatNoLongerFits(t *testing.T) {
	base := load(t, "limits: {mqueue_bytes: 1MiB}\n")
	bad := ReadKept("limits.delayed_max", []byte(`{"format":2,"value":"1h"}`))
	none := ReadKept("limits.handshakes_total", []byte("\x00"))
	all := append(kept("limits.subscriptions", "50", "limits.gone", "1", "limits.topic_levels", "900", "limits.topic_aliases", "many", "listeners.away.mountpoint", "a/",
		"mqtt.versions", "5.0", "limits.user_properties", "", "log.level", "info\n", "node.name", "x", "mqtt.rewrite", "[]", "limits", "{}",
		"limits.packet_bytes", "2MiB", "limits.awaiting_rel", strings.Repeat("1", ValueBytesMax+1)), bad, none)
	l, err := base.With(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.Config.Limits.Subscriptions != 50 {
		t.Errorf("what fits does not count")
	}
	want := []string{
		"limits false: is a section. Set its keys one by one; redoubt config explain limits lists them",
		"limits.awaiting_rel false: the value has 8193 bytes; the most is 8192",
		"limits.delayed_max false: its record cannot be read: its format is 2, and this version reads 1",
		"limits.gone false: is no key. The sections are node, log, listeners, limits, mqtt, backends, authn, authz, certificates, flapping, bans, store, enroll, audit, admin, metrics, waivers",
		"limits.handshakes_total false: its record cannot be read: invalid character '\\x00' looking for beginning of value",
		"limits.packet_bytes false: limits.packet_bytes (2MiB) must not pass limits.mqueue_bytes (1MiB): a packet would never fit its queue. Lower the one or raise the other",
		`limits.topic_aliases false: "many" is not a whole number in decimal digits`,
		`limits.topic_levels false: "900" is out of range. Range: 1 to 128; default 10`,
		"limits.user_properties false: has no value. Write one, or remove the key for the default (64)",
		"listeners.away.mountpoint false: is of no listener: there is mqtts or wss. Listeners are made in the file",
		"log.level false: the value is not one line of text",
		`mqtt.rewrite false: belongs to the file: it is a list of sections, which is read as a whole. Write it there and run redoubt reload`,
		`mqtt.versions false: takes YAML in one line here, such as '["3.1", "3.1.1", "5.0"]'`,
		"node.name false: belongs to the file: it is needed before the log is open. Write it there and start the broker again",
	}
	if got := idle(l); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Of two that do not go together the older one stays, whatever they are called; what the
// file alone is refused for is an error.
func TestCombinationsThatAreRefused(t *testing.T) {
	base := load(t, "")
	l := with(t, base, nil, "limits.topic_bytes", "3KiB", "limits.packet_bytes", "2KiB", "limits.inflight", "7")
	if l.Config.Limits.TopicBytes != 3<<10 || l.Config.Limits.PacketBytes != 1<<20 || l.Config.Limits.Inflight != 7 || len(l.Idle()) != 1 || l.Idle()[0].Key != "limits.packet_bytes" {
		t.Errorf("%v, %s", idle(l), l.YAML(true))
	}
	l = with(t, base, nil, "limits.packet_bytes", "2KiB", "limits.topic_bytes", "3KiB", "limits.inflight", "7")
	if l.Config.Limits.PacketBytes != 2<<10 || l.Config.Limits.Inflight != 7 || len(l.Idle()) != 1 || l.Idle()[0].Key != "limits.topic_bytes" {
		t.Errorf("%v, %s", idle(l), l.YAML(true))
	}
	judge := func(c *Config) error {
		if c.Limits.Inflight > 100 {
			return errors.New("the machine is too small")
		}
		return nil
	}
	l = with(t, base, judge, "limits.inflight", "101", "limits.topic_levels", "3")
	if got := idle(l); !slices.Equal(got, []string{"limits.inflight false: the machine is too small"}) || l.Config.Limits.TopicLevels != 3 || l.Config.Limits.Inflight != 32 {
		t.Errorf("%v", got)
	}
	if _, err := base.With(nil, func(*Config) error { return errors.New("no") }); err == nil {
		t.Error("a file that is refused passes")
	}
	// What cures the file is no reason to take it: the file alone would not start.
	small := load(t, "limits: {inflight: 200}\n")
	if _, err := small.With(kept("limits.topic_levels", "3"), judge); err == nil || err.Error() != "the machine is too small" {
		t.Errorf("%v", err)
	}
}

func TestSettable(t *testing.T) {
	l, err := loadText("limits:\n  inflight: 5\nlisteners: {mqtts: {tls: {certificates: [{cert: a, key: file:k}]}}}\n", "REDOUBT_LOG__LEVEL=warn")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"limits.packet_bytes": "", "listeners.wss.mqtt.retain": "", "store.max_bytes": "", "authz.deny_action": "",
		"limits.inflight":                         "1 limits.inflight is set at /etc/redoubt/redoubt.yaml:2, and the file comes first. Change it there and run redoubt reload, or take it out there and set it here",
		"log.level":                               "1 log.level is set by env REDOUBT_LOG__LEVEL, which comes first. Change it where the broker is started and start it again, or take it out there and set it here",
		"limits.inflght":                          "0 limits.inflght is no key. Did you mean limits.inflight?",
		"listeners.<name>.authn":                  "0 listeners.<name>.authn is of no listener: there is mqtts or wss. Listeners are made in the file",
		"listeners.mqtts":                         "2 listeners.mqtts is a section. Set its keys one by one; redoubt config explain listeners.mqtts lists them",
		"listeners.mqtts.bind":                    "2 listeners.mqtts.bind belongs to the file: an entrance that cannot be opened would keep the broker from starting. Write it there and run redoubt reload",
		"listeners.wss.mountpoint":                "2 listeners.wss.mountpoint belongs to the file: it keeps tenants apart, and sessions belong to it. Write it there and run redoubt reload",
		"waivers":                                 "2 waivers belongs to the file: it is a list of sections, which is read as a whole. Write it there and run redoubt reload",
		"listeners.mqtts.tls.certificates[0].key": "0 listeners.mqtts.tls.certificates[0].key is no key. Did you mean listeners.mqtts.tls.certificates?",
	} {
		got := ""
		if err := l.Settable(key); err != nil {
			got = fmt.Sprintf("%d %v", err.(*KeyError).Fault, err)
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", key, got, want)
		}
	}
}

// TestNoSecretIsSettable: whatever becomes settable, secrets do not by accident, because
// the log would have them in the open.
func TestNoSecretIsSettable(t *testing.T) {
	settable := 0
	for _, r := range Rows() {
		if r.Kind == KindSecret && !r.fileOnly() {
			t.Errorf("%s can be set at run time; store the reference and nothing else, and test that", r.Key)
		}
		if r.Kind != KindSection && r.Kind != KindNames && !r.fileOnly() {
			settable++
		}
		if r.Kind == KindPath && !r.fileOnly() {
			t.Errorf("%s is a path: relative to what, when it is set at run time?", r.Key)
		}
	}
	if settable < 50 {
		t.Errorf("%d keys can be set at run time", settable)
	}
}

// Every key that may be set can be set to what it is.
func TestEverySettableKeyIsTaken(t *testing.T) {
	base := load(t, "")
	var words []string
	for _, s := range base.Settings() {
		text := s.Text
		if v, ok := s.Value.(string); ok {
			text = v
		}
		if base.Settable(s.Key) == nil {
			words = append(words, s.Key, text)
		}
	}
	l := with(t, base, nil, words...)
	if len(l.Idle()) > 0 || !reflect.DeepEqual(l.Config, base.Config) {
		t.Errorf("%v\n%s", idle(l), l.YAML(true))
	}
}

func TestKeptContent(t *testing.T) {
	k := Kept{Key: "log.level", Value: "debug", At: now, UID: 1000}
	if got := ReadKept(k.Key, k.Content()); !reflect.DeepEqual(got, k) {
		t.Errorf("%+v", got)
	}
	const text = `{"format":1,"value":"debug","at":"2026-11-20T15:04:05Z","uid":1000}`
	if string(k.Content()) != text {
		t.Errorf("%s", k.Content())
	}
	k = Kept{Key: "log.level", Value: "x", UID: -1}
	if got := ReadKept(k.Key, k.Content()); !reflect.DeepEqual(got, k) || got.origin().String() != "set at run time" {
		t.Errorf("%+v", got)
	}
}

// FuzzKept: no record and no value is a reason not to start.
func FuzzKept(f *testing.F) {
	f.Add("log.level", []byte(`{"format":1,"value":"debug","at":"2026-11-20T15:04:05Z","uid":1000}`))
	f.Add("mqtt.versions", []byte(`{"format":1,"value":"[&a \"5.0\", *a]"}`))
	f.Add("limits.connections_per_prefix", []byte(`{"format":1,"value":"{/24: {}}"}`))
	f.Add("listeners.mqtts.mqtt", []byte(`{}`))
	base, err := loadText("")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string, content []byte) {
		l, err := base.With([]Kept{ReadKept(key, content)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Idle()) == 0 && l.Origin(key).Kind != FromRunTime {
			t.Error("it neither counts nor is idle")
		}
	})
}
