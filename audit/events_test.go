package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestEventsHaveTheirFields: what docs/ops/log.md says of an event is what its line has.
func TestEventsHaveTheirFields(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "ops", "log.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]map[string]bool{} // whether a field must be there
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \| ([a-z_(), ]+) \|$`).FindAllStringSubmatch(string(page), -1) {
		table[row[1]] = map[string]bool{}
		for f := range strings.SplitSeq(row[2], ", ") {
			table[row[1]][strings.Trim(f, "()")] = f[0] != '('
		}
	}
	var out bytes.Buffer
	l := New(slog.New(slog.NewJSONHandler(&out, nil)), metrics.New().NewShard())
	l.ShowLogins(true)
	now := time.Unix(1000, 0)
	by := &auth.Principal{Identity: "dave", Username: "dave", ClientID: "c", Method: "builtin", Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.17")}
	filed := &auth.Rule{ID: "r", File: "f", Line: 3, Text: "deny"}
	for range 2 { // the second is one that comes again
		l.Denied(now, by, auth.Access{Action: auth.Publish, Topic: []byte("a")}, filed)
		l.Denied(now, by, auth.Access{Action: auth.Subscribe, Topic: []byte("a")}, &auth.Rule{ID: "default", Text: "deny"})
		l.Undelivered(now, by, []byte("a"), filed)
		l.Admitted(now, by, true)
		l.RefusedLogin(now, Refusal{Event: "CONNECT refused", Reason: mqtt.BadUserNameOrPassword, Address: by.Addr, Listener: "mqtts", Why: "x"}, "192.0.2.17:5")
		l.RefusedLogin(now, Refusal{Event: "CONNECT refused", Identity: "dave", Username: "dave", ClientID: "c", Reason: mqtt.QuotaExceeded, Judge: Judge{By: "builtin"}, Address: by.Addr, Why: "x"}, "192.0.2.17:5")
	}
	for i := range 2 * linesBurst {
		l.Event(now, slog.LevelWarn, "CONNECT refused", fmt.Sprint(i), slog.String("address", ""), slog.String("listener", ""), slog.String("reason", ""), slog.String("ref", ""), slog.String("why", ""))
	}
	l.Sweep(now.Add(2 * Window))
	met := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		name := got["msg"].(string)
		if strings.HasSuffix(name, ", repeated") {
			name = "EVENT, repeated"
		}
		met[name] = true
		fields, known := table[name]
		if !known {
			t.Errorf("docs/ops/log.md has no row for %q", name)
			continue
		}
		for f, must := range fields {
			if _, has := got[f]; must && !has {
				t.Errorf("%s lacks %s: %s", name, f, line)
			}
		}
		for f := range got {
			if _, has := fields[f]; !has && f != "time" && f != "level" && f != "msg" {
				t.Errorf("docs/ops/log.md does not say that %s has %s", name, f)
			}
		}
	}
	// Two of the places are of a run of doctor, which are not in the table.
	const places = 8
	files, _ := filepath.Glob("*.go")
	written := 0
	for _, f := range files {
		if src, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "_test.go") {
			written += strings.Count(string(src), ".LogAttrs(")
		}
	}
	if written != places {
		t.Errorf("%d places of this package write lines, and %d were known: give a new one a row in docs/ops/log.md, and play it above", written, places)
	}
	for name := range table {
		if !met[name] {
			t.Errorf("docs/ops/log.md has %q, which nobody writes here", name)
		}
	}
}
