package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// A reload says what is different, and of what has come by a name what was written, not the
// defaults of all its keys.
func TestAReloadSaysWhatIsDifferent(t *testing.T) {
	const small = "limits: {inflight: 9}\n"
	large := "limits: {inflight: 10}\nbackends: {db: {type: redis, servers: [\"127.0.0.1:6379\"]}}\n" +
		"authz: {order: [rules_file, builtin, rights], lookup: {rights: {backend: db, query: \"HGETALL acl:${username}\"}}}\n"
	a, _ := layeredNode(t, small)
	b, _ := layeredNode(t, large)
	from, to := a.loaded.Load(), b.loaded.Load()
	lines := func(from, to *config.Loaded) []string { // two nodes have folders of their own
		return slices.DeleteFunc(changedLines(from, to), func(l string) bool { return strings.Contains(l, "/data") })
	}
	want := []string{
		"limits.inflight: 9 -> 10", "backends.db: added", "backends.db.type: redis", "backends.db.servers: [\"127.0.0.1:6379\"]",
		"authz.order: [rules_file, builtin] -> [rules_file, builtin, rights]",
		"authz.lookup.rights: added", "authz.lookup.rights.backend: db", "authz.lookup.rights.query: \"HGETALL acl:${username}\"",
	}
	got := lines(from, to)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	got = lines(to, from)
	if len(got) != 4 || !slices.Contains(got, "backends.db: removed") || !slices.Contains(got, "authz.lookup.rights: removed") {
		t.Errorf("the other way: %s", strings.Join(got, "\n"))
	}
}

// Files beside the configuration are told of when they have something else in them.
func TestContentsOfFiles(t *testing.T) {
	n, _ := layeredNode(t, "")
	with := *n.loaded.Load().Config
	c := &with
	c.Bans.File = written(t, "bans: []\n")
	before := readContents(c)
	if err := os.Chtimes(c.Bans.File, time.Unix(1, 0), time.Unix(1, 0)); err != nil || readContents(c) != before {
		t.Errorf("the same content, %v", err)
	}
	f, err := os.OpenFile(c.Bans.File, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("# more\n"); err != nil {
		t.Fatal(err)
	}
	if readContents(c) == before {
		t.Error("what was written is not noticed")
	}
}

// Days are hours to those who say how long something lasts.
func TestSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "1d": 24 * time.Hour, "90m": 90 * time.Minute, "65535d": 65535 * 24 * time.Hour} {
		var s span
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(s), err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "65536d", "1d2h", "30"} {
		var s span
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %v", text, time.Duration(s))
		}
	}
}
