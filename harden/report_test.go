package harden

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// row makes a check that answers what it is told.
func row(id string, sev Severity, weight int, demands Confidence, results ...Result) *Check {
	return &Check{ID: id, Slug: strings.ToLower(id), Title: "Title of " + id, Phase: int(id[1] - '0'), Severity: sev, Weight: weight, Demands: demands, Fix: "mend " + id,
		Run: func(context.Context, *Env) []Result { return slices.Clone(results) }}
}

func res(s State, c Confidence) Result {
	return Result{Scope: "node", State: s, Confidence: c, Summary: "seen", Key: "listeners.a"}
}

func run(waivers []config.Waiver, checks ...*Check) *Report {
	e := &Env{Clock: clock.NewManual(t0), Config: &config.Config{Waivers: waivers}}
	return Examine(context.Background(), e, checks)
}

func TestScoreCountsAndCaps(t *testing.T) {
	pass, fail, warn, unknown, none, manual := res(Pass, Behavioural), res(Fail, Behavioural), res(Warn, Behavioural), res(Unknown, ""), res(NotApplicable, ""), res(Manual, Declared)
	for name, c := range map[string]struct {
		report *Report
		points int
		cap    int
		exit   int
	}{
		"all pass":             {run(nil, row("P2.1", High, 8, Kernel, pass), row("P4.1", Critical, 10, Kernel, pass)), 100, 100, 0},
		"critical open":        {run(nil, row("P2.1", Low, 90, Kernel, pass), row("P4.1", Critical, 10, Kernel, fail)), 49, 49, 1},
		"high open":            {run(nil, row("P2.1", Low, 90, Kernel, pass), row("P4.1", High, 10, Kernel, fail)), 79, 79, 1},
		"medium open":          {run(nil, row("P2.1", Low, 90, Kernel, pass), row("P4.1", Medium, 10, Kernel, fail)), 90, 100, 1},
		"below the cap":        {run(nil, row("P2.1", Low, 10, Kernel, pass), row("P4.1", Critical, 90, Kernel, fail)), 10, 49, 1},
		"unknown is not pass":  {run(nil, row("P2.1", High, 50, Kernel, pass), row("P4.1", Critical, 50, Kernel, unknown)), 50, 100, 3},
		"warn is half":         {run(nil, row("P2.1", High, 50, Kernel, pass), row("P4.1", Critical, 50, Kernel, warn)), 75, 100, 0},
		"what does not apply":  {run(nil, row("P2.1", High, 8, Kernel, pass), row("P4.1", Critical, 10, Kernel, none), row("P4.2", Critical, 10, Kernel, manual)), 100, 100, 0},
		"worst scope counts":   {run(nil, row("P2.1", High, 8, Kernel, pass, pass, fail)), 0, 79, 1},
		"unknown beside pass":  {run(nil, row("P2.1", High, 8, Kernel, pass, unknown)), 0, 100, 3},
		"demands not reached":  {run(nil, row("P2.1", High, 8, Behavioural, res(Pass, Kernel))), 0, 100, 3},
		"warn without proof":   {run(nil, row("P2.1", High, 8, Behavioural, res(Warn, Effective))), 0, 100, 3},
		"a finding needs none": {run(nil, row("P2.1", High, 8, Behavioural, res(Fail, Declared))), 0, 79, 1},
		"looked at nothing":    {run(nil, row("P2.1", High, 8, Behavioural)), 0, 100, 3},
		"more than demanded":   {run(nil, row("P2.1", High, 8, Kernel, res(Pass, External))), 100, 100, 0},
		"fail and unknown":     {run(nil, row("P2.1", High, 8, Kernel, fail), row("P4.1", High, 8, Kernel, unknown)), 0, 79, 1},
	} {
		s := c.report.Score()
		if s.Points != c.points || s.Cap != c.cap || c.report.ExitCode(Low, 0) != c.exit {
			t.Errorf("%s: %+v, exit %d; want %d, cap %d, exit %d", name, s, c.report.ExitCode(Low, 0), c.points, c.cap, c.exit)
		}
	}
	r := run(nil, row("P2.1", Medium, 8, Kernel, fail), row("P4.1", High, 8, Kernel, unknown))
	for _, c := range []struct {
		on     Severity
		most   int
		wanted int
	}{{Low, 0, 1}, {Medium, 9, 1}, {High, 0, 3}, {High, 1, 0}, {Critical, 0, 3}} {
		if got := r.ExitCode(c.on, c.most); got != c.wanted {
			t.Errorf("--fail-on %s --max-unknown %d: %d, want %d", c.on, c.most, got, c.wanted)
		}
	}
	if Severity("none").AtLeast(Low) || !Critical.AtLeast(High) || High.AtLeast(Critical) {
		t.Error("severities are out of order")
	}
}

