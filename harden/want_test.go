package harden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/pki"
)

// A list of commands that is too long ends between two of them, and is no command any more.
func TestLongFixesStayWhole(t *testing.T) {
	var all []string
	for i := range 300 {
		all = append(all, fmt.Sprintf("chmod 0600 /var/lib/redoubt/store/log/%06d.log", i))
	}
	r := Result{Fix: strings.Join(all, " && ")}
	r.clean()
	parts := strings.Split(r.Fix, " && ")
	last := parts[len(parts)-1]
	if len(r.Fix) > textMax || len(parts) < 50 || last != fmt.Sprintf("and %d more: redoubt fix shows all", 301-len(parts)) {
		t.Errorf("%d bytes, %d parts, the last: %s", len(r.Fix), len(parts), last)
	}
	for i, p := range parts[:len(parts)-1] {
		if p != all[i] {
			t.Fatalf("%q is not whole", p)
		}
	}
	if command(r.Fix) != "" || command(all[0]) != all[0] {
		t.Error("a part of a list is shown as a command")
	}
	short := Result{Fix: strings.Join(all[:3], " && ")}
	if short.clean(); short.Fix != strings.Join(all[:3], " && ") {
		t.Errorf("a short one: %s", short.Fix)
	}
}

// A finding that a program can mend names it in JSON, and the table says so once.
func TestFindingsThatCanBeMended(t *testing.T) {
	rep := &Report{Node: "n"}
	for _, c := range Checks[:3] {
		rep.Rows = append(rep.Rows, Row{Check: c, Results: []Result{{Scope: "node", State: Warn, Summary: "x", Fix: "think"}}})
	}
	hint := func() string {
		var b bytes.Buffer
		if err := rep.WriteText(&b, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if strings.Contains(hint(), "redoubt fix") {
		t.Error("a hint where nothing can be mended")
	}
	rep.Rows[0].Results[0].Wants = []Want{{Kind: WantSysctl}}
	rep.Rows[1].Results[0].Wants, rep.Rows[1].Results[0].State = []Want{{Kind: WantSysctl}}, Pass
	if !strings.Contains(hint(), "redoubt fix --all --plan shows how to mend 1 of the findings.\nscore ") {
		t.Errorf("%s", hint())
	}
	var b bytes.Buffer
	if err := rep.WriteJSON(&b, "v"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []struct {
			Fix struct{ Cmd, Rollback string }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Results[0].Fix.Cmd != "redoubt fix "+Checks[0].Name() || !strings.HasPrefix(got.Results[0].Fix.Rollback, "redoubt fix --rollback") || got.Results[1].Fix.Cmd != "" || got.Results[2].Fix.Cmd != "" {
		t.Errorf("%v: %+v", err, got)
	}
}

// Permissions are the broker's to mend of its own files, and of no folder above them.
func TestWhoseModesAreWanted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above")
	data := filepath.Join(dir, "data")
	key := filepath.Join(data, "key")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	judge := func() []Want {
		t.Helper()
		f, err := os.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		e := &Env{Clock: clock.System{}, Config: &config.Config{}}
		e.Config.Node.DataDir = data
		q := e.inquire("files")
		q.verdict("key", "closed", key, "", pki.CheckPermissions(f, pki.OwnerOnly))
		return q.wants
	}
	if w := judge(); len(w) != 1 || w[0].Name != key || w[0].Clear != 0o077 || w[0].Owner != -1 {
		t.Errorf("%+v", w)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, n := range map[string]int{data: 1, dir: 0} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if w := judge(); len(w) != n {
			t.Errorf("%s is open: %+v", path, w)
		}
		if err := os.Chmod(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// The value of a limit is one that the configuration takes, as it writes it itself.
func TestCeilingTexts(t *testing.T) {
	for _, c := range limitCeilings {
		text := "limits: {" + strings.TrimPrefix(c.key, "limits.") + ": " + ceilingText(c.key, c.most) + "}\n"
		l, err := config.LoadText(config.Options{File: "x.yaml", Now: clock.System{}.Now(), Hostname: "n"}, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s, ok := l.Setting(c.key); !ok || s.Text != ceilingText(c.key, c.most) {
			t.Errorf("%s: written as %s", text, s.Text)
		}
	}
}
