package harden

import (
	"context"
	"log/slog"
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
	attrs := []slog.Attr{slog.String("event", "hardening_report"), slog.Int("score", score.Points), slog.Int("cap", score.Cap), slog.String("baseline", string(rep.Baseline)),
		slog.String("checker", b.o.Checker), slog.String("rules", RulesHash()),
		slog.Int("pass", counts[Pass]), slog.Int("warn", counts[Warn]), slog.Int("fail", counts[Fail]), slog.Int("unknown", counts[Unknown]),
		slog.Int("not_applicable", counts[NotApplicable]), slog.Int("manual", counts[Manual]), slog.Int("waived", counts[Waived])}
	if s := rep.Signed; s != nil {
		attrs = append(attrs, slog.Uint64("sequence", s.Sequence), slog.String("sha256", s.SHA256), slog.String("previous_sha256", s.Previous))
	}
	b.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "hardening, all rows", attrs...)
	for i := range rep.Rows {
		b.tellRow(&rep.Rows[i])
	}
}

// tellRow has one row in the log.
func (b *Background) tellRow(row *Row) {
	attrs := []slog.Attr{slog.String("event", "hardening_state"), slog.String("id", row.Check.Name()), slog.String("severity", string(row.Check.Severity)),
		slog.String("state", string(row.State())), slog.Bool("untried", row.Untried()), slog.String("confidence", string(row.Confidence())), slog.String("demanded", string(row.Check.Demands)),
		slog.Int("scopes", len(row.Results)), slog.String("why", row.why())}
	b.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "hardening row", append(attrs, finding(row.State(), row.State(), row.Check.Severity)...)...)
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
