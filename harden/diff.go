package harden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubtmq/redoubt/harden/signed"
)

// What has changed between two runs: states, by row and scope. What was seen may read
// otherwise each time; that is no change.

// Snapshot is what one run comes to, for comparing.
type Snapshot struct {
	// Chain is the report's place among those of its node; nil: it is not signed. Whether the
	// signature is good is Verify's to say.
	Chain    *signed.Link
	Node     string
	Started  time.Time
	Score    int
	Baseline Baseline
	Rules    string // RulesHash of the program that looked
	Scopes   []ScopeState
}

// ScopeState is the verdict on one scope of one row.
type ScopeState struct {
	ID      string // with its slug: P3.1-tls-versions
	Scope   string
	State   State
	Summary string
}

// Change is a verdict that is another one. From is empty for a scope that was not there,
// To for one that is there no more.
type Change struct {
	ID      string `json:"id"`
	Scope   string `json:"scope"`
	From    State  `json:"from"`
	To      State  `json:"to"`
	Summary string `json:"summary"`
}

// Snapshot is that of the report.
func (r *Report) Snapshot() Snapshot {
	s := Snapshot{Node: r.Node, Started: r.Started, Score: r.Score().Points, Baseline: r.Baseline, Rules: RulesHash()}
	for i := range r.Rows {
		for _, x := range r.Rows[i].Results {
			s.Scopes = append(s.Scopes, ScopeState{r.Rows[i].Check.Name(), x.Scope, x.State, x.Summary})
		}
	}
	return s
}

// SnapshotBytesMax is how large a report in JSON may be that is read back: hundreds of
// listeners with all that was seen of each.
const SnapshotBytesMax = 64 << 20

// ReadSnapshot reads a report in JSON that was kept, by this program or one of before. It
// answers an error for what is none, without repeating what is in there.
func ReadSnapshot(r io.Reader) (Snapshot, error) {
	text, err := io.ReadAll(io.LimitReader(r, SnapshotBytesMax+1))
	if err != nil {
		return Snapshot{}, err
	}
	if len(text) > SnapshotBytesMax {
		return Snapshot{}, fmt.Errorf("it is larger than %d MiB, which no report is", SnapshotBytesMax>>20)
	}
	_, s, err := readReport(text)
	return s, err
}

func readReport(text []byte) (*jsonReport, Snapshot, error) {
	var kept jsonReport
	if err := json.Unmarshal(text, &kept); err != nil || kept.Schema == "" {
		return nil, Snapshot{}, errors.New("it is no report of redoubt doctor -o json")
	}
	if kept.Schema != schemaVersion {
		return nil, Snapshot{}, fmt.Errorf("its schema is %q, and this program knows %q", printable(kept.Schema), schemaVersion)
	}
	s := Snapshot{Chain: kept.Chain, Node: printable(kept.Node), Started: kept.StartedAt, Score: kept.Score.Points, Baseline: Baseline(printable(string(kept.Baseline))), Rules: kept.Checker.Rules}
	for _, f := range kept.Results {
		if f != nil {
			s.Scopes = append(s.Scopes, ScopeState{printable(f.ID), printable(f.Scope), State(printable(string(f.State))), printable(f.Summary)})
		}
	}
	return &kept, s, nil
}

// Diff is what has changed from then to now, in the order of now, and then what is gone.
// Rows that now did not look at are left out. A row that was not seen at all (no broker answers,
// say) is one change, and so is each scope of it when it is seen again: what could not be seen is
// not gone, and not new.
func Diff(then, now Snapshot) []Change {
	type key struct{ id, scope string }
	before, looked := map[key]State{}, map[string]bool{}
	for _, s := range then.Scopes {
		before[key{s.ID, s.Scope}] = s.State
	}
	blindThen, blindNow, all := then.blind(), now.blind(), then.worst()
	out := []Change{}
	here := map[key]bool{}
	for _, s := range now.Scopes {
		k := key{s.ID, s.Scope}
		here[k], looked[s.ID] = true, true
		was, known := before[k]
		switch {
		case known:
		case blindThen[s.ID]:
			was = Unknown
		case blindNow[s.ID]:
			was = all[s.ID]
		}
		if was != s.State {
			out = append(out, Change{s.ID, s.Scope, was, s.State, s.Summary})
		}
	}
	for _, s := range then.Scopes {
		if k := (key{s.ID, s.Scope}); looked[s.ID] && !here[k] && !blindThen[s.ID] && !blindNow[s.ID] {
			here[k] = true
			out = append(out, Change{s.ID, s.Scope, s.State, "", s.Summary})
		}
	}
	return out
}

// blind are the rows that were not seen: all there is of one is that the node is unknown.
func (s *Snapshot) blind() map[string]bool {
	n, out := map[string]int{}, map[string]bool{}
	for i := range s.Scopes {
		n[s.Scopes[i].ID]++
	}
	for i := range s.Scopes {
		if x := &s.Scopes[i]; n[x.ID] == 1 && x.Scope == unseenScope && x.State == Unknown {
			out[x.ID] = true
		}
	}
	return out
}

