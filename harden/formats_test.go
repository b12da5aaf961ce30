package harden

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// evil is what a peer could have called itself, with a word that a test finds again.
const evil = "\x1b[31mEVIL\x07\u009b2J \u202eEVIL\u2066 \x00\xff<script>EVIL()</script>]]>&<img src=x onerror=EVIL>\"' | EVIL `EVIL` ``` [EVIL](http://evil.example) ![x](y) @evil #1 {0} **EVIL**\r\n# EVIL\n- EVIL"

// allStates is a report with every state in it, two of whose scopes have been named by a
// peer, and one waiver.
func allStates() *Report {
	at := func(key string) config.Origin {
		if key == "listeners.a" {
			return config.Origin{Kind: config.FromFile, Name: "/etc/redoubt/redoubt.yaml", Line: 12, Column: 3}
		}
		return config.Origin{}
	}
	waived, hostile := res(Fail, Behavioural), res(Fail, Behavioural)
	waived.Scope = "listener:a@tcp:127.0.0.1:1883"
	hostile.Scope, hostile.Key, hostile.Summary, hostile.Fix = "listener:b "+evil, "listeners.b", evil, "mend "+evil
	hostile.Observations = []Observation{{Method: Probe, What: evil, Expected: evil, Actual: evil, Source: evil, State: Fail}, {Method: ReadFile, What: "file", Expected: "closed", Actual: "mode 0600", State: Pass}}
	e := &Env{Clock: clock.NewManual(t0), Place: at, File: "/etc/redoubt/redoubt.yaml", Broker: account{BrokerReport: BrokerReport{Node: "n1", Version: "1.2 " + evil}},
		Config: &config.Config{Waivers: []config.Waiver{{ID: "P4.1", Scope: "listeners.a", Reason: "old devices " + evil, Owner: "ann " + evil, Expires: config.DateOf(t0.AddDate(0, 0, 11))}}}}
	return Examine(context.Background(), e, []*Check{
		row("P1.4", High, 8, Kernel, res(Pass, Kernel)), row("P2.2", High, 8, Kernel, res(Warn, Kernel)), row("P2.3", Low, 3, Kernel, Result{Scope: "node", State: Unknown, Summary: evil}),
		row("P3.1", Medium, 5, Behavioural, Result{Scope: "node", State: Fail, Summary: "medium"}),
		row("P4.1", Critical, 10, Behavioural, waived, hostile), row("P4.2", Low, 3, Behavioural, Result{Scope: "node", State: NotApplicable, Summary: "nothing there"}),
		row("P4.3", Low, 3, Behavioural, Result{Scope: "node", State: Manual, Summary: "ask somebody"}), row("P5.1", Low, 3, Behavioural, Result{Scope: "x", State: Fail, Summary: "low"}),
	})
}

func written(t *testing.T, r *Report, f Format, opt WriteOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f, opt); err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return b.String()
}

