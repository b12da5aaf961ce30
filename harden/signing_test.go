package harden

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/harden/signed"
)

// kept are signed reports of one node, by the name of a file each.
func kept(t *testing.T, dir string, n int) (map[string][]byte, ed25519.PublicKey) {
	t.Helper()
	all := map[string][]byte{}
	for range n {
		r := allStates()
		text, err := r.KeepSigned(dir, "9.9", true)
		if err != nil || r.Signed == nil || r.Signed.SHA256 != signed.Hash(text) {
			t.Fatalf("%v, %+v", err, r.Signed)
		}
		all[string(rune('a'+len(all)))+".json"] = text
	}
	public, err := signed.Public(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all, public
}

// A report verifies as it was signed; one that was changed, of another node, of something else
// that the key has signed, or that is missing is told apart, and by its name.
func TestVerifyReports(t *testing.T) {
	dir := t.TempDir()
	all, public := kept(t, dir, 3)
	good, err := Verify(all, public)
	if err != nil || len(good) != 3 || good[2].Chain.Sequence != 3 || good[2].Name != "c.json" || len(good[0].Scopes) == 0 || good[0].Node != "n1" {
		t.Fatalf("%v, %+v", err, good)
	}
	if s, err := ReadSnapshot(bytes.NewReader(all["b.json"])); err != nil || s.Chain == nil || s.Chain.Previous != signed.Hash(all["a.json"]) {
		t.Errorf("%v, %+v", err, s.Chain)
	}
	other, _, _ := ed25519.GenerateKey(nil)
	foreign, _, err := signed.Append(dir, true, func(signed.Link) ([]byte, error) {
		return []byte("{\n  \"schema\": \"1\",\n  \"kind\": \"a backup\"\n}\n"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reports map[string][]byte
		key     ed25519.PublicKey
		want    string
		good    int
	}{
		"changed":           {map[string][]byte{"a.json": bytes.Replace(all["a.json"], []byte(`"fail"`), []byte(`"pass"`), 1), "b.json": all["b.json"]}, public, "a.json: it was changed", 1},
		"another key":       {map[string][]byte{"a.json": all["a.json"]}, other, "a.json: it is signed by another key: it names SHA256:", 0},
		"missing":           {map[string][]byte{"a.json": all["a.json"], "c.json": all["c.json"]}, public, "1 report is missing between report 1 (a.json) and report 3 (c.json)", 2},
		"unsigned":          {map[string][]byte{"x.json": asJSON(t, allStates())}, public, "x.json: it is not signed", 0},
		"of something else": {map[string][]byte{"x.json": foreign}, public, "no report of the hardening", 0},
		"written anew":      {map[string][]byte{"a.json": append([]byte("\n"), all["a.json"]...)}, public, "as long as no other program writes it anew", 0},
	} {
		good, err := Verify(c.reports, c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(good) != c.good {
			t.Errorf("%s: %d good, %v", name, len(good), err)
		}
	}
}

// What is compared with something old is told so.
func TestAnOldReportIsStale(t *testing.T) {
	then, now := two()
	s := then.Snapshot()
	for age, want := range map[time.Duration]bool{time.Hour: false, 2*time.Hour + time.Minute: true} {
		s.Started = now.Started.Add(-age)
		var b strings.Builder
		if err := now.WriteChanges(&b, s); err != nil || strings.Contains(b.String(), "stale") != want || Stale(s.Started, now.Started) != want {
			t.Errorf("%v old: %v\n%s", age, err, b.String())
		}
	}
}

// lines are those of the log with an event.
func (p *patientNode) lines(t *testing.T, event string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(p.text()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["event"] == event {
			all = append(all, fields)
		}
	}
	return all
}

// A broker signs each look at itself and keeps it, and once a day has all rows in its log, with
// what it was signed as. That it cannot sign is told once.
func TestABrokerSignsAndTellsAll(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPatient()
		p.o.Checker, p.conf.Node.DataDir = "9.9", dir
		p.named = "n1"
		p.say("P4.1", Fail)
		p.start(t)
		if pass(time.Hour); len(p.lines(t, "hardening_report")) != 0 {
			t.Error("all rows are told at once")
		}
		if p.Last().Signed == nil || p.Last().Signed.Sequence < 1 {
			t.Fatalf("not signed: %s", p.text())
		}
		if pass(3 * time.Hour); len(p.lines(t, "hardening_report")) != 1 || len(p.lines(t, "hardening_state")) != 3 {
			t.Errorf("%s", p.text())
		}
		if pass(72 * time.Hour); len(p.lines(t, "hardening_report")) < 3 || len(p.lines(t, "hardening_report")) > 5 {
			t.Errorf("%d times in three days", len(p.lines(t, "hardening_report")))
		}
		about, row := p.lines(t, "hardening_report")[0], p.lines(t, "hardening_state")[1]
		if about["sha256"] == nil || about["sequence"] == nil || about["fail"] != 1.0 || about["pass"] != 2.0 || about["score"] != 49.0 && about["score"] != 52.0 {
			t.Errorf("%v", about)
		}
		for key, want := range map[string]any{"id": "P4.1-p4.1", "state": "fail", "class_uid": 2003.0, "type_uid": 200302.0, "compliance.status_id": 3.0, "severity_id": 5.0, "event.kind": "state", "event.category": "configuration", "why": "node: seen as fail"} {
			if row[key] != want {
				t.Errorf("%s is %v, want %v", key, row[key], want)
			}
		}
		if err := os.Chmod(filepath.Join(dir, signed.KeyName), 0o644); err != nil {
			t.Fatal(err)
		}
		if pass(5 * time.Hour); len(p.lines(t, "hardening_unsigned")) != 1 || p.Last().Signed != nil {
			t.Errorf("%v", p.lines(t, "hardening_unsigned"))
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, signed.FolderName, "*.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	reports := map[string][]byte{}
	for _, name := range files {
		if reports[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, signed.KeyName), 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := signed.Public(dir)
	if err != nil {
		t.Fatal(err)
	}
	if good, err := Verify(reports, public); err != nil || len(good) != len(files) {
		t.Errorf("%d of %d are good: %v", len(good), len(files), err)
	}
}

// What a SIEM is told of a change, and of a waiver.
func TestFieldsOfEvents(t *testing.T) {
	for _, c := range []struct {
		from, to               State
		activity, status, says int64
	}{
		{Pass, Fail, 1, 1, 3}, {"", Fail, 1, 1, 3}, {Fail, Fail, 2, 1, 3}, {Fail, Pass, 3, 4, 1}, {Fail, Waived, 2, 3, 3}, {Waived, Fail, 1, 1, 3},
		{Pass, Unknown, 2, 1, 2}, {Unknown, Pass, 3, 4, 1}, {Pass, Warn, 2, 4, 1}, {Fail, "", 3, 4, 99},
	} {
		got := map[string]int64{}
		for _, a := range finding(c.from, c.to, High) {
			if a.Value.Kind() == slog.KindInt64 {
				got[a.Key] = a.Value.Int64()
			}
		}
		if got["activity_id"] != c.activity || got["type_uid"] != 200300+c.activity || got["status_id"] != c.status || got["compliance.status_id"] != c.says || got["severity_id"] != 4 {
			t.Errorf("%s to %s: %v", c.from, c.to, got)
		}
	}
}