func TestWaivers(t *testing.T) {
	today := config.DateOf(t0)
	waiver := func(id, scope string, expires config.Date) config.Waiver {
		return config.Waiver{ID: id, Scope: scope, Reason: "old devices", Owner: "ann", Expires: expires}
	}
	fail, unknown := res(Fail, Behavioural), res(Unknown, "")
	for name, c := range map[string]struct {
		results []Result
		waiver  config.Waiver
		state   State
		exit    int
	}{
		"in force on its last day": {[]Result{fail}, waiver("P4.1", "listeners.a", today), Waived, 0},
		"expired yesterday":        {[]Result{fail}, waiver("P4.1", "listeners.a", today.AddDays(-1)), Fail, 1},
		"another row":              {[]Result{fail}, waiver("P4.2", "listeners.a", today), Fail, 1},
		"another scope":            {[]Result{fail}, waiver("P4.1", "listeners.b", today), Fail, 1},
		"nobody knows what":        {[]Result{unknown}, waiver("P4.1", "listeners.a", today), Unknown, 3},
		"something else fails too": {[]Result{fail, {Scope: "x", State: Fail}}, waiver("P4.1", "listeners.a", today), Fail, 1},
	} {
		r := run([]config.Waiver{c.waiver}, row("P4.1", Critical, 10, Behavioural, c.results...))
		got := &r.Rows[0]
		if got.State() != c.state || r.ExitCode(Low, 0) != c.exit || got.Results[0].Original != c.results[0].State {
			t.Errorf("%s: %s, exit %d, was %s", name, got.State(), r.ExitCode(Low, 0), got.Results[0].Original)
		}
		if name == "expired yesterday" && !strings.Contains(got.Results[0].Summary, "expired on 2026-02-28") {
			t.Errorf("%s: %s", name, got.Results[0].Summary)
		}
	}
}

const textWant = `Node n1 (redoubt 1.2), 2026-03-01 12:00:00 UTC

Phase 2. Trust and secrets
ID    SEV   STATE      CONF    WHAT                    FIX
P2.2  high  [success]  kernel  Title of P2.2           -
P2.3  low   [unknown]  -       node: could not look    -

Phase 4. MQTT application
ID    SEV       STATE             CONF         WHAT                                                            FIX
P4.1  critical  [failure]         behavioural  listener:b: two lines                                           mend P4.1
                [waived]          behavioural  listener:a: seen (waived by ann until 2026-03-12: old devices)  mend P4.1
P4.2  low       [not applicable]  -            nothing there                                                   -

The score counts the rows of this report and nothing else; a full score is not a proof of security.
score 38/100 (cap 49: 1 critical open)  1 pass 1 fail 1 unknown 1 not applicable a scope waived (expires in 11 d)
`