// worst is the state of each row.
func (s *Snapshot) worst() map[string]State {
	out := map[string]State{}
	for i := range s.Scopes {
		x := &s.Scopes[i]
		if was, known := out[x.ID]; !known || x.State.badness() > was.badness() {
			out[x.ID] = x.State
		}
	}
	return out
}

// like makes of then what can be compared with r: where r has looked at fewer rows, the score of
// before is that of those alone. rows is how many those are; 0: all.
func (r *Report) like(then Snapshot) (_ Snapshot, rows int) {
	was, of := then.worst(), Report{}
	for i := range r.Rows {
		if state, known := was[r.Rows[i].Check.Name()]; known {
			of.Rows = append(of.Rows, Row{Check: r.Rows[i].Check, Results: []Result{{State: state}}})
		}
	}
	if len(of.Rows) == len(was) {
		return then, 0
	}
	then.Score = of.Score().Points
	return then, len(of.Rows)
}

// incomparable says what makes a comparison less than it seems.
func incomparable(then, now *Snapshot) (out []string) {
	if then.Node != now.Node {
		out = append(out, fmt.Sprintf("the node was %s and is %s", orDash(then.Node), orDash(now.Node)))
	}
	if then.Baseline != now.Baseline {
		out = append(out, fmt.Sprintf("the baseline was %s and is %s", orDash(string(then.Baseline)), now.Baseline))
	}
	if age := now.Started.Sub(then.Started); age > StaleAfter {
		out = append(out, fmt.Sprintf("the report it is compared with is stale: it is %s old, and its score says nothing of the time since", age.Round(time.Minute)))
	}
	if then.Rules != now.Rules {
		out = append(out, "the checks are of another version")
	}
	return out
}

func fewer(rows int) string {
	if rows == 1 {
		return "both scores are of the one row that was looked at now, and not of a whole report."
	}
	return fmt.Sprintf("both scores are of the %d rows that were looked at now, and not of a whole report.", rows)
}

// word is a state of a change, for a terminal.
func (s State) word() string {
	if w, ok := words[s]; ok {
		return w
	}
	return "[" + orDash(string(s)) + "]"
}

// WriteChanges writes what has changed since then as a table, with the score below.
func (r *Report) WriteChanges(w io.Writer, then Snapshot) error {
	now := r.Snapshot()
	then, rows := r.like(then)
	var b strings.Builder
	changes := Diff(then, now)
	fmt.Fprintf(&b, "Since %s: ", then.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	if len(changes) == 0 {
		b.WriteString("nothing has changed\n")
	} else {
		fmt.Fprintf(&b, "%d changes, score %d before\n", len(changes), then.Score)
	}
	for _, text := range incomparable(&then, &now) {
		fmt.Fprintf(&b, "Note: %s.\n", text)
	}
	if rows > 0 && len(changes) > 0 {
		fmt.Fprintf(&b, "Note: %s\n", fewer(rows))
	}
	if len(changes) > 0 {
		b.WriteByte('\n')
		if err := writeChangeTable(&b, changes); err != nil {
			return err
		}
	}
	b.WriteString("\n" + Caveat + "\n" + r.lastLine() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func writeChangeTable(w io.Writer, changes []Change) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWAS\tIS\tWHAT")
	for _, c := range changes {
		id, _, _ := strings.Cut(c.ID, "-")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", id, c.From.word(), c.To.word(), oneLine(c.Scope+": "+c.Summary))
	}
	return t.Flush()
}

// jsonChanges is what has changed, as JSON on one line.
type jsonChanges struct {
	Schema   string    `json:"schema"`
	Node     string    `json:"node"`
	Since    time.Time `json:"since"`
	At       time.Time `json:"started_at"`
	Baseline Baseline  `json:"baseline"`
	Before   int       `json:"score_before"`
	Score    jsonScore `json:"score"`
	Caveat   string    `json:"caveat"`
	Notes    []string  `json:"notes"`
	Changes  []Change  `json:"changes"`
}

// WriteChangesJSON writes the same as one line of JSON.
func (r *Report) WriteChangesJSON(w io.Writer, then Snapshot) error {
	now := r.Snapshot()
	then, rows := r.like(then)
	out := jsonChanges{schemaVersion, r.Node, then.Started.UTC(), r.Started.UTC(), r.Baseline, then.Score, jsonScore(r.Score()), Caveat, incomparable(&then, &now), Diff(then, now)}
	if rows > 0 {
		out.Notes = append(out.Notes, strings.TrimSuffix(fewer(rows), "."))
	}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// WriteChangesSince writes changes for who watches: a line for each, with the time, and
// one with the score. Nothing has changed: nothing is written.
func (r *Report) WriteChangesSince(w io.Writer, then Snapshot) error {
	changes := Diff(then, r.Snapshot())
	if len(changes) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	if err := writeChangeTable(&b, changes); err != nil {
		return err
	}
	b.WriteString(r.lastLine() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Before is the snapshot of a run that has seen nothing yet, from which everything in r is
// a change.
func (r *Report) Before() Snapshot {
	s := r.Snapshot()
	s.Score, s.Scopes = 0, nil
	return s
}
