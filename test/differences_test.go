package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/internal/testkit/talk"
)

var rewriteDifferences = flag.Bool("rewrite", false, "write docs/spec/mosquitto.json anew, keeping the reasons; a new difference has none and must be given one")

// longestWait is how long a case may wait to be played in real time.
const longestWait = 4 * time.Second

// atOnce is how many Mosquittos run; each mostly waits.
const atOnce = 6

// differencesFile is docs/spec/mosquitto.json.
type differencesFile struct {
	Broker      string            `json:"broker"`
	Reasons     map[string]string `json:"reasons"` // why, by a short name
	Differences []difference      `json:"differences"`
}

// difference is where Mosquitto first leaves a conversation that Redoubt holds.
type difference struct {
	Script    string   `json:"script"`
	Case      string   `json:"case"`
	Versions  []string `json:"versions"`
	Line      string   `json:"line"`      // what Redoubt does here
	Mosquitto string   `json:"mosquitto"` // what came instead
	Reason    string   `json:"reason"`    // name in Reasons
}

func (d *difference) key() string {
	return strings.Join([]string{d.Script, d.Case, d.Line, d.Mosquitto}, "\x00")
}

// TestDifferencesFromMosquitto plays the scripts of internal/testkit/talk against
// Debian's Mosquitto. Redoubt holds every line of them (TestConformance of package
// conn), so where Mosquitto leaves one the two differ, and docs/spec/mosquitto.json
// must say why; a reason for a difference that is no more fails as well.
func TestDifferencesFromMosquitto(t *testing.T) {
	t.Parallel()
	root, err := testkit.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "spec", "mosquitto.json")
	var known differencesFile
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil && !*rewriteDifferences {
		t.Fatal(err)
	}
	found := playForeign(t)
	if *rewriteDifferences {
		known.adopt(found)
		writeDifferences(t, path, &known)
	}
	known.judge(t, found)
	page, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".md")
	if err != nil || string(page) != known.page() {
		t.Errorf("docs/spec/mosquitto.md is not what mosquitto.json says (%v): go test ./test -run TestDifferencesFromMosquitto -rewrite", err)
	}
}

// adopt takes what was found, with the reasons known so far. A script that was
// edited brings another line of the same case: it keeps the case's reason, and
// whoever reads the change of the file judges whether that is still why.
func (f *differencesFile) adopt(found []difference) {
	why := make(map[string]string)
	for i := range f.Differences {
		d := &f.Differences[i]
		why[d.key()], why[d.Script+d.Case] = d.Reason, d.Reason
	}
	f.Broker = "mosquitto 2.0.11-1.2+deb12u2"
	f.Differences = slices.Clone(found)
	for i := range f.Differences {
		d := &f.Differences[i]
		if d.Reason = why[d.key()]; d.Reason == "" {
			d.Reason = why[d.Script+d.Case]
		}
	}
}

// judge fails on a difference without a reason, and on a reason without a
// difference.
func (f *differencesFile) judge(t *testing.T, found []difference) {
	t.Helper()
	explained := make(map[string]difference)
	used := make(map[string]bool)
	for _, d := range f.Differences {
		if used[d.Reason] = true; f.Reasons[d.Reason] == "" {
			t.Errorf("%s: %s\n  %s\n  Mosquitto: %s\n  has no reason in docs/spec/mosquitto.json", d.Script, d.Case, d.Line, d.Mosquitto)
		}
		explained[d.key()] = d
	}
	for _, d := range found {
		e, ok := explained[d.key()]
		if !ok || !slices.Equal(e.Versions, d.Versions) {
			t.Errorf("a difference that nobody explains: %s: %s (%s)\n  %s\n  Mosquitto: %s", d.Script, d.Case, strings.Join(d.Versions, " "), d.Line, d.Mosquitto)
		}
		delete(explained, d.key())
	}
	for _, d := range explained {
		t.Errorf("explained, but it no longer occurs: %s: %s\n  %s\n  Mosquitto: %s", d.Script, d.Case, d.Line, d.Mosquitto)
	}
	for name := range f.Reasons {
		if !used[name] {
			t.Errorf("the reason %q explains nothing", name)
		}
	}
}

// exact are cases that need a clock as exact as a simulated one.
var exact = map[string]bool{
	"A message that expired is not delivered": true, "What is left of the expiry is told": true,
	"A will whose delay is longer than its session goes with the session": true,
}