func sample() *Report {
	a, b := res(Fail, Behavioural), res(Fail, Behavioural)
	a.Scope, b.Scope, b.Summary, b.Key = "listener:a", "listener:b", "two\n\tlines", "listeners.b"
	b.Observations = []Observation{{Method: Probe, What: "CONNECT", Expected: "CONNACK 0x86", Actual: "CONNACK 0x00", State: Fail, Source: "wire"}}
	e := &Env{Clock: clock.NewManual(t0), Broker: account{BrokerReport: BrokerReport{Node: "n1", Version: "1.2"}},
		Config: &config.Config{Waivers: []config.Waiver{{ID: "P4.1", Scope: "listeners.a", Reason: "old devices", Owner: "ann", Expires: config.DateOf(t0.AddDate(0, 0, 11))}}}}
	return Examine(context.Background(), e, []*Check{
		row("P2.2", High, 8, Kernel, res(Pass, Kernel)), row("P2.3", Low, 3, Kernel, Result{Scope: "node", State: Unknown, Summary: "could not look"}),
		row("P4.1", Critical, 10, Behavioural, a, b), row("P4.2", Low, 3, Behavioural, Result{State: NotApplicable, Summary: "nothing there"}),
	})
}

func TestTextReport(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteText(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if strip(b.String()) != strip(textWant) {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := sample().WriteText(&b, TextOptions{Evidence: true}); err != nil {
		t.Fatal(err)
	}
	if want := "[failure]        CONNECT: CONNACK 0x00, expected CONNACK 0x86 [probe: wire]"; !strings.Contains(b.String(), want) {
		t.Errorf("no evidence in\n%s", b.String())
	}
}

// strip makes runs of spaces one: the widths follow from the longest cell.
func strip(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		out = append(out, strings.Join(strings.Fields(l), " "))
	}
	return strings.Join(out, "\n")
}

func TestJSONReport(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b, "9.9"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema, Node, Caveat string
		BrokerVersion        string `json:"broker_version"`
		Score                struct{ Points, Cap int }
		Counts               map[string]int
		Checker              map[string]string
		Results              []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != "1" || got.Node != "n1" || got.BrokerVersion != "1.2" || got.Score.Points != 38 || got.Score.Cap != 49 || got.Counts["fail"] != 1 || got.Caveat == "" ||
		got.Checker["version"] != "9.9" || len(got.Checker["rules_sha256"]) != 64 || len(got.Results) != 5 {
		t.Errorf("%s", b.String())
	}
	for _, f := range got.Results {
		for _, k := range []string{"schema", "id", "title", "phase", "row", "severity", "weight", "standards", "demanded_confidence", "rationale", "scope", "state", "original_state",
			"summary", "observations", "confidence", "fix", "waiver", "checked_at", "node", "duration_ms", "checker"} {
			if _, ok := f[k]; !ok {
				t.Errorf("%v has no %s", f["id"], k)
			}
		}
	}
	waived := got.Results[2]
	if waived["id"] != "P4.1-p4.1" || waived["row"] != 1.0 || waived["state"] != "waived" || waived["original_state"] != "fail" || !reflect.DeepEqual(waived["waiver"], map[string]any{"reason": "old devices", "owner": "ann", "expires": "2026-03-12"}) {
		t.Errorf("%v", waived)
	}
}

// What is waived is a row of the table, and never a critical one that no start looks at.
func TestWaivableRowsAreRows(t *testing.T) {
	byID := map[string]*Check{}
	for _, c := range Checks {
		byID[c.ID] = c
	}
	for _, id := range config.WaivableRows() {
		if c := byID[id]; c == nil || c.Severity == Critical && id != "P4.1" || id == "P2.2" || id == "P5.13" || !strings.Contains(c.Explain(), "waivers: [{id: "+id+", scope: ") {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if text := byID["P2.2"].Explain(); !strings.Contains(text, "it cannot be waived") {
		t.Error(text)
	}
	onNode := res(Fail, Kernel)
	onNode.Key = ""
	for scope, want := range map[string]State{config.ScopeNode: Waived, "listeners.a": Fail} {
		r := run([]config.Waiver{{ID: "P1.11", Scope: scope, Reason: "a clock of the host", Owner: "ann", Expires: config.DateOf(t0)}}, row("P1.11", Low, 3, Kernel, onNode))
		if got := r.Rows[0].State(); got != want {
			t.Errorf("scope %s: %s", scope, got)
		}
	}
}

func TestSelect(t *testing.T) {
	for _, words := range [][]string{{"P3.1"}, {"p3.1"}, {"tls-versions"}, {"P3.1-tls-versions"}, {"P3.1", "tls-versions"}} {
		if got, err := Select(Checks, words); err != nil || len(got) != 1 || got[0].ID != "P3.1" {
			t.Errorf("%v: %v, %v", words, got, err)
		}
	}
	if got, err := Select(Checks, nil); err != nil || len(got) != len(Checks) {
		t.Errorf("all: %d, %v", len(got), err)
	}
	if _, err := Select(Checks, []string{"P9.9"}); err == nil || !strings.Contains(err.Error(), "P4.3") {
		t.Errorf("%v", err)
	}
}

// Every row says what a report, a page and an operator need.
func TestTheTableIsComplete(t *testing.T) {
	weights := map[Severity][]int{Critical: {10}, High: {8}, Medium: {5}, Low: {3}}
	seen := map[string]bool{}
	last := ""
	for _, c := range Checks {
		place := fmt.Sprintf("%d.%03d %s", c.Phase, c.row(), c.ID) // P1.10 is behind P1.9, P1.3b behind P1.3a
		if seen[c.ID] || seen[c.Slug] || place < last || c.ID[:2] != fmt.Sprintf("P%d", c.Phase) {
			t.Errorf("%s: twice, or out of order", c.Name())
		}
		seen[c.ID], seen[c.Slug], last = true, true, place
		if c.Title == "" || c.Why == "" || c.How == "" || c.Fix == "" || len(c.Standards) == 0 || c.Run == nil || Phases[c.Phase] == "" || c.row() == 0 || c.Demands.rung() < Effective.rung() {
			t.Errorf("%s is not complete", c.Name())
		}
		if !slices.Contains(weights[c.Severity], c.Weight) {
			t.Errorf("%s: severity %s, weight %d", c.Name(), c.Severity, c.Weight)
		}
		text := c.Explain()
		for _, want := range []string{c.ID, c.Title, "Why", "Fix", c.Standards[0]} {
			if !strings.Contains(text, want) {
				t.Errorf("--explain %s lacks %q", c.ID, want)
			}
		}
		for l := range strings.Lines(text) {
			if len(l) > 140 {
				t.Errorf("--explain %s has a line of %d bytes", c.ID, len(l))
			}
		}
		if c.Demands == Behavioural && !strings.Contains(c.How, "Positive control") {
			t.Errorf("%s does not say what its positive control is", c.Name())
		}
	}
}

// The limits a broker is held to are the defaults it ships with: one of both is
// wrong when they differ.
func TestCeilingsAreTheDefaults(t *testing.T) {
	loaded, err := config.Load(config.Options{DataDir: t.TempDir(), Now: t0})
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[string]any{}
	for _, s := range loaded.Settings() {
		byKey[s.Key] = s.Value
	}
	l := &loaded.Config.Limits
	defaults := Limits{
		PacketBytes: int64(l.PacketBytes), ConnectPacketBytes: int64(l.ConnectPacketBytes), TopicLevels: int64(l.TopicLevels), TopicBytes: int64(l.TopicBytes),
		ClientIDBytes: int64(l.ClientIDBytes), UserProperties: int64(l.UserProperties), Inflight: int64(l.Inflight), AwaitingRel: int64(l.AwaitingRel),
		MqueueMessages: int64(l.MqueueMessages), MqueueBytes: int64(l.MqueueBytes), Subscriptions: int64(l.Subscriptions), WildcardSubscriptions: int64(l.WildcardSubscriptions),
		TopicAliases: int64(l.TopicAliases), SessionExpiryMaxSeconds: int64(l.SessionExpiryMax), ConnectDeadlineMillis: l.ConnectDeadline.Std().Milliseconds(),
	}
	for _, c := range limitCeilings {
		if _, ok := byKey[c.key]; !ok || c.of(&defaults) != c.most {
			t.Errorf("%s: the checklist says %d, the default is %d (a key: %v)", c.key, c.most, c.of(&defaults), ok)
		}
	}
	if n := reflect.TypeFor[Limits]().NumField(); n != len(limitCeilings) {
		t.Errorf("%d limits, %d are judged", n, len(limitCeilings))
	}
}

// A limit beyond the checklist keeps the row, with a warning.
func TestALooserLimitWarns(t *testing.T) {
	f := newFake(t, flaws{})
	f.limits.UserProperties = 65
	f.listen("mqtts", "mqtts", "127.0.0.1:0")
	r := examine(t, f.alone(f.env()), "P4.3").Rows[0]
	if r.State() != Warn || !strings.Contains(r.Results[0].Summary, "limits.user_properties") || !strings.Contains(r.Results[0].Fix, "limits.user_properties") {
		t.Errorf("%s: %+v", r.State(), r.Results[0].Summary)
	}
}

// A limit too far off to be tried at is not taken for one that holds.
func TestALimitBeyondReachIsUnknown(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Limits){
		"packets":       func(l *Limits) { l.PacketBytes = packetProbeMax + 1 },
		"subscriptions": func(l *Limits) { l.Subscriptions = subscriptionProbeMax + 1 },
		"messages":      func(l *Limits) { l.AwaitingRel = releaseProbeMax + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, flaws{})
			change(&f.limits)
			f.listen("mqtts", "mqtts", "127.0.0.1:0")
			if r := examine(t, f.alone(f.env()), "P4.3").Rows[0]; r.State() != Unknown {
				t.Errorf("%s: %s", r.State(), r.Results[0].Summary)
			}
		})
	}
}

