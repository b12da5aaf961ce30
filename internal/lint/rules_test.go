package lint

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// sample is a small repository and what one rule must say about it.
type sample struct {
	name  string
	rule  string
	files map[string]string
	want  string // part of the only finding; "" means none
}

// src is a file of package name that imports what is listed.
func src(pkg string, imports []string, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// Package %s is a sample that is long enough to pass for a package comment in these tests.\npackage %s\n", pkg, pkg)
	for _, i := range imports {
		fmt.Fprintf(&b, "import %q\n", i)
	}
	return b.String() + body
}

var samples = []sample{
	{"up", "import-direction", map[string]string{"session/a.go": src("session", []string{Module + "/broker"}, "")}, "broker is above session"},
	{"sideways", "import-direction", map[string]string{"auth/a.go": src("auth", []string{Module + "/limit"}, "")}, "on one floor"},
	{"sideways in the cellar", "import-direction", map[string]string{"internal/clock/a.go": src("clock", []string{Module + "/internal/secret"}, "")}, "on one floor"},
	{"cellar looks up", "import-direction", map[string]string{"internal/clock/a.go": src("clock", []string{Module + "/topic"}, "")}, "topic is above internal/clock"},
	{"sub room keeps the floor", "import-direction", map[string]string{"auth/builtin/a.go": src("builtin", []string{Module + "/session"}, "")}, "on one floor"},
	{"nobody imports cmd", "import-direction", map[string]string{"admin/a.go": src("admin", []string{Module + "/cmd/redoubt"}, "")}, "cmd/redoubt is above"},
	{"config has few readers", "import-direction", map[string]string{"client/a.go": src("client", []string{Module + "/config"}, "")}, "read config"},
	{"testkit ships", "import-direction", map[string]string{"broker/a.go": src("broker", []string{Module + "/internal/testkit"}, "")}, "only _test.go files import"},
	{"sim ships", "import-direction", map[string]string{"cmd/redoubt/a.go": src("main", []string{Module + "/sim"}, "")}, "only _test.go files import"},
	{"a tool is imported", "import-direction", map[string]string{"broker/a_test.go": src("broker", []string{Module + "/internal/tools/testsum"}, "")}, "it is a program"},
	{"unknown room", "import-direction", map[string]string{"util/a.go": src("util", []string{Module + "/topic"}, "")}, "not in the house plan"},
	{"unknown target", "import-direction", map[string]string{"broker/a.go": src("broker", []string{Module + "/common"}, "")}, "not in the house plan"},
	{"mqtt takes a library", "import-direction", map[string]string{"mqtt/a.go": src("mqtt", []string{"golang.org/x/text"}, "")}, "standard library only"},
	{"session opens a socket", "import-direction", map[string]string{"session/a.go": src("session", []string{"net"}, "")}, "does no I/O"},
	{"auth reads a file", "import-direction", map[string]string{"auth/a.go": src("auth", []string{"os"}, "")}, "does no I/O"},
	{"limit calls the kernel", "import-direction", map[string]string{"limit/a.go": src("limit", []string{"golang.org/x/sys/unix"}, "")}, "does no I/O"},
	{"cgo", "import-direction", map[string]string{"conn/a.go": src("conn", []string{"C"}, "")}, "cgo"},
	{"down is fine", "import-direction", map[string]string{
		"broker/a.go":            src("broker", []string{Module + "/session", Module + "/metrics", Module + "/internal/clock", "os"}, ""),
		"auth/builtin/a.go":      src("builtin", []string{Module + "/auth", "os"}, ""),
		"auth/a.go":              src("auth", []string{"net/netip"}, ""),
		"mqtt/a_test.go":         src("mqtt", []string{Module + "/internal/testkit", "pgregory.net/rapid"}, ""),
		"internal/testkit/a.go":  src("testkit", []string{Module + "/broker"}, ""),
		"internal/tools/g/a.go":  src("main", []string{Module + "/config"}, ""),
		"cmd/redoubt/a.go":       src("main", []string{Module + "/config", Module + "/client"}, ""),
		"session/inner_test.go":  src("session", []string{Module + "/broker", "os"}, ""),
		"internal/clock/tick.go": src("clock", []string{"time"}, ""),
	}, ""},

	{"a program", "written-by-hand", map[string]string{"redoubt": strings.Repeat("\x7f", largest+1)}, "what is built belongs into bin/"},
	{"a program where it belongs", "written-by-hand", map[string]string{"bin/redoubt": strings.Repeat("\x7f", largest+1)}, ""},

	{"nobody said why", "known-dependencies", map[string]string{"conn/a.go": src("conn", []string{"example.org/fast/net"}, "")}, "no page in docs/adr/ names"},
	{"somebody said why", "known-dependencies", map[string]string{
		"conn/a.go": src("conn", []string{"example.org/fast/net"}, ""), "docs/adr/0002.md": "`example.org/fast`: without it nothing works."}, ""},

	{"clock", "banned-calls", map[string]string{"broker/a.go": src("broker", []string{"time"}, "var T = time.Now()\n")}, "time.Now"},
	{"clock in disguise", "banned-calls", map[string]string{"broker/a.go": "// Package broker x.\npackage broker\nimport tm \"time\"\nvar S = tm.Since\n"}, "time.Since"},
	{"environment", "banned-calls", map[string]string{"config/a.go": src("config", []string{"os"}, "var E = os.Getenv(\"X\")\n")}, "os.Getenv"},
	{"exit", "banned-calls", map[string]string{"admin/a.go": src("admin", []string{"os"}, "func f() { os.Exit(1) }\n")}, "os.Exit"},
	{"fatal", "banned-calls", map[string]string{"cmd/redoubt/a.go": src("main", []string{"log"}, "func f() { log.Fatal() }\n")}, "log.Fatal"},
	{"global logger", "banned-calls", map[string]string{"conn/a.go": src("conn", []string{"log/slog"}, "func f() { slog.Info(\"x\") }\n")}, "log/slog.Info"},
	{"unsafe", "banned-calls", map[string]string{"conn/a.go": src("conn", []string{"unsafe"}, "var P unsafe.Pointer\n")}, "unsafe.Pointer"},
	{"dot import", "banned-calls", map[string]string{"conn/a.go": "// Package conn x.\npackage conn\nimport . \"time\"\n"}, "dot import"},
	{"each in its room", "banned-calls", map[string]string{
		"internal/clock/a.go":   src("clock", []string{"time"}, "var T = time.Now()\n"),
		"cmd/redoubt/a.go":      src("main", []string{"os"}, "func f() { os.Getenv(\"X\"); os.Exit(1) }\n"),
		"broker/a_test.go":      src("broker", []string{"time"}, "var T = time.Now()\n"),
		"broker/b.go":           src("broker", []string{"time"}, "type clock struct{}\nfunc (clock) Now() {}\nfunc f() { var time clock; time.Now() }\nvar D = time.Second\n"),
		"metrics/a.go":          src("metrics", []string{"unsafe"}, "const S = unsafe.Sizeof(0)\n"),
		"internal/testkit/a.go": src("testkit", []string{"os"}, "var E = os.Environ()\n"),
	}, ""},

	{"go", "go-statements", map[string]string{"broker/a.go": src("broker", nil, "func f() { go f() }\n")}, "one owner"},
	{"go in disguise", "go-statements", map[string]string{"broker/a.go": src("broker", []string{"sync"}, "func f() { var wg sync.WaitGroup; wg.Go(f) }\n")}, "one owner"},
	{"go by a timer", "go-statements", map[string]string{"session/a.go": src("session", []string{"time"}, "func f() { time.AfterFunc(1, f) }\n")}, "one owner"},
	{"auth itself owns none", "go-statements", map[string]string{"auth/a.go": src("auth", nil, "func f() { go f() }\n")}, "one owner"},
	{"owners", "go-statements", map[string]string{
		"conn/a.go": src("conn", nil, "func f() { go f() }\n"), "auth/builtin/a.go": src("builtin", nil, "func f() { go f() }\n"),
		"broker/a_test.go": src("broker", nil, "func f() { go f() }\n")}, ""},

	{"nobody guards", "peer-goroutines", map[string]string{"conn/a.go": src("conn", nil, "func f() { go func() { g() }() }\nfunc g() { f() }\n")}, "guarded against a bug of ours"},
	{"nobody guards a method", "peer-goroutines", map[string]string{"auth/builtin/a.go": src("builtin", nil, "type T struct{}\nfunc (t T) f() { go t.work() }\nfunc (t T) work() {}\n")}, "guarded against a bug of ours"},
	{"nobody guards a timer", "peer-goroutines", map[string]string{"conn/a.go": src("conn", []string{"context"}, "func f(c context.Context) { context.AfterFunc(c, func() {}) }\n")}, "guarded against a bug of ours"},
	{"a guard elsewhere", "peer-goroutines", map[string]string{"conn/a.go": src("conn", nil, "func f() { guard(func() {}); go func() {}() }\nfunc guard(f func()) { f() }\n")}, "guarded against a bug of ours"},
	{"guarded", "peer-goroutines", map[string]string{
		"conn/a.go":   src("conn", nil, "func f() { go g(); go func() { guard(g) }() }\nfunc g() { h() }\nfunc h() { guard(f) }\nfunc guard(f func()) { f() }\n"),
		"broker/a.go": src("broker", nil, "func f() { go f() }\n")}, ""},

	{"long", "file-size", map[string]string{"broker/a.go": src("broker", nil, strings.Repeat("\n", linesMax))}, "look for the second subject"},
	{"short", "file-size", map[string]string{"broker/a.go": src("broker", nil, strings.Repeat("\n", linesMax-10))}, ""},

	{"wide", "struct-size", map[string]string{"broker/a.go": src("broker", nil, "type T struct { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t int; U }\ntype U struct{}\n")}, "struct T has 21 fields"},
	{"not wide", "struct-size", map[string]string{"broker/a.go": src("broker", nil, "type T struct { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t int }\n")}, ""},

	{"other name", "mutexes", map[string]string{"broker/a.go": src("broker", []string{"sync"}, "type T struct {\n\tlock sync.Mutex // guards all\n}\n")}, "called mu"},
	{"embedded", "mutexes", map[string]string{"broker/a.go": src("broker", []string{"sync"}, "type T struct {\n\tsync.RWMutex // guards all\n}\n")}, "called mu"},
	{"guards what", "mutexes", map[string]string{"broker/a.go": src("broker", []string{"sync"}, "type T struct {\n\tmu sync.Mutex\n}\n")}, "what it guards"},
	{"good mutex", "mutexes", map[string]string{"broker/a.go": src("broker", []string{"sync"}, "type T struct {\n\t// Guards what follows.\n\t//\n\t// It guards n.\n\tmu sync.Mutex\n\tn int\n}\n")}, ""},

	{"silent", "package-comments", map[string]string{"broker/a.go": "package broker\n", "broker/b.go": "package broker\n"}, "no package comment"},
	{"twice", "package-comments", map[string]string{"broker/a.go": src("broker", nil, ""), "broker/b.go": src("broker", nil, "")}, "second package comment"},
	{"wrong form", "package-comments", map[string]string{"broker/a.go": "// This is a package about brokers, and it has many words that say what it is for.\npackage broker\n"}, "begins with"},
	{"too short", "package-comments", map[string]string{"broker/a.go": "// Package broker brokers.\npackage broker\n"}, "too short"},
	{"good comment", "package-comments", map[string]string{"broker/a.go": src("broker", nil, ""), "broker/b.go": "package broker\n", "broker/b_test.go": "package broker_test\n",
		"cmd/redoubt/a.go": "// Command redoubt is the one program: it parses flags, wires the rooms and answers an exit code.\npackage main\n"}, ""},

	{"skip", "test-habits", map[string]string{"broker/a_test.go": src("broker", []string{"testing"}, "func TestX(t *testing.T) { t.Skip() }\n")}, "skipped test"},
	{"short mode", "test-habits", map[string]string{"broker/a_test.go": src("broker", []string{"testing"}, "func TestX(t *testing.T) { if testing.Short() { return } }\n")}, "testing.Short"},
	{"sleep", "test-habits", map[string]string{"broker/a_test.go": src("broker", []string{"time"}, "func f() { time.Sleep(1) }\n")}, "time.Sleep"},
	{"sleep in the kit", "test-habits", map[string]string{"internal/testkit/a.go": src("testkit", []string{"time"}, "func f() { time.Sleep(1) }\n")}, "time.Sleep"},
	{"virtual sleep by a helper", "test-habits", map[string]string{"broker/a_test.go": src("broker", []string{"testing", "testing/synctest", "time"}, "func play(t *testing.T, f func()) { synctest.Test(t, func(*testing.T) { f() }) }\nfunc TestX(t *testing.T) { play(t, func() { time.Sleep(1) }) }\n")}, ""},
	{"helper of another package", "test-habits", map[string]string{
		"broker/a_test.go": src("broker", []string{"testing", "testing/synctest"}, "func play(t *testing.T, f func()) { synctest.Test(t, func(*testing.T) { f() }) }\n"),
		"conn/a_test.go":   src("conn", []string{"testing", "time"}, "func play(t *testing.T, f func()) { f() }\nfunc TestX(t *testing.T) { play(t, func() { time.Sleep(1) }) }\n")}, "time.Sleep"},
	{"virtual sleep", "test-habits", map[string]string{"broker/a_test.go": src("broker", []string{"testing", "testing/synctest", "time"}, "func TestX(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }\n")}, ""},

	{"nobody runs it", "allocation-tests", map[string]string{"topic/a_test.go": "//go:build !race\n\npackage topic\n\nfunc TestFast(t *testing.T) {}\n"}, "no pass of"},
	{"the second pass runs it", "allocation-tests", map[string]string{"topic/a_test.go": "//go:build !race\n\npackage topic\n\nfunc TestNoAllocations(t *testing.T) {}\nfunc helper() {}\n", "topic/b_test.go": "package topic\n\nfunc TestFast(t *testing.T) {}\n"}, ""},
	{"seeds nobody plays", "random-suites", map[string]string{"Makefile": "UNWATCHED := ^Test(Other)$$\n", "sim/a_test.go": src("sim", []string{"testing", Module + "/internal/testkit"}, "func TestX(t *testing.T) { _ = testkit.Seeds(1, 2) }\n")}, "no pass of"},
	{"no pattern at all", "random-suites", map[string]string{"sim/a_test.go": src("sim", []string{"testing", Module + "/internal/testkit"}, "func TestX(t *testing.T) { _ = testkit.Seeds(1, 2) }\n")}, "no pass of"},
	{"seeds in a helper", "random-suites", map[string]string{"Makefile": "UNWATCHED := ^Test(X)$$\n", "sim/a_test.go": src("sim", []string{"testing", Module + "/internal/testkit"}, "func seeds() int { return testkit.Seeds(1, 2) }\n")}, "no pass of"},
	{"the second pass plays them", "random-suites", map[string]string{"Makefile": "UNWATCHED := ^Test(X|Y)$$\n", "sim/a_test.go": src("sim", []string{"testing", Module + "/internal/testkit"}, "func TestX(t *testing.T) { _ = testkit.Seeds(1, 2) }\n")}, ""},
	{"a line nobody finds", "log-events", map[string]string{"broker/a.go": src("broker", nil, "func f() { h.log.Event(now, level, \"kicked\", by.ClientID, slog.String(\"user\", u), slog.String(\"client_id\", by.ClientID)) }")}, "has no listener"},
	{"a line with a helper", "log-events", map[string]string{"broker/a.go": src("broker", nil, "func f() { h.log.Event(now, level, \"kicked\", by.ClientID, whose(by)...) }\nfunc whose(by *P) []slog.Attr { return []slog.Attr{slog.String(\"user\", u), slog.String(\"client_id\", c), slog.String(\"listener\", l)} }")}, ""},
	{"machine path", "machine-words", map[string]string{"docs/a.md": "see /wo" + "rk/x\n"}, "path of one machine"},
	{"home", "machine-words", map[string]string{"broker/a.go": "// Package broker x, see /ho" + "me/me/x.\npackage broker\n"}, "path of one machine"},
	{"shared", "machine-words", map[string]string{"README.md": "one\nsee .." + "/shared/design.md\n"}, "path of one machine"},
	{"no such test", "docs-point-at-things", map[string]string{"docs/a.md": "proved by `TestNothing`\n"}, "no test is called TestNothing"},
	{"no such mutant", "docs-point-at-things", map[string]string{"docs/a.md": "| Id | Noticed without the defence |\n| --- | --- |\n| A1 | gone, none |\n"}, "no mutant gone"},
	{"mutants", "docs-point-at-things", map[string]string{"docs/a.md": "| Id | Mutant |\n| --- | --- |\n| A1 | is-there |\n| A2 | none: a choice |\n\n| A | B |\n| - | - |\n| x | y |\n", "security/mutants/is-there.patch": ""}, ""},
	{"no such file", "docs-point-at-things", map[string]string{"docs/a.md": "see `broker/gone.go`\n"}, "no file broker/gone.go"},
	{"link to nowhere", "docs-point-at-things", map[string]string{"docs/a/b.md": "[x](../c.md)\n"}, "leads nowhere"},
	{"links", "docs-point-at-things", map[string]string{"docs/a/b.md": "[x](../c.md#part) [y](https://example.org/z) [z](#here) [u](../../LICENSE) [d](../)\n", "docs/c.md": "", "LICENSE": ""}, ""},
	{"real ones", "docs-point-at-things", map[string]string{"docs/a.md": "`TestReal` in `broker/a_test.go`, `sub.go`, Testing, `TestFoo*`\n",
		"broker/a_test.go": src("broker", []string{"testing"}, "func TestReal(t *testing.T) {}\n")}, ""},
	{"world path", "machine-words", map[string]string{"README.md": "/etc/redoubt/redoubt.yaml, docs/work/x, a/home/b\n"}, ""},
}

