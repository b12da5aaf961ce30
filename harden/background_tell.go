package harden

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
)

// What follows from a run: lines in the log for what has changed, and alarms.

const (
	// eventsMax bounds the lines of one run. More is one cause, which the first of them name.
	eventsMax = 64
	// rowsNamed bounds the rows that a line or an alarm names.
	rowsNamed = 8
	// dropLasts is how long a lower score is news.
	dropLasts = 24 * time.Hour
)

// tell has in the log what is otherwise than in the run before.
func (b *Background) tell(was, is *Report) {
	score := is.Score()
	if was == nil {
		b.o.Log.Info("hardening looked at", "event", "hardening_first", "score", score.Points, "failed", is.rowsIn(Fail), "unknown", is.rowsIn(Unknown), "untried", is.rowsUntried(), "took", is.worked().Round(time.Millisecond).String())
		return
	}
	if before := was.Score(); before.Points != score.Points {
		b.o.Log.Info("hardening score", "event", "hardening_score", "from", before.Points, "to", score.Points, "cap", score.Cap)
	}
	before, now := was.untriedScopes(), is.untriedScopes()
	told := 0
	for _, c := range Diff(was.Snapshot(), is.Snapshot()) {
		at := scopeOf{c.ID, c.Scope}
		if (quiet(c.From) || before[at]) && (quiet(c.To) || now[at]) {
			continue // a listener that comes or goes, say
		}
		if told++; told > eventsMax {
			continue
		}
		severity := is.severity(c.ID)
		level := slog.LevelInfo
		switch {
		case c.To == Fail && severity.AtLeast(High):
			level = slog.LevelError
		case c.To == Fail, c.To == Unknown && !now[at]:
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{slog.String("event", "hardening_row"), slog.String("id", c.ID), slog.String("severity", string(severity)), slog.String("scope", c.Scope),
			slog.String("from", orNone(c.From)), slog.String("to", orNone(c.To)), slog.String("why", c.Summary)}
		b.o.Log.LogAttrs(context.Background(), level, "hardening row changed", append(attrs, finding(c.From, c.To, severity)...)...)
	}
	if told > eventsMax {
		b.o.Log.Warn("more hardening rows have changed", "event", "hardening_row", "more", told-eventsMax)
	}
}

// worked is how long the rows took, without the rests between them.
func (r *Report) worked() (d time.Duration) {
	for i := range r.Rows {
		d += r.Rows[i].Took
	}
	return d
}

// quiet are states of a scope that comes or goes without being news.
func quiet(s State) bool {
	return s == "" || s == Pass || s == NotApplicable || s == Manual
}

func orNone(s State) string {
	if s == "" {
		return "none"
	}
	return string(s)
}

func (r *Report) severity(name string) Severity {
	for i := range r.Rows {
		if r.Rows[i].Check.Name() == name {
			return r.Rows[i].Check.Severity
		}
	}
	return Low
}

// rowsIn are the ids of the rows in a state, without those that nobody tried.
func (r *Report) rowsIn(s State) []string {
	return r.rowsWhere(func(row *Row) bool { return row.State() == s && !row.Untried() })
}

// rowsUntried are the ids of the rows that only redoubt doctor can tell.
func (r *Report) rowsUntried() []string { return r.rowsWhere((*Row).Untried) }

func (r *Report) rowsWhere(which func(*Row) bool) []string {
	out := []string{}
	for i := range r.Rows {
		if which(&r.Rows[i]) {
			out = append(out, r.Rows[i].Check.ID)
		}
	}
	return out
}

// scopeOf is one scope of one row, by the name of its check.
type scopeOf struct{ name, scope string }

// untriedScopes are those of which only a probe could tell more.
func (r *Report) untriedScopes() map[scopeOf]bool {
	out := map[scopeOf]bool{}
	for i := range r.Rows {
		for k := range r.Rows[i].Results {
			if x := &r.Rows[i].Results[k]; x.Untried {
				out[scopeOf{r.Rows[i].Check.Name(), x.Scope}] = true
			}
		}
	}
	return out
}

// scored is a run that nobody has been better than since.
type scored struct {
	at     time.Time
	points int
	rows   map[string]State
}

// alarms raises and clears them. What they name is rows and scopes, and not what was seen, so
// that a figure that changes is not another alarm.
func (b *Background) alarms(now time.Time, rep *Report) {
	var failed []string
	for i := range rep.Rows {
		row := &rep.Rows[i]
		if row.State() != Fail || !row.Check.Severity.AtLeast(High) {
			continue
		}
		for _, x := range row.Results {
			if x.State == Fail {
				failed = append(failed, fmt.Sprintf("%s (%s, %s)", row.Check.Name(), row.Check.Severity, x.Scope))
			}
		}
	}
	if len(failed) == 0 {
		b.o.Alarms.Clear(now, alarm.HardeningFailed, "")
	} else {
		b.o.Alarms.Raise(now, alarm.HardeningFailed, "", someOf(failed)+"; redoubt doctor says why")
	}
	points := rep.Score().Points
	best := b.best(now, points, rep)
	if best.points <= points {
		b.o.Alarms.Clear(now, alarm.HardeningScore, "")
		return
	}
	var worse []string
	for i := range rep.Rows {
		row := &rep.Rows[i]
		if was, known := best.rows[row.Check.ID]; known && row.looked().badness() > max(was.badness(), Pass.badness()) {
			worse = append(worse, fmt.Sprintf("%s %s", row.Check.Name(), row.looked()))
		}
	}
	b.o.Alarms.Raise(now, alarm.HardeningScore, "", fmt.Sprintf("%d, and it was %d on %s: %s", points, best.points, best.at.UTC().Format("2006-01-02 15:04 UTC"), someOf(worse)))
}

// best is the best run of a day, this one included. Of a run that a later one was as good as
// nothing is kept, so that there are as many at most as there are scores.
func (b *Background) best(now time.Time, points int, rep *Report) *scored {
	b.history = slices.DeleteFunc(b.history, func(s scored) bool { return s.points <= points || now.Sub(s.at) > dropLasts })
	rows := make(map[string]State, len(rep.Rows))
	for i := range rep.Rows {
		rows[rep.Rows[i].Check.ID] = rep.Rows[i].looked()
	}
	b.history = append(b.history, scored{now, points, rows})
	return &b.history[0]
}

// someOf names some and counts the others.
func someOf(names []string) string {
	if len(names) > rowsNamed {
		return strings.Join(names[:rowsNamed], ", ") + fmt.Sprintf(" and %d more", len(names)-rowsNamed)
	}
	return strings.Join(names, ", ")
}