// A run that is out of time says unknown, soon.
func TestOutOfTimeIsUnknown(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("mqtts", "mqtts", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	probes := slices.DeleteFunc(slices.Clone(Checks), func(c *Check) bool { return c.Phase < 3 || c.Looks }) // the rest is read
	rep := Examine(ctx, f.alone(f.env()), probes)
	for i := range rep.Rows {
		if s := rep.Rows[i].State(); s != Unknown {
			t.Errorf("%s: %s", rep.Rows[i].Check.ID, s)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(f.users) > 0 {
		t.Error("probe users are left")
	}
}

// Nothing in the rooms that decide about clients knows that a client is a probe:
// no literal there holds the word the names of probe users begin with.
func TestNoRoomKnowsAProbe(t *testing.T) {
	for _, room := range []string{"auth", "broker", "conn", "limit", "listener", "metrics", "mqtt", "retain", "router", "session", "topic"} {
		n := 0
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			n++
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.Contains(strings.ToLower(lit.Value), "probe-") {
					t.Errorf("%s: %s", path, lit.Value)
				}
				return true
			})
			return nil
		})
		if err != nil || n == 0 {
			t.Errorf("%s: %d files, %v", room, n, err)
		}
	}
}

func TestDocsAreTheTable(t *testing.T) {
	path := filepath.Join("..", "docs", "security", "checks.md")
	want := Markdown()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/security/checks.md is stale: go test ./harden -run TestDocs -rewrite")
	}
}

