package harden

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// two are a run, and another one in which one scope got worse, one better, one is new and
// one is gone; a row was looked at in the first alone.
func two() (then, now *Report) {
	at := func(scope string, s State) Result {
		return Result{Scope: scope, State: s, Summary: "seen", Confidence: External}
	}
	then = run(nil, row("P3.1", High, 8, Kernel, at("a", Pass), at("b", Fail), at("c", Pass)), row("P4.1", Critical, 10, Kernel, at("a", Pass)))
	now = run(nil, row("P3.1", High, 8, Kernel, at("a", Fail), at("b", Pass), at("d", Pass)))
	return then, now
}

func TestWhatHasChanged(t *testing.T) {
	then, now := two()
	var kept bytes.Buffer
	if err := then.WriteJSON(&kept, "9.9"); err != nil {
		t.Fatal(err)
	}
	before, err := ReadSnapshot(&kept)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range Diff(before, now.Snapshot()) {
		said = append(said, c.Scope+" "+string(c.From)+">"+string(c.To))
	}
	if got := strings.Join(said, ", "); got != "a pass>fail, b fail>pass, d >pass, c pass>" {
		t.Errorf("%s", got)
	}
	if again := Diff(before, then.Snapshot()); len(again) != 0 {
		t.Errorf("a run differs from itself: %v", again)
	}
	var text, line bytes.Buffer
	if err := now.WriteChanges(&text, before); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 changes, score 0 before", "Note: both scores are of the one row that was looked at now, and not of a whole report.", "P3.1  [success]  [failure]  a: seen", "P3.1  [-]        [success]  d: seen", "P3.1  [success]  [-]        c: seen", Caveat, "score 0/100 (cap 79: 1 high open)"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := now.WriteChangesJSON(&line, before); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Changes []Change
		Before  int `json:"score_before"`
	}
	if err := json.Unmarshal(line.Bytes(), &got); err != nil || len(got.Changes) != 4 || got.Before != 0 || strings.Count(line.String(), "\n") != 1 {
		t.Errorf("%v\n%s", err, line.String())
	}
	text.Reset()
	if err := now.WriteChangesSince(&text, now.Snapshot()); err != nil || text.Len() != 0 {
		t.Errorf("nothing has changed: %v, %q", err, text.String())
	}
	if n := len(Diff(now.Before(), now.Snapshot())); n != 3 {
		t.Errorf("%d of 3 are new at first", n)
	}
}

// What is compared with may have been written by somebody else: nothing of it steers a
// terminal, and what is no report is not repeated.
func TestAKeptReportIsNotBelieved(t *testing.T) {
	text := `{"schema":"1","node":"n\u001b[2J","baseline":"e\u001b","results":[{"id":"P3.1\u001b-x","scope":"b\u202e","state":"\u001b[31m","summary":"\u009b"},null]}`
	s, err := ReadSnapshot(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	s.Scopes = append(s.Scopes, ScopeState{"P3.1-p3.1", s.Scopes[0].Scope, s.Scopes[0].State, s.Scopes[0].Summary})
	_, now := two()
	var b bytes.Buffer
	if err := now.WriteChanges(&b, s); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && unprintable(r) {
			t.Errorf("%U in %q", r, b.String())
		}
	}
	for _, bad := range []string{"", "secret-in-a-file", "{}", `{"schema":"2"}`, `[1]`} {
		if _, err := ReadSnapshot(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The last report is kept for its owner alone, through no link, and found again.
func TestTheLastReportIsKept(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	then, now := two()
	if _, err := LastKept(dir); !os.IsNotExist(err) {
		t.Errorf("none is kept yet: %v", err)
	}
	if err := os.WriteFile(elsewhere, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, KeptName)
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if _, err := LastKept(dir); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("a link was followed: %v", err)
	}
	if err := KeepLast(dir, asJSON(t, then)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(elsewhere); err != nil || string(text) != "precious" {
		t.Errorf("what a link led to is %q, %v", text, err)
	}
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode() != 0o600 {
		t.Fatalf("%v, %v", fi.Mode(), err)
	}
	s, err := LastKept(dir)
	if err != nil || len(Diff(s, now.Snapshot())) != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if os.Geteuid() == 0 { // as with sudo: the owner of the folder can read it, and nobody else
		if err := os.Chown(dir, 4711, 4712); err != nil {
			t.Fatal(err)
		}
		if err := KeepLast(dir, asJSON(t, now)); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Lstat(path)
		if st := fi.Sys().(*syscall.Stat_t); err != nil || st.Uid != 4711 || st.Gid != 4712 || fi.Mode() != 0o600 {
			t.Errorf("%v, %d:%d, %v", fi.Mode(), st.Uid, st.Gid, err)
		}
		if s, err := LastKept(dir); err != nil || len(s.Scopes) != 3 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LastKept(dir); err == nil {
		t.Error("a pipe was read")
	}
	if err := KeepLast(filepath.Join(dir, "not", "there"), asJSON(t, then)); err == nil {
		t.Error("a folder was made")
	}
}

// A broker that stops is one change for each row, and so is each scope when it is back: nothing is
// listed as gone and as new.
func TestABrokerThatStops(t *testing.T) {
	at := func(scope string, s State) Result {
		return Result{Scope: scope, State: s, Summary: "seen", Confidence: External}
	}
	up := run(nil, row("P3.1", High, 8, Kernel, at("a", Pass), at("b", Fail)), row("P1.1", Low, 3, Kernel, at("node", Pass)), row("P2.3", Low, 3, Kernel, at("node", NotApplicable)))
	blind := at("node", Unknown)
	blind.Confidence, blind.Summary = "", "no broker answers"
	down := run(nil, row("P3.1", High, 8, Kernel, blind), row("P1.1", Low, 3, Kernel, blind), row("P2.3", Low, 3, Kernel, blind))
	said := func(then, now *Report) string {
		var out []string
		for _, c := range Diff(then.Snapshot(), now.Snapshot()) {
			out = append(out, c.ID[:4]+" "+c.Scope+" "+string(c.From)+">"+string(c.To))
		}
		return strings.Join(out, ", ")
	}
	if got := said(up, down); got != "P3.1 node fail>unknown, P1.1 node pass>unknown, P2.3 node not_applicable>unknown" {
		t.Errorf("it stops: %s", got)
	}
	if got := said(down, up); got != "P3.1 a unknown>pass, P3.1 b unknown>fail, P1.1 node unknown>pass, P2.3 node unknown>not_applicable" {
		t.Errorf("it is back: %s", got)
	}
	if got := said(down, down); got != "" {
		t.Errorf("it stays away: %s", got)
	}
	var text bytes.Buffer
	if err := down.WriteChanges(&text, up.Snapshot()); err != nil || strings.Contains(text.String(), "both scores") {
		t.Errorf("the same rows: %v\n%s", err, text.String())
	}
}

func asJSON(t *testing.T, r *Report) []byte {
	t.Helper()
	return []byte(written(t, r, FormatJSON, WriteOptions{Checker: "9.9"}))
}
