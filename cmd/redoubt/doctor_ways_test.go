package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Listeners on QUIC, on a unix socket and behind a proxy are judged by probes, as those on TCP are.
func TestDoctorOnEveryKindOfListener(t *testing.T) {
	withoutSecrets(t)
	b := everyKind(t)
	rep, text, _ := examineBy(t, testkit.Binary(t), b, "--only", "P1.4,P3.1,P3.2,P3.3,P3.4,P3.5,P4.1,P4.4")
	want := map[string]string{}
	for _, name := range []string{"udp", "gadgets", "near"} {
		for _, id := range []string{"P3.1", "P3.2", "P3.3", "P4.1", "P4.4"} {
			want[name+" "+id] = "pass"
		}
		want[name+" P3.4"], want[name+" P3.5"] = "not_applicable", "not_applicable"
	}
	want["gadgets P3.4"], want["gadgets P3.5"], want["gadgets P4.1"] = "pass", "pass", "not_applicable"
	want["near P1.4"], want["far P1.4"] = "pass", "unknown"
	want["local P3.1"], want["local P3.5"], want["local P4.1"], want["local P4.4"] = "not_applicable", "not_applicable", "pass", "not_applicable"
	want["far P3.1"], want["far P4.1"] = "unknown", "unknown"
	seen := map[string]bool{}
	for _, f := range rep.Results {
		id, _, _ := strings.Cut(f.ID, "-")
		name, at, _ := strings.Cut(strings.TrimPrefix(f.Scope, "listener:"), "@")
		if state, judged := want[name+" "+id]; judged {
			seen[name+" "+id] = true
			if f.State != state {
				t.Errorf("%s %s is %s, want %s: %s", id, f.Scope, f.State, state, f.Summary)
			}
		}
		if (name == "udp" || name == "gadgets") != strings.HasPrefix(at, "udp:") && id != "P1.4" {
			t.Errorf("%s %s does not say what it is on", id, f.Scope)
		}
	}
	for what := range want {
		if !seen[what] {
			t.Errorf("%s was not judged", what)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if r := b.Redoubt("", "ban", "list", "-o", "json"); r.Code != 0 || strings.Contains(r.Stdout, "probe-") {
		t.Errorf("a ban is left: %s", r.Text())
	}
}

// everyKind is a broker with listeners on QUIC, for users and for devices, on a unix socket, behind a proxy that the
// doctor can be, and behind one that it cannot.
func everyKind(t *testing.T) *testkit.Broker {
	t.Helper()
	data := filepath.Join(testkit.TempDir(t), "data")
	for _, words := range [][]string{{"init"}, {"cert", "ca", "init"}} {
		if r := testkit.Exec(t, 30*time.Second, "", append(append([]string{testkit.Command(t)}, words...), "--data-dir", data)...); r.Code != 0 {
			t.Fatal(r.Text())
		}
	}
	devices := filepath.Join(data, "certs", "devices")
	return testkit.Start(t, testkit.Options{
		DataDir: data,
		Listeners: fmt.Sprintf(`  udp: { protocol: quic, bind: ["127.0.0.1:%d"] }
  gadgets:
    protocol: quic
    bind: ["127.0.0.1:%d"]
    authn: certificates
    tls: { client_cert: required, client_ca: [%s], crl: { files: [%s] } }
  local: { protocol: unix, bind: [%s] }
  near: { protocol: mqtts, bind: ["127.0.0.1:%d"], proxy_protocol: required, proxy_sources: ["127.0.0.1/32"] }
  far: { protocol: mqtts, bind: ["127.0.0.1:%d"], proxy_protocol: required, proxy_sources: ["192.0.2.5/32"] }
`, testkit.FreePort(t), testkit.FreePort(t), filepath.Join(devices, "ca.pem"), filepath.Join(devices, "crl.pem"), filepath.Join(data, "m.sock"), testkit.FreePort(t), testkit.FreePort(t)),
		Config: "flapping: {connects: 15}\nauthn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
}
