package harden

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// words are the states as an operator reads them.
var words = map[State]string{
	Pass: "[success]", Fail: "[failure]", Warn: "[warning]", Unknown: "[unknown]",
	NotApplicable: "[not applicable]", Manual: "[manual]", Waived: "[waived]",
}

// TextOptions say how much is shown.
type TextOptions struct {
	Evidence bool // every observation
}

// WriteText writes the report as a table, grouped by phase. The last line is the
// score.
func (r *Report) WriteText(w io.Writer, opt TextOptions) error {
	var b strings.Builder
	if r.Node != "" {
		fmt.Fprintf(&b, "Node %s (redoubt %s), %s\n", shortened(r.Node), shortened(r.Version), r.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	phase := 0
	for i := range r.Rows {
		if p := r.Rows[i].Check.Phase; p != phase {
			phase = p
			fmt.Fprintf(&b, "\nPhase %d. %s\n", phase, Phases[phase])
			t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tSEV\tSTATE\tCONF\tWHAT\tFIX")
			for k := i; k < len(r.Rows) && r.Rows[k].Check.Phase == phase; k++ {
				r.Rows[k].lines(t)
			}
			if err := t.Flush(); err != nil {
				return err
			}
		}
	}
	if opt.Evidence {
		r.evidence(&b)
	}
	for _, w := range r.Idle {
		b.WriteString("\nNote: " + w.String() + ".\n")
	}
	b.WriteString("\n" + Caveat + "\n")
	if n := r.Fixable(); n > 0 {
		fmt.Fprintf(&b, "redoubt fix --all --plan shows how to mend %d of the findings.\n", n)
	}
	b.WriteString(r.lastLine() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// lines is a row: one line if all is well, else one for each scope that is not.
func (r *Row) lines(t io.Writer) {
	state, c := r.State(), r.Check
	first := true
	line := func(s State, conf Confidence, what, fix string) {
		id, sev := c.ID, string(c.Severity)
		if !first {
			id, sev = "", ""
		}
		first = false
		if conf == "" {
			conf = "-"
		}
		if fix == "" {
			fix = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", id, sev, words[s], conf, what, fix)
	}
	bad := slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.State == Pass || x.State == NotApplicable })
	if len(bad) == 0 {
		what, n := c.Title, len(r.Results)
		if first := r.Results[0].Summary; state == NotApplicable && !slices.ContainsFunc(r.Results, func(x Result) bool { return x.Summary != first }) {
			what = first
		}
		if n > 1 {
			what += fmt.Sprintf(" (%d scopes)", n)
		}
		line(state, r.Confidence(), what, "")
		return
	}
	slices.SortStableFunc(bad, func(a, b Result) int { return b.State.badness() - a.State.badness() })
	for _, x := range bad {
		what := x.Scope + ": " + x.Summary
		if x.Waiver != nil {
			what += fmt.Sprintf(" (waived by %s until %s: %s)", x.Waiver.by(), x.Waiver.Expires, x.Waiver.Reason)
		}
		line(x.State, x.Confidence, oneLine(what), oneLine(x.Fix))
	}
}

// oneLine keeps a cell of the table one.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\t", " ")), " ")
}

// evidence lists what was seen.
func (r *Report) evidence(b *strings.Builder) {
	for i := range r.Rows {
		for k := range r.Rows[i].Results {
			x := &r.Rows[i].Results[k]
			fmt.Fprintf(b, "\n%s %s %s (%v)\n", r.Rows[i].Check.ID, x.Scope, words[x.State], x.Duration.Round(time.Millisecond))
			for _, o := range x.Observations {
				fmt.Fprintf(b, "  %-16s %s: %s", words[o.State], o.What, oneLine(o.Actual))
				if o.State != Pass && o.Expected != "" {
					fmt.Fprintf(b, ", expected %s", o.Expected)
				}
				if o.Source != "" {
					fmt.Fprintf(b, " [%s: %s]", o.Method, o.Source)
				} else {
					fmt.Fprintf(b, " [%s]", o.Method)
				}
				b.WriteByte('\n')
			}
		}
	}
}

// lastLine is the score and how many rows are in which state.
func (r *Report) lastLine() string {
	s := r.Score()
	out := fmt.Sprintf("score %d/100", s.Points)
	if s.Why != "" {
		out += fmt.Sprintf(" (cap %d: %s)", s.Cap, s.Why)
	}
	n := r.Counts()
	out += fmt.Sprintf("  %d pass %d fail %d unknown", n[Pass], n[Fail], n[Unknown])
	for _, rest := range []struct {
		state State
		word  string
	}{{Warn, "warn"}, {NotApplicable, "not applicable"}, {Manual, "manual"}, {Waived, "waived"}} {
		if n[rest.state] > 0 {
			out += fmt.Sprintf(" %d %s", n[rest.state], rest.word)
		}
	}
	if days, any := r.waiverDays(); any {
		if n[Waived] == 0 { // of a row that fails somewhere else
			out += " a scope waived"
		}
		out += fmt.Sprintf(" (expires in %d d)", days)
	}
	switch idle := len(r.Idle); idle {
	case 0:
	case 1:
		out += " 1 waiver covers nothing"
	default:
		out += fmt.Sprintf(" %d waivers cover nothing", idle)
	}
	return out
}

// waiverDays is how many days the first waiver in use has left.
func (r *Report) waiverDays() (days int, any bool) {
	for i := range r.Rows {
		for k := range r.Rows[i].Results {
			if w := r.Rows[i].Results[k].Waiver; w != nil {
				d := int(w.Expires.End().Sub(r.Started).Hours() / 24)
				if !any || d < days {
					days, any = d, true
				}
			}
		}
	}
	return days, any
}