func TestEveryRuleFindsItsBadSample(t *testing.T) {
	for _, s := range samples {
		t.Run(s.rule+"/"+strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			var got []string
			for _, f := range findings(t, s.files, s.rule) {
				got = append(got, f.String())
			}
			switch {
			case s.want == "" && len(got) > 0:
				t.Errorf("findings where none was expected:\n%s", strings.Join(got, "\n"))
			case s.want != "" && (len(got) != 1 || !strings.Contains(got[0], s.want)):
				t.Errorf("want one finding with %q, got %d:\n%s", s.want, len(got), strings.Join(got, "\n"))
			}
		})
	}
}

func TestEveryRuleHasABadAndAGoodSample(t *testing.T) {
	bad, good := make(map[string]bool), make(map[string]bool)
	for _, s := range samples {
		if s.want == "" {
			good[s.rule] = true
		} else {
			bad[s.rule] = true
		}
	}
	for _, r := range Rules {
		if !bad[r.Name] || !good[r.Name] {
			t.Errorf("rule %s: bad sample %v, good sample %v; both are needed", r.Name, bad[r.Name], good[r.Name])
		}
	}
}

func TestExceptionsAreNamedAndNeeded(t *testing.T) {
	repo := load(t, map[string]string{"broker/a.go": src("broker", nil, "type T struct { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u int }\n"+strings.Repeat("\n", linesMax))})
	if got := checkFileSize(repo, map[string]exception{"broker/a.go": {linesMax * 2, "a table"}}); len(got) != 0 {
		t.Errorf("named file: %v", got)
	}
	if got := checkStructSize(repo, map[string]exception{"broker.T": {30, "a wire format"}}); len(got) != 0 {
		t.Errorf("named struct: %v", got)
	}
	if got := checkFileSize(repo, map[string]exception{"broker/a.go": {linesMax * 2, "a table"}, "broker/gone.go": {700, "was a table"}}); len(got) != 1 {
		t.Errorf("an exception nobody needs: %v", got)
	}
	if got := checkStructSize(repo, map[string]exception{"broker.T": {30, "x"}, "broker.Gone": {30, "x"}}); len(got) != 1 {
		t.Errorf("an exception nobody needs: %v", got)
	}
}

