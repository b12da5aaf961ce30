package harden

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/harden/signed"
)

// The JSON form: a header about the run, and one object for each check and scope
// that can be read by itself.

type jsonReport struct {
	Schema    string         `json:"schema"`
	Kind      string         `json:"kind"`
	Chain     *signed.Link   `json:"chain"` // null: it is not signed
	Node      string         `json:"node"`
	Version   string         `json:"broker_version"`
	Baseline  Baseline       `json:"baseline"`
	StartedAt time.Time      `json:"started_at"`
	Duration  int64          `json:"duration_ms"`
	Checker   jsonChecker    `json:"checker"`
	Score     jsonScore      `json:"score"`
	Counts    map[State]int  `json:"counts"`
	Caveat    string         `json:"caveat"`
	Idle      []IdleWaiver   `json:"waivers_that_cover_nothing"`
	Results   []*jsonFinding `json:"results"`
}

type jsonChecker struct {
	Version string `json:"version"`
	Rules   string `json:"rules_sha256"`
}

type jsonScore struct {
	Points int    `json:"points"`
	Cap    int    `json:"cap"`
	Why    string `json:"why,omitempty"`
}

// jsonRow is what a finding says about its row.
type jsonRow struct {
	ID        string     `json:"id"`
	Title     string     `json:"title"`
	Phase     int        `json:"phase"`
	Row       int        `json:"row"`
	Severity  Severity   `json:"severity"`
	Weight    int        `json:"weight"`
	Profiles  []Baseline `json:"profiles"`
	Standards []string   `json:"standards"`
	Demands   Confidence `json:"demanded_confidence"`
	Rationale string     `json:"rationale"`
}

type jsonFinding struct {
	Schema string `json:"schema"`
	jsonRow
	Scope        string        `json:"scope"`
	Location     *jsonPlace    `json:"location"`
	State        State         `json:"state"`
	Original     State         `json:"original_state"`
	Summary      string        `json:"summary"`
	Observations []Observation `json:"observations"`
	Confidence   Confidence    `json:"confidence"`
	Fix          jsonFix       `json:"fix"`
	Waiver       *jsonWaiver   `json:"waiver"`
	CheckedAt    time.Time     `json:"checked_at"`
	Node         string        `json:"node"`
	Duration     int64         `json:"duration_ms"`
	Checker      jsonChecker   `json:"checker"`
}

// jsonFix is what helps: in words, and as a command where it is one.
type jsonFix struct {
	Text     string   `json:"text"`
	Cmd      string   `json:"cmd"`
	Files    []string `json:"files"`
	Restart  string   `json:"restart"`
	Rollback string   `json:"rollback"`
}

// jsonPlace is where the configuration has what a finding is about.
type jsonPlace struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

type jsonWaiver struct {
	Reason       string `json:"reason"`
	Owner        string `json:"owner"`
	Approver     string `json:"approver,omitempty"`
	Compensating string `json:"compensating_control,omitempty"`
	Expires      string `json:"expires"`
}

// reportKind is what a report says it is, so that nothing else that a node signs passes for one.
const reportKind = "redoubt-hardening-report"

// schemaVersion is that of both forms.
const schemaVersion = "1"

// WriteJSON writes the report, unsigned. checker is the version of this program.
func (r *Report) WriteJSON(w io.Writer, checker string) error { return r.writeJSON(w, checker, nil) }

func (r *Report) writeJSON(w io.Writer, checker string, at *signed.Link) error {
	who := jsonChecker{checker, RulesHash()}
	score := r.Score()
	out := jsonReport{
		Schema: schemaVersion, Kind: reportKind, Chain: at, Node: r.Node, Version: r.Version, Baseline: r.Baseline, StartedAt: r.Started.UTC(), Duration: r.Duration.Milliseconds(), Checker: who,
		Score: jsonScore(score), Counts: r.Counts(), Caveat: Caveat, Idle: append([]IdleWaiver{}, r.Idle...), Results: []*jsonFinding{},
	}
	for i := range r.Rows {
		c := r.Rows[i].Check
		m := r.remedy(c)
		for k := range r.Rows[i].Results {
			x := &r.Rows[i].Results[k]
			f := &jsonFinding{
				Schema: schemaVersion,
				jsonRow: jsonRow{ID: c.Name(), Title: c.Title, Phase: c.Phase, Row: c.row(), Severity: c.Severity, Weight: c.Weight,
					Profiles: c.Baselines(), Standards: c.Standards, Demands: c.Demands, Rationale: c.Why},
				Scope: x.Scope, State: x.State, Original: x.Original, Summary: x.Summary, Observations: x.Observations, Confidence: x.Confidence,
				Fix: x.fix(c, m), CheckedAt: x.Began.UTC(), Node: r.Node, Duration: x.Duration.Milliseconds(), Checker: who,
			}
			if f.Observations == nil {
				f.Observations = []Observation{}
			}
			if x.At.Line > 0 {
				f.Location = &jsonPlace{x.At.Name, x.At.Line}
			}
			if x.Waiver != nil {
				f.Waiver = &jsonWaiver{x.Waiver.Reason, x.Waiver.Owner, x.Waiver.Approver, x.Waiver.Compensating, x.Waiver.Expires.String()}
			}
			out.Results = append(out.Results, f)
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// row is the number of the row within its phase; 0: the id has none. A letter
// behind it tells parts of a row apart: P1.3a.
func (c *Check) row() int {
	_, n, _ := strings.Cut(c.ID, ".")
	n = strings.TrimRight(n, "ab")
	row, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return row
}