// Nothing that a peer has chosen steers a terminal, whatever the form, and each form is
// what it says it is.
func TestNoFormIsSteered(t *testing.T) {
	for _, f := range Formats {
		text := written(t, allStates(), f, WriteOptions{Checker: "9.9", Evidence: true})
		for _, r := range text {
			if r != '\n' && unprintable(r) {
				t.Errorf("%s has %U", f, r)
				break
			}
		}
		if !strings.Contains(text, "EVIL") {
			t.Errorf("%s does not show what was seen", f)
		}
		again := written(t, allStates(), f, WriteOptions{Checker: "9.9", Evidence: true})
		if text != again {
			t.Errorf("%s is not the same twice", f)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// validate holds a document to a schema of testdata/schemas.
func validate(t *testing.T, schema, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join("testdata", "schemas", schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(decoded(t, text)); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestSARIF(t *testing.T) {
	text := written(t, allStates(), FormatSARIF, WriteOptions{Checker: "9.9", Folder: "/etc"})
	validate(t, "sarif-2.1.0-rtm.5.json", text)
	validate(t, "sarif-2.1.0-rtm.5.json", written(t, run(nil), FormatSARIF, WriteOptions{}))
	var got sarifLog
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, r := range got.Runs[0].Results {
		id, _, _ := strings.Cut(r.RuleID, "-")
		if rule := got.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID; rule != r.RuleID {
			t.Errorf("%s points at rule %s", r.RuleID, rule)
		}
		if strings.Contains(r.Message.Text, "](") || strings.Contains(r.Message.Text, "{0}") {
			t.Errorf("a link or an argument in %q", r.Message.Text)
		}
		place, suppressed := "-", ""
		if p := r.Locations[0].Physical; p != nil {
			place = p.Artifact["uri"]
		}
		for _, s := range r.Suppressions {
			suppressed = " " + s.Kind + " " + s.Status
		}
		said = append(said, id+" "+r.Kind+" "+r.Level+" "+place+suppressed)
	}
	want := []string{"P1.4 pass none redoubt/redoubt.yaml", "P2.2 fail warning redoubt/redoubt.yaml", "P2.3 open none -", "P3.1 fail warning -", "P4.1 fail error redoubt/redoubt.yaml external accepted",
		"P4.1 fail error -", "P4.2 notApplicable none -", "P4.3 review none -", "P5.1 fail note -"}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(said, "\n"))
	}
	if r := got.Runs[0].Results[4]; r.Fingerprints["redoubtIdScope/v1"] != "P4.1-p4.1|listener:a@tcp:127.0.0.1:1883" || r.Locations[0].Physical.Region["startLine"] != 12 ||
		!strings.HasPrefix(r.Suppressions[0].Justification, "old devices") {
		t.Errorf("%+v", r)
	}
}

func TestArtifactsAreURIs(t *testing.T) {
	for _, c := range []struct{ path, folder, want string }{
		{"/etc/redoubt/a b.yaml", "/srv", "file:///etc/redoubt/a%20b.yaml"}, {"/srv/repo/etc/redoubt.yaml", "/srv/repo", "etc/redoubt.yaml"},
		{"etc/./redoubt.yaml", "/srv", "etc/redoubt.yaml"}, {"../redoubt.yaml", "/srv", "../redoubt.yaml"}, {"/srv/repository/x", "/srv/repo", "file:///srv/repository/x"}, {"a:b.yaml", "", "./a:b.yaml"},
	} {
		if got := artifact(c.path, c.folder); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.path, c.folder, got, c.want)
		}
	}
}

func TestJUnit(t *testing.T) {
	program, err := exec.LookPath("xmllint")
	if err != nil {
		t.Fatal("xmllint is not installed; run: sudo make deps")
	}
	text := written(t, allStates(), FormatJUnit, WriteOptions{Checker: "9.9"})
	cmd := exec.Command(program, "--noout", "--nonet", "--schema", filepath.Join("testdata", "schemas", "jenkins-junit.xsd"), "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
	var got junitReport
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	var tests, failures, errs, skipped int
	for _, s := range got.Suites {
		tests, failures, errs, skipped = tests+s.Tests, failures+s.Failures, errs+s.Errors, skipped+s.Skipped
	}
	if tests != 9 || failures != 3 || errs != 1 || skipped != 3 || len(got.Suites) != 5 {
		t.Errorf("%d cases, %d failures, %d errors, %d skipped in %d suites", tests, failures, errs, skipped, len(got.Suites))
	}
	if p4 := got.Suites[3].Cases; p4[0].Skipped == nil || !strings.HasPrefix(*p4[0].Skipped, "waived by ann") || p4[1].Failure == nil || p4[1].Failure.Type != "critical" ||
		p4[2].Skipped == nil || *p4[2].Skipped != "not applicable: nothing there" {
		t.Errorf("%s", text)
	}
	if !strings.Contains(got.Suites[1].Out, "warning: P2.2") {
		t.Errorf("the warning is nowhere: %s", text)
	}
	// No text of a peer is an element.
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := tok.(xml.StartElement); ok && (s.Name.Local == "script" || s.Name.Local == "img") {
			t.Errorf("an element %s", s.Name.Local)
		}
	}
}

func TestMarkdown(t *testing.T) {
	for _, evidence := range []bool{false, true} {
		text := written(t, allStates(), FormatMarkdown, WriteOptions{Checker: "9.9", Evidence: evidence})
		plain := withoutCode(t, text)
		for _, bad := range []string{"EVIL", "evil", "<script", "onerror", "http://"} {
			if strings.Contains(plain, bad) {
				t.Errorf("%q is outside of code:\n%s", bad, plain)
			}
		}
		for _, want := range []string{"**Score ", "- [ ] **P4.1**", "## Accepted for a time", "## Could not be seen", Caveat} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	if got := mdText("a <b> & [c](d) `e` *f* #1 @g | h"); got != "a &lt;b&gt; &amp; \\[c\\]\\(d\\) \\`e\\` \\*f\\* \\#1 \\@g \\| h" {
		t.Errorf("%s", got)
	}
}

// withoutCode takes the code spans out, as CommonMark finds them: a run of backticks up to
// the next run of the same length.
func withoutCode(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		for {
			i := strings.IndexByte(line, '`')
			if i < 0 {
				break
			}
			out.WriteString(line[:i])
			rest := strings.TrimLeft(line[i:], "`")
			n := len(line[i:]) - len(rest)
			end, at := -1, 0
			for at < len(rest) {
				k := strings.IndexByte(rest[at:], '`')
				if k < 0 {
					break
				}
				run := len(rest[at+k:]) - len(strings.TrimLeft(rest[at+k:], "`"))
				if run == n {
					end = at + k + run
					break
				}
				at += k + run
			}
			if end < 0 {
				t.Fatalf("a code span without an end: %q", line)
			}
			line = rest[end:]
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestHTML(t *testing.T) {
	text := written(t, allStates(), FormatHTML, WriteOptions{Checker: "9.9", Evidence: true})
	for _, bad := range []string{"<script", "<img", "onerror=EVIL>", "javascript:", "style=\"", "http://evil.example\"", "url(", "@import", "<link", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q in the page", bad)
		}
	}
	if got := styleDigest(text); !strings.Contains(strings.ReplaceAll(text, "&#43;", "+"), "style-src &#39;"+got+"&#39;") && !strings.Contains(strings.ReplaceAll(text, "&#43;", "+"), "style-src '"+got+"'") {
		t.Errorf("the page may not use its style: %s", got)
	}
	for _, want := range []string{"default-src 'none'", "Phase 4. MQTT application", "The score is held at 49", Caveat, "EVIL", "@media print", "prefers-color-scheme: dark", "Waived by ann", "redoubt.yaml:12", "The first waiver ends in 11 days"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if n, open := strings.Count(text, "<summary>"), strings.Count(text, "<details open"); n != 8 || open != 8 {
		t.Errorf("%d rows, %d open", n, open)
	}
	if open := strings.Count(written(t, allStates(), FormatHTML, WriteOptions{}), "<details open"); open != 5 {
		t.Errorf("%d rows are open, and 5 need somebody", open)
	}
}

func TestFormatsAreNamed(t *testing.T) {
	for text, want := range map[string]Format{"text": FormatTable, "table": FormatTable, "sarif": FormatSARIF, "md": FormatMarkdown} {
		if f, err := ParseFormat(text); err != nil || f != want {
			t.Errorf("%s: %s, %v", text, f, err)
		}
	}
	if _, err := ParseFormat("pdf\x1b"); err == nil || !strings.Contains(err.Error(), `junit, html or md`) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
	if err := allStates().Write(io.Discard, "pdf", WriteOptions{}); err == nil {
		t.Error("a form that there is not")
	}
}