// playForeign plays what can be played, and answers the differences.
func playForeign(t *testing.T) []difference {
	t.Helper()
	type job struct {
		c *talk.Case
		v talk.Version
	}
	var jobs []job
	for _, f := range talk.Scripts(t) {
		for _, c := range f.Cases {
			if why := unplayable(c); why != "" {
				t.Logf("not played: %s: %s: %s", c.File, c.Name, why)
				continue
			}
			for _, v := range c.Versions {
				jobs = append(jobs, job{c, v})
			}
		}
	}
	// The long ones first, so that they do not end alone.
	slices.SortStableFunc(jobs, func(a, b job) int { return int(b.c.Waits() - a.c.Waits()) })
	secrets := foreignSecrets(t)
	results := make([]*difference, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				results[i] = playOne(t, secrets, jobs[i].c, jobs[i].v)
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	return gather(results)
}

// unplayable says why a case is not played; empty: it is.
func unplayable(c *talk.Case) string {
	if c.Fails != "" {
		return "Redoubt does not do it either"
	}
	for name := range c.With {
		if foreignSettings[name] == nil {
			return "Mosquitto has no setting like " + name
		}
	}
	if exact[c.Name] {
		return "it counts seconds"
	}
	if c.Waits() > longestWait {
		return fmt.Sprintf("it waits %v", c.Waits())
	}
	return ""
}

// playOne answers where Mosquitto leaves the conversation; nil: nowhere.
func playOne(t *testing.T, secrets string, c *talk.Case, v talk.Version) *difference {
	w := startForeign(t, secrets, c.With)
	defer w.end()
	err := talk.Play(c, v, w)
	if err == nil && w.dead == nil {
		return nil
	}
	d := &difference{Script: c.File, Case: c.Name, Versions: []string{v.String()}}
	if f := (*talk.Failure)(nil); errors.As(err, &f) {
		d.Line = f.Text
		d.Mosquitto = plain(f.Err.Error())
	}
	if w.dead != nil {
		d.Mosquitto = "the broker ended"
	}
	return d
}

// What a run makes anew is not a difference.
var generated = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`auto-[0-9A-F-]{36}`), "auto-*"},
	{regexp.MustCompile(`line \d+: `), ""},
	{regexp.MustCompile(` +(alias-maximum|receive-maximum|maximum-packet)=\d+`), ""}, // limits in CONNACK; cases about them ask for values
}

// plain is the first line of what went wrong, without what is made anew.
func plain(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	for _, g := range generated {
		text = g.what.ReplaceAllString(text, g.by)
	}
	return text
}

// gather makes one of what differs in the same way in several versions.
func gather(results []*difference) []difference {
	var out []difference
	at := make(map[string]int)
	for _, d := range results {
		if d == nil {
			continue
		}
		i, ok := at[d.key()]
		if !ok {
			i = len(out)
			at[d.key()] = i
			out = append(out, *d)
			out[i].Versions = nil
		}
		out[i].Versions = append(out[i].Versions, d.Versions...)
	}
	for i := range out {
		sort.Strings(out[i].Versions)
	}
	slices.SortFunc(out, func(a, b difference) int { return strings.Compare(a.key(), b.key()) })
	return out
}

// writeDifferences writes the data and the page made of it.
func writeDifferences(t *testing.T, path string, f *differencesFile) {
	t.Helper()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false) // people read it
	err := enc.Encode(f)
	if err == nil {
		err = os.WriteFile(path, text.Bytes(), 0o644)
	}
	if err == nil {
		err = os.WriteFile(strings.TrimSuffix(path, ".json")+".md", []byte(f.page()), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// page is docs/spec/mosquitto.md.
func (f *differencesFile) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Where Mosquitto answers otherwise\n\nThe scripts of internal/testkit/talk are played against %s with the same users and rights.\n"+
		"Here is each place where it leaves the conversation that Redoubt holds, and why. A later line of such a case is not looked at. Cases that\n"+
		"wait long, need an exact clock or a setting that Mosquitto does not have are not played; the test logs them.\n"+
		"Generated from mosquitto.json by `go test ./test -run TestDifferencesFromMosquitto -rewrite`; a reason is written there.\n", f.Broker)
	names := make([]string, 0, len(f.Reasons))
	for name := range f.Reasons {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| Case | Version | Redoubt | Mosquitto |\n| --- | --- | --- | --- |\n", strings.ReplaceAll(name, "-", " "), f.Reasons[name])
		for _, d := range f.Differences {
			if d.Reason == name {
				fmt.Fprintf(&b, "| %s: %s | %s | %s | %s |\n", strings.TrimSuffix(d.Script, ".txt"), cell(d.Case), strings.Join(d.Versions, " "), cell(d.Line), cell(d.Mosquitto))
			}
		}
	}
	return b.String()
}

// cell keeps a text in its column.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
