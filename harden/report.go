package harden

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

// Report is one run: who was looked at, when, and what was found.
type Report struct {
	Node, Version string // of the broker; empty: none answered
	Baseline      Baseline
	ConfigFile    string // empty: built-in defaults
	RulesFile     string
	Started       time.Time
	Duration      time.Duration
	Rows          []Row
	// Idle are waivers in force that cover nothing: their row was looked at, and there is no
	// finding at their scope.
	Idle []IdleWaiver
	// Signed is as what it was signed and kept; nil: it was not.
	Signed *SignedAs
}

// Row is what one check found.
type Row struct {
	Check   *Check
	Results []Result
	Took    time.Duration // of the check as a whole; its results were made one after the other, or together
}

// State is the worst of the row's results.
func (r *Row) State() State {
	states := make([]State, len(r.Results))
	for i := range r.Results {
		states[i] = r.Results[i].State
		if states[i] == Waived { // counts only where everything else is well
			states[i] = NotApplicable
		}
	}
	s := worst(states...)
	if s.badness() <= Pass.badness() && slices.ContainsFunc(r.Results, func(x Result) bool { return x.State == Waived }) {
		return Waived
	}
	return s
}

// looked is the state by what was looked at: what only a probe could tell, and nobody tried, is
// left out.
func (r *Row) looked() State {
	rest := Row{Check: r.Check, Results: slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.Untried })}
	return rest.State()
}

// Untried tells whether the row is unknown for no other reason than that nobody tried.
func (r *Row) Untried() bool { return r.State() == Unknown && r.looked() != Unknown }

// Confidence is the lowest that was reached where something was judged.
func (r *Row) Confidence() Confidence {
	var least Confidence
	for i, first := 0, true; i < len(r.Results); i++ {
		x := &r.Results[i]
		if x.State != NotApplicable && (first || x.Confidence.rung() < least.rung()) {
			least, first = x.Confidence, false
		}
	}
	return least
}

// Examine runs checks one after the other. It waits for nothing longer than ctx
// and Env.Step allow; what there was no time for is unknown.
func Examine(ctx context.Context, e *Env, checks []*Check) *Report {
	rep := &Report{Baseline: e.baseline(), ConfigFile: printable(e.File), RulesFile: printable(e.Config.Authz.RulesFile), Started: e.Clock.Now()}
	if b, err := e.broker(ctx); err == nil {
		rep.Node, rep.Version = printable(b.Node), printable(b.Version)
	}
	for _, c := range checks {
		if c.Phase == 3 && rep.Node != "" { // later ones make users of their own
			e.announce(ctx)
		}
		began := e.Clock.Now()
		rep.add(e, c, judge(ctx, e, c))
		rep.Rows[len(rep.Rows)-1].Took = e.Clock.Now().Sub(began)
	}
	rep.findIdle(e.Config.Waivers)
	rep.Duration = e.Clock.Now().Sub(rep.Started)
	return rep
}

// add makes a row of what a check has found.
func (r *Report) add(e *Env, c *Check, results []Result) {
	waive(c, results, e.Config.Waivers, r.Started)
	for i := range results {
		x := &results[i]
		if x.Key != "" && e.Place != nil {
			x.At = e.Place(x.Key)
		}
		if x.Began.IsZero() {
			x.Began = r.Started
		}
		x.clean()
	}
	r.Rows = append(r.Rows, Row{Check: c, Results: results})
}

// broker is the running broker's account, asked for once.
func (e *Env) broker(ctx context.Context) (*BrokerReport, error) {
	if e.Broker == nil {
		why := e.NoBroker
		if why == "" {
			why = "no broker runs"
		}
		return nil, fmt.Errorf("%s", why)
	}
	if e.seen.report == nil && e.seen.reportErr == nil {
		r, err := e.Broker.Report(ctx)
		if err != nil {
			e.seen.reportErr = fmt.Errorf("the broker gave no account of itself: %w", err)
		} else {
			e.seen.report = &r
		}
	}
	return e.seen.report, e.seen.reportErr
}