func TestVirtualSleepsAreNamedAndNeeded(t *testing.T) {
	repo := load(t, map[string]string{"broker/a_test.go": src("broker", []string{"time"}, "func f() { time.Sleep(1) }\n"), "broker/b_test.go": src("broker", nil, "")})
	if got := checkTestHabits(repo, map[string]string{"broker/a_test.go": "in a bubble"}); len(got) != 0 {
		t.Errorf("named: %v", got)
	}
	if got := checkTestHabits(repo, map[string]string{"broker/a_test.go": "in a bubble", "broker/b_test.go": "was"}); len(got) != 1 {
		t.Errorf("an exception nobody needs: %v", got)
	}
}

// TestFloors keeps the house plan itself in order.
func TestFloors(t *testing.T) {
	last := house[0].Floor
	for _, r := range house {
		if r.Floor > last || r.Floor <= internalFloor || r.Why == "" {
			t.Errorf("room %s: floor %d after %d, reason %q", r.Dir, r.Floor, last, r.Why)
		}
		last = r.Floor
	}
}

// findings runs one rule over a small repository.
func findings(t *testing.T, files map[string]string, rule string) []Finding {
	t.Helper()
	for _, r := range Rules {
		if r.Name == rule {
			return r.Check(load(t, files))
		}
	}
	t.Fatalf("no rule is called %s", rule)
	return nil
}

// load parses a small repository.
func load(t *testing.T, files map[string]string) *Repo {
	t.Helper()
	m := make(fstest.MapFS)
	for p, text := range files {
		m[p] = &fstest.MapFile{Data: []byte(text)}
	}
	repo, err := Load(m)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}
