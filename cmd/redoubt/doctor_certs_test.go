package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// withDevices is a broker for users with passwords, on mqtts and wss, and for devices with
// certificates of its CA, on both, too; with their list of revocations if it has crl.
func withDevices(t *testing.T, crl, repeats bool) *testkit.Broker {
	t.Helper()
	data := filepath.Join(testkit.TempDir(t), "data")
	for _, words := range [][]string{{"init"}, {"cert", "ca", "init"}} {
		if r := testkit.Exec(t, 30*time.Second, "", append(append([]string{testkit.Command(t)}, words...), "--data-dir", data)...); r.Code != 0 {
			t.Fatal(r.Text())
		}
	}
	devices := filepath.Join(data, "certs", "devices")
	section := fmt.Sprintf("    authn: certificates\n    tls:\n      client_cert: required\n      client_ca: [%s]\n", filepath.Join(devices, "ca.pem"))
	if crl {
		section += fmt.Sprintf("      crl: {files: [%s]}\n", filepath.Join(devices, "crl.pem"))
	}
	return testkit.Start(t, testkit.Options{
		DataDir: data, WebSocket: true, Repeats: repeats,
		Listeners: fmt.Sprintf("  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n%s  gateways:\n    protocol: wss\n    bind: [\"127.0.0.1:%d\"]\n%s", testkit.FreePort(t), section, testkit.FreePort(t), section),
		Config:    "flapping: {connects: 15}\nauthn: {chains: {default: [builtin], certificates: [x509]}}\n",
	})
}

// A broker with users and devices passes every row, within the time a run
// has, and nothing is recorded of what was shown. What is probed is what is shipped: the race detector sees
// the same of users in TestDoctorOnTheRealBroker, and of devices below and in TestDoctorOnEveryKindOfListener.
func TestDoctorOnDevices(t *testing.T) {
	withoutSecrets(t)
	b := withDevices(t, true, true)
	ledger := filepath.Join(b.DataDir, "certs", "devices", "issued.json")
	before, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	rep, text, code := examine(t, b, beyondTheHost()...)
	all := len(rep.Results)
	if rep.timed(); len(rep.Results) < all && code == 3 {
		code, rep.Score.Points = 0, 100
	}
	if took := time.Since(began); code != 0 || rep.Score.Points != 100 || took > doctorWithin && !testkit.Watched() {
		t.Errorf("exit code %d after %v\n%s", code, took, text)
	}
	for _, f := range rep.Results {
		row, _, _ := strings.Cut(f.ID, "-")
		if c, err := harden.Select(harden.Checks, []string{row}); err == nil && c[0].Phase > 2 && c[0].Looks {
			continue // no probe of a listener; see TestDoctorOnTheRealBroker
		}
		want := "pass"
		if row == "P2.1" || row == "P2.3" {
			want = "not_applicable"
		}
		mine := strings.Contains(f.Scope, "listener:devices") || strings.Contains(f.Scope, "listener:gateways")
		if !mine && (row == "P3.4" || row == "P3.5") || mine && row == "P4.1" || row == "P3.6" {
			want = "not_applicable"
		}
		if f.State != want || len(f.Observations) == 0 {
			t.Errorf("%s %s: %s: %s", f.ID, f.Scope, f.State, f.Summary)
		}
		for _, o := range f.Observations {
			if strings.Contains(o.What, "renegotiation begun") && o.State != "pass" {
				t.Errorf("%s: %s", f.Scope, o.Actual)
			}
		}
	}
	if after, err := os.ReadFile(ledger); err != nil || string(after) != string(before) {
		t.Errorf("the records have changed: %s, %v", after, err)
	}
	if r := b.Redoubt("", "doctor", "--explain", "P3.5"); !strings.Contains(r.Stdout, "canary") {
		t.Errorf("%s", r.Text())
	}
}

// A listener without lists lets in the canary, which is how that is found.
func TestDoctorFindsThatNoListIsAsked(t *testing.T) {
	b := withDevices(t, false, false)
	rep, text, code := examineBy(t, testkit.Binary(t), b, "--only", "P3.5")
	if code != 1 || rep.state("P3.5") != "fail" || strings.Count(text, `"answered by the application"`) < 8 {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// Certificates for the doctor are files that can be read.
func TestDoctorIsGivenCertificates(t *testing.T) {
	b := testkit.Start(t, testkit.Options{})
	for _, flag := range []string{"--client-cert", "--revoked-cert"} {
		if r := b.Redoubt("", "doctor", flag, b.CA()); r.Code != 2 || !strings.Contains(r.Stderr, "certificate, chain and key") {
			t.Errorf("%s: exit code %d\n%s", flag, r.Code, r.Text())
		}
	}
}
