package config

import (
	"strings"
	"testing"
)

// TestShownToPeople records what config show --origin and config explain say.
func TestShownToPeople(t *testing.T) {
	l, err := loadText(`limits:
  packet_bytes: 2MiB
listeners:
  mqtt:
    protocol: mqtt
    bind: [":1883"]
  mqtts: {tls: {certificates: [{cert: a.pem, key: credential:key}]}}
waivers:
  - {id: P1.4, scope: listeners.mqtt, reason: "sensors without TLS, until the new ones", owner: ops@example.com, expires: 2026-12-31}
`, "REDOUBT_LOG__LEVEL=warn")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/show.yaml", l.YAML(true))
	var b strings.Builder
	for _, key := range []string{
		"limits.packet_bytes", "log.level", "limits.connections_total", "node.name", "limits.publish_rate", "listeners", "listeners.mqtt", "listeners.mqtts.bind",
		"listeners.<name>.bind", "listeners.other.tls.profile", "authn.chains.default", "waivers", "limits.connect_rate_per_prefix", "mqtt.versions",
		"limits.packet_byte", "packet_bytes", "store", "backup", "listeners.mqtts.path", "nonsense", "", "limits.", "waivers[0].id", "log.level.x",
	} {
		b.WriteString("$ redoubt config explain " + key + "\n")
		if ex, err := l.Explain(key); err != nil {
			b.WriteString("error: " + err.Error() + "\n")
		} else {
			b.WriteString(ex.Text())
		}
		b.WriteString("\n")
	}
	golden(t, "testdata/explain.txt", []byte(b.String()))
}

func TestEveryKeyIsExplained(t *testing.T) {
	l := load(t, string(Example()))
	for _, s := range l.Settings() {
		ex, err := l.Explain(s.Key)
		if err != nil || !ex.Set || ex.text != s.Text || ex.Why == "" || ex.Env == "" || ex.Reload == "" {
			t.Errorf("%s: %+v, %v", s.Key, ex, err)
		}
	}
	for _, r := range Rows() {
		if strings.Contains(r.Key, "[]") {
			continue
		}
		if ex, err := l.Explain(r.Key); err != nil || ex.Why != r.Why {
			t.Errorf("%s: %v", r.Key, err)
		}
	}
}