// Select finds checks by id, slug or both (P3.1, tls-versions, P3.1-tls-versions), and
// answers them in the order of checks. The id of a row that has parts is all of them
// (P1.3), and no word means all.
func Select(checks []*Check, words []string) ([]*Check, error) {
	if len(words) == 0 {
		return checks, nil
	}
	var out []*Check
	for _, w := range words {
		found := false
		for _, c := range checks {
			whole := strings.TrimRight(c.ID, "ab")
			if !strings.EqualFold(w, c.ID) && !strings.EqualFold(w, whole) && !strings.EqualFold(w, c.Slug) && !strings.EqualFold(w, c.Name()) {
				continue
			}
			if found = true; !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no check %q; there are %s", w, names(checks))
		}
	}
	slices.SortFunc(out, func(a, b *Check) int { return slices.Index(checks, a) - slices.Index(checks, b) }) // by phase
	return out, nil
}

func names(checks []*Check) string {
	var out []string
	for _, c := range checks {
		out = append(out, c.ID)
	}
	return strings.Join(out, ", ")
}

// Counts is how many rows are in each state.
func (r *Report) Counts() map[State]int {
	n := map[State]int{}
	for i := range r.Rows {
		n[r.Rows[i].State()]++
	}
	return n
}

// The exit codes of a run.
const (
	ExitClean    = 0 // nothing failed at or above the threshold
	ExitFindings = 1
	ExitError    = 2 // the checker itself could not do its work
	ExitUnknown  = 3 // more rows are unknown than were allowed
)

// ExitCode is what a run ends with. Findings count before unknowns.
func (r *Report) ExitCode(failOn Severity, unknownMax int) int {
	for i := range r.Rows {
		if row := &r.Rows[i]; row.State() == Fail && row.Check.Severity.AtLeast(failOn) {
			return ExitFindings
		}
	}
	if r.Counts()[Unknown] > unknownMax {
		return ExitUnknown
	}
	return ExitClean
}

// RulesHash names this version of the table: what is demanded, of whom, and how
// it is judged in words.
func RulesHash() string { return rulesHash() }

// rulesHash is what RulesHash answers, from the first call on: the table is part of the
// program, and a broker that looks at itself names it with each look.
var rulesHash = sync.OnceValue(func() string {
	h := sha256.New()
	for _, c := range Checks {
		fmt.Fprintf(h, "%q %q %q %d %q %d %q %q %q\n", c.ID, c.Slug, c.Title, c.Phase, c.Severity, c.Weight, c.Demands, c.How, c.Fix)
	}
	for _, l := range limitCeilings {
		fmt.Fprintf(h, "%q %d\n", l.key, l.most)
	}
	fmt.Fprintf(h, "%d %d %d %q\n", edgeConnections, clusterFiles, clusterProcessFiles, clusterRows)
	for _, name := range slices.Sorted(maps.Keys(systemEnds)) {
		fmt.Fprintf(h, "%q %q\n", name, systemEnds[name])
	}
	return hex.EncodeToString(h.Sum(nil))
})

// Waiver is an accepted exception from one row, for a time.
type Waiver struct {
	Reason       string
	Owner        string
	Approver     string // empty: nobody else was asked
	Compensating string // what keeps the harm small; empty: nothing is named
	Expires      config.Date
}

// by is whose waiver it is.
func (w *Waiver) by() string {
	if w.Approver == "" {
		return w.Owner
	}
	return w.Owner + ", approved by " + w.Approver
}

// waive marks what somebody accepted, and keeps what it was. An expired waiver
// covers nothing; unknown cannot be waived: nobody knows what it would cover.
func waive(c *Check, results []Result, waivers []config.Waiver, now time.Time) {
	for i := range results {
		r := &results[i]
		if r.State != Fail && r.State != Warn {
			continue
		}
		for _, w := range waivers {
			if w.ID != c.ID || w.Scope != cmp.Or(r.Key, config.ScopeNode) {
				continue
			}
			if !now.Before(w.Expires.End()) {
				r.Summary += fmt.Sprintf(" (the waiver of %s expired on %s)", w.Owner, w.Expires)
				continue
			}
			r.State, r.Waiver = Waived, &Waiver{Reason: w.Reason, Owner: w.Owner, Approver: w.Approver, Compensating: w.Compensating, Expires: w.Expires}
			break
		}
	}
}
