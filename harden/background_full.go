package harden

import (
	"math/rand/v2"
	"time"
)

// What is kept of a run beside the changes: the signed report, and once a day all rows in the log,
// so that whoever collects logs has the whole state of each node and what it was signed as.

// fullEvery is how often all rows are in the log. The first time is an hour or two after the start.
const fullEvery = 24 * time.Hour

// sign keeps the report in the chain of the node. That it cannot is told once, until the reason is
// another one: hardening is judged all the same.
func (b *Background) sign(e *Env, rep *Report) {
	if b.o.Checker == "" || rep.Node == "" {
		return
	}
	_, err := rep.KeepSigned(e.Config.Node.DataDir, b.o.Checker, false)
	why := ""
	if err != nil {
		why = shortened(err.Error())
	}
	if why != "" && why != b.unsigned {
		b.o.Log.Warn("a report of the hardening is not signed", "event", "hardening_unsigned", "why", why)
	}
	b.unsigned = why
}

// tellAll has all rows in the log, once a day. There are as many lines as rows, and one about all.
func (b *Background) tellAll(now time.Time, rep *Report) {
	if b.fullAt.IsZero() {
		b.fullAt = now.Add(jittered(lookEvery))
	}
	if now.Before(b.fullAt) {
		return
	}
	span := int64(fullEvery / jitterPart)
	b.fullAt = now.Add(fullEvery + time.Duration(rand.Int64N(2*span)-span)) //nolint:gosec // see next
	score, counts := rep.Score(), rep.Counts()
	about := []any{"event", "hardening_report", "score", score.Points, "cap", score.Cap, "baseline", string(rep.Baseline), "checker", b.o.Checker, "rules", RulesHash()}
	if s := rep.Signed; s != nil {
		about = append(about, "sequence", s.Sequence, "sha256", s.SHA256, "previous_sha256", s.Previous)
	}
	for _, s := range []State{Pass, Warn, Fail, Unknown, NotApplicable, Manual, Waived} {
		about = append(about, string(s), counts[s])
	}
	b.o.Log.Info("hardening, all rows", about...)
	for i := range rep.Rows {
		row := &rep.Rows[i]
		fields := []any{"event", "hardening_state", "id", row.Check.Name(), "severity", string(row.Check.Severity), "state", string(row.State()), "untried", row.Untried(),
			"confidence", string(row.Confidence()), "demanded", string(row.Check.Demands), "scopes", len(row.Results), "why", row.why()}
		b.o.Log.Info("hardening row", append(fields, finding(row.State(), row.State(), row.Check.Severity)...)...)
	}
}

// why is the summary of the first scope that is as bad as the row.
func (r *Row) why() string {
	for i := range r.Results {
		if r.Results[i].State == r.State() {
			return r.Results[i].Scope + ": " + r.Results[i].Summary
		}
	}
	return ""
}