// A waiver that covers nothing is told, and not before all that it could cover has been seen.
func TestIdleWaivers(t *testing.T) {
	at := func(id, scope string) config.Waiver {
		return config.Waiver{ID: id, Scope: scope, Reason: "old devices", Owner: "ann", Expires: config.DateOf(t0.AddDate(0, 0, 9))}
	}
	fails, unknown, passes := res(Fail, Kernel), res(Unknown, Kernel), res(Pass, Kernel)
	for _, r := range []*Result{&fails, &unknown, &passes} {
		r.Key = "listeners.a"
	}
	past := at("P3.1", "listeners.a")
	past.Expires = config.DateOf(t0.AddDate(0, 0, -1))
	for name, c := range map[string]struct {
		waiver config.Waiver
		result Result
		idle   int
	}{
		"in use":              {at("P3.1", "listeners.a"), fails, 0},
		"nothing fails":       {at("P3.1", "listeners.a"), passes, 1},
		"it fails elsewhere":  {at("P3.1", "listeners.b"), fails, 1},
		"nobody could see":    {at("P3.1", "listeners.b"), unknown, 0},
		"another row":         {at("P3.2", "listeners.a"), passes, 0},
		"past":                {past, passes, 0},
		"of a start":          {at("P1.4", "listeners.a"), passes, 0},
		"of the node instead": {at("P3.1", config.ScopeNode), fails, 1},
	} {
		r := run([]config.Waiver{c.waiver}, row("P3.1", Low, 3, Kernel, c.result))
		if len(r.Idle) != c.idle {
			t.Errorf("%s: %v", name, r.Idle)
		}
		var b strings.Builder
		if err := r.WriteText(&b, TextOptions{}); err != nil || strings.Contains(b.String(), "covers nothing: nothing fails there") != (c.idle > 0) || strings.Contains(r.lastLine(), "1 waiver covers nothing") != (c.idle > 0) {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
		if strings.Contains(written(t, r, FormatHTML, WriteOptions{}), "Nothing fails at the scope") != (c.idle > 0) || strings.Contains(written(t, r, FormatMarkdown, WriteOptions{}), "Waivers that cover nothing") != (c.idle > 0) {
			t.Errorf("%s: not told in the forms for people", name)
		}
	}
}

// What is accepted is on the printed page, which has no row that is folded.
func TestAcceptedIsPrinted(t *testing.T) {
	w := config.Waiver{ID: "P3.1", Scope: "listeners.a", Reason: "old devices", Owner: "ann", Approver: "bob", Compensating: "a network of its own", Expires: config.DateOf(t0.AddDate(0, 0, 9))}
	fails := res(Fail, Kernel)
	fails.Key = "listeners.a"
	page := written(t, run([]config.Waiver{w}, row("P3.1", Low, 3, Kernel, fails)), FormatHTML, WriteOptions{})
	_, rest, found := strings.Cut(page, "Accepted for a time")
	accepted, _, _ := strings.Cut(rest, "<section>")
	for _, words := range []string{"P3.1", "Waived by ann, approved by bob, until", "old devices</p>", "<p>Meanwhile: a network of its own</p>"} {
		if !found || !strings.Contains(accepted, words) {
			t.Errorf("no %q in %s", words, accepted)
		}
	}
	if strings.Contains(written(t, run(nil, row("P3.1", Low, 3, Kernel, fails)), FormatHTML, WriteOptions{}), "Accepted for a time") {
		t.Error("a heading over nothing")
	}
}

// Who has approved a waiver, and what keeps the harm small, are in the forms that say whose it is.
func TestApprovedWaiver(t *testing.T) {
	w := config.Waiver{ID: "P3.1", Scope: "listeners.a", Reason: "old devices", Owner: "ann", Approver: "bob\x1b", Compensating: "a network of its own", Expires: config.DateOf(t0.AddDate(0, 0, 9))}
	r := run([]config.Waiver{w}, row("P3.1", Low, 3, Kernel, res(Fail, Kernel)))
	for f, want := range map[Format][]string{
		FormatTable: {"waived by ann, approved by bob"}, FormatJSON: {`"approver": "bob`, `"compensating_control": "a network of its own"`},
		FormatOSCAL: {`"value": "a network of its own"`}, FormatJUnit: {"ann, approved by bob"}, FormatMarkdown: {"approved by bob", "Meanwhile: `a network of its own`"},
		FormatHTML: {"approved by bob", "Meanwhile: a network of its own"},
	} {
		text := written(t, r, f, WriteOptions{Checker: "9.9", Evidence: true})
		for _, words := range want {
			if !strings.Contains(text, words) || strings.Contains(text, "\x1b") {
				t.Errorf("%s has no %q\n%s", f, words, text)
			}
		}
	}
}
