package harden

import (
	"crypto/sha256"
	_ "embed" // of the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// The form for people: one page that needs nothing else. It has no scripts, loads nothing,
// and says so to the browser (Content-Security-Policy), so that it can be opened from a
// mail; html/template escapes what others have written. It is made to be printed, too.

//go:embed report.html
var pageText string

// page is the template; pageStyle the digest of its style, which is all the page may use.
var (
	page      = template.Must(template.New("report").Funcs(pageFuncs).Parse(pageText))
	pageStyle = styleDigest(pageText)
)

var pageFuncs = template.FuncMap{
	"word":   func(s State) string { return strings.Trim(words[s], "[]") },
	"mark":   func(s State) string { return marks[s] },
	"ms":     func(d time.Duration) string { return d.Round(time.Millisecond).String() },
	"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"orDash": orDash,
}

// marks are signs beside the words, for who does not see colours.
var marks = map[State]string{Pass: "✓", Fail: "✕", Warn: "!", Unknown: "?", NotApplicable: "–", Manual: "☐", Waived: "○"}

func styleDigest(text string) string {
	_, rest, _ := strings.Cut(text, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	h := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(h[:])
}

// pageData is what the template shows.
type pageData struct {
	*Report
	Style    string
	Checker  string
	Rules    string
	Caveat   string
	Evidence bool
	Score    pageScore
	Counts   []pageCount
	Waiver   string // when the first one ends
	Findings []pageFinding
	Accepted []pageFinding
	Phases   []pagePhase
}

// pageScore is the ring: how long its arc is, of 100, and where the cap is on it.
type pageScore struct {
	Score
	Band       string
	CapX, CapY float64
}

type pageCount struct {
	State State
	N     int
	Many  string // in words
}

type pagePhase struct {
	Number int
	Name   string
	Counts []pageCount
	Rows   []pageRow
}

// pageRow is a row with what its fix touches.
type pageRow struct {
	Row
	State State
	Open  bool
	Whole bool // every observation is shown
	remedy
}

// pageFinding is a row of the list of what is open, its fixes said once for scopes beside
// each other that have the same.
type pageFinding struct {
	Check *Check
	Items []Result
}

func pageFindings(rows []Row) (out []pageFinding) {
	for i := range rows {
		f := pageFinding{rows[i].Check, slices.Clone(rows[i].Results)}
		for k := range f.Items {
			if k+1 < len(f.Items) && f.Items[k].Fix == f.Items[k+1].Fix {
				f.Items[k].Fix = ""
			}
		}
		out = append(out, f)
	}
	return out
}

// pageScope is a result with its observations: those that are shown, and those that are
// there to be opened, so that a report fits on some pages.
type pageScope struct {
	Result
	Shown, Folded []Observation
}

// pageShownMax is how many are shown of a scope where something is wrong.
const pageShownMax = 20

// Scopes are the results.
func (r pageRow) Scopes() (out []pageScope) {
	for _, x := range r.Results {
		s := pageScope{Result: x, Shown: x.Observations}
		if r.Open && !r.Whole {
			s.Shown = nil
			for _, o := range x.Observations {
				if (o.State == Fail || o.State == Warn || o.State == Unknown) && len(s.Shown) < pageShownMax {
					s.Shown = append(s.Shown, o)
				} else {
					s.Folded = append(s.Folded, o)
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// inForce is what has to happen before a fix counts, in words.
var inForce = map[string]string{restartNone: "nothing: it counts at once", restartReload: "redoubt reload", restartBroker: "a restart of the broker", restartHost: "a restart of the host"}

// Restart and Rollback are what templates see of a remedy.
func (r pageRow) Restart() string  { return inForce[r.restart] }
func (r pageRow) Rollback() string { return r.rollback }

// Confidence is a dash where nothing was judged.
func (r pageRow) Confidence() string { return orDash(string(r.Row.Confidence())) }

func (r *Report) writeHTML(w io.Writer, opt WriteOptions) error {
	d := pageData{Report: r, Style: pageStyle, Checker: opt.Checker, Rules: RulesHash(), Caveat: Caveat, Evidence: opt.Evidence, Findings: pageFindings(r.findings(Fail, Warn, Unknown)), Accepted: pageFindings(r.findings(Waived))}
	d.Score = pageScore{Score: r.Score()}
	// The ring begins at the top and goes round clockwise; 50 is its radius.
	turn := 2 * math.Pi * (float64(d.Score.Cap)/100 - 0.25)
	d.Score.CapX, d.Score.CapY = 60+50*math.Cos(turn), 60+50*math.Sin(turn)
	switch {
	case d.Score.Points >= 90:
		d.Score.Band = "good"
	case d.Score.Points >= 80:
		d.Score.Band = "fair"
	default:
		d.Score.Band = "poor"
	}
	d.Counts = pageCounts(r.Rows)
	if days, any := r.waiverDays(); any {
		d.Waiver = fmt.Sprintf("The first waiver ends in %d days", days)
		if days == 1 {
			d.Waiver = "The first waiver ends in 1 day"
		}
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		n := len(d.Phases)
		if n == 0 || d.Phases[n-1].Number != row.Check.Phase {
			d.Phases = append(d.Phases, pagePhase{Number: row.Check.Phase, Name: Phases[row.Check.Phase]})
			n++
		}
		s := row.State()
		d.Phases[n-1].Rows = append(d.Phases[n-1].Rows, pageRow{Row: *row, State: s, Open: opt.Evidence || slices.Contains([]State{Fail, Warn, Unknown}, s), Whole: opt.Evidence, remedy: r.remedy(row.Check)})
	}
	for i := range d.Phases {
		var rows []Row
		for _, x := range d.Phases[i].Rows {
			rows = append(rows, x.Row)
		}
		d.Phases[i].Counts = pageCounts(rows)
	}
	return page.Execute(w, d)
}

// pageCounts are those that are not zero, what needs somebody first.
func pageCounts(rows []Row) (out []pageCount) {
	n := (&Report{Rows: rows}).Counts()
	for _, s := range []State{Fail, Unknown, Warn, Manual, Waived, Pass, NotApplicable} {
		if n[s] > 0 {
			out = append(out, pageCount{s, n[s], strings.ReplaceAll(string(s), "_", " ")})
		}
	}
	return out
}
