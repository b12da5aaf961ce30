package fix

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/redoubtmq/redoubt/harden"
)

// plain is a text on one line that steers no terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// shown is a text of several lines, the same. Tabs are part of some.
func shown(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Line is a step in one line, with what it changes.
func (s *Step) Line() string {
	var text string
	switch s.Kind {
	case File:
		text = "write " + plain(s.Name)
		if s.Was.Absent {
			text += " (new)"
		}
	case Mode:
		text = fmt.Sprintf("mode and owner of %s: %s -> %s", plain(s.Name), s.From, s.To)
	case Sysctl:
		text = fmt.Sprintf("set %s: %s -> %s, now", s.Name, plain(s.From), s.To)
	case Limit:
		text = fmt.Sprintf("set the limit %s of process %d: %s -> %s, now", s.Name, s.PID, s.From, s.To)
	case Table:
		text = "load table inet redoubt of nftables"
	case Setting:
		text = fmt.Sprintf("redoubt config set %s %s (%s)", s.Name, s.To, plain(s.From))
	case Units:
		text = "systemctl daemon-reload"
	case Reload:
		text = "redoubt reload"
	case Listener:
		text = fmt.Sprintf("redoubt listeners restart %s: its sockets are opened anew, connections stay", s.Name)
	}
	if s.Restart != "none" {
		text += "; counts when the broker starts again"
	}
	if s.Note != "" {
		text += "; " + plain(s.Note)
	}
	if s.Cuts != "" {
		text += "; SHUTS OUT " + plain(s.Cuts)
	}
	if s.Foreign != "" {
		text += "; takes --force: " + plain(s.Foreign)
	}
	return text
}

// WriteText writes the plan for a person: rows, steps, and then every difference.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	head := "Plan"
	if p.Node != "" {
		head += " for node " + plain(p.Node)
	}
	fmt.Fprintf(&b, "%s, made from %s", head, p.Source)
	if p.Why != "" {
		fmt.Fprintf(&b, " (%s)", plain(p.Why))
	}
	b.WriteString("\n")
	quiet := map[string][]string{}
	for i := range p.Rows {
		r := &p.Rows[i]
		if len(r.Steps)+len(r.Manual) == 0 {
			quiet[r.Note] = append(quiet[r.Note], strings.SplitN(r.ID, "-", 2)[0])
			continue
		}
		fmt.Fprintf(&b, "\n%s [%s] %s\n", r.ID, r.State, plain(orWords(r.Summary, r.Title)))
		for _, text := range r.Also {
			fmt.Fprintf(&b, "  also  %s\n", plain(text))
		}
		for _, n := range r.Steps {
			fmt.Fprintf(&b, "  step %d  %s\n", n, p.Steps[n-1].Line())
		}
		for _, m := range r.Manual {
			fmt.Fprintf(&b, "  by hand  %s\n", plain(m))
		}
		if r.Note != "" && r.Note != nothingToDo {
			fmt.Fprintf(&b, "  note  %s\n", plain(r.Note))
		}
	}
	b.WriteByte('\n')
	for _, r := range p.Rows { // in their order, each note once
		if ids := quiet[r.Note]; len(r.Steps)+len(r.Manual) == 0 && len(ids) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", strings.Join(ids, ", "), plain(r.Note))
			delete(quiet, r.Note)
		}
	}
	for i := range p.Steps {
		if d := p.Steps[i].Diff; d != "" {
			fmt.Fprintf(&b, "\n%s", shown(d))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the last line: what there is to do.
func (p *Plan) Summary() string {
	fixed, open := 0, 0
	for i := range p.Rows {
		if len(p.Rows[i].Steps) > 0 {
			fixed++
		}
		if len(p.Rows[i].Manual) > 0 {
			open++
		}
	}
	unseen := p.unseen()
	switch {
	case fixed+open == 0 && unseen == 0:
		return nothingToDo
	case fixed+open == 0 && unseen == len(p.Rows):
		return "nothing is known to mend: " + count(unseen, "row") + " could not be seen, which is no pass"
	}
	out := nothingToDo
	if fixed+open > 0 {
		out = fmt.Sprintf("%s, %s", count(len(p.Steps), "step"), "for "+count(fixed, "row"))
	}
	if open > 0 {
		out += fmt.Sprintf("; %s for you to do by hand", count(open, "row"))
	}
	if unseen > 0 {
		out += fmt.Sprintf("; %s could not be seen, which is no pass", count(unseen, "row"))
	}
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Restarts tells whether something of the plan counts in full only after a start of the broker.
func (p *Plan) Restarts() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Restart == "broker" }) ||
		slices.ContainsFunc(p.Rows, func(r Row) bool { return r.Restart == "broker" })
}

// Outcome is what became of a row.
type Outcome struct {
	ID      string       `json:"id"`
	Before  harden.State `json:"before"`
	After   harden.State `json:"after"`
	Summary string       `json:"summary,omitempty"` // of what is still open
	Restart bool         `json:"restart"`           // it counts after a start of the broker
}

// Outcomes compares the rows of a plan that had steps with a report from afterwards.
func (p *Plan) Outcomes(after *harden.Report) (out []Outcome) {
	for i := range p.Rows {
		r := &p.Rows[i]
		if len(r.Steps) == 0 {
			continue
		}
		o := Outcome{ID: r.ID, Before: r.State, After: harden.Unknown, Restart: r.Restart == "broker"}
		for k := range after.Rows {
			x := &after.Rows[k]
			if x.Check.Name() != r.ID {
				continue
			}
			o.After = x.State()
			for _, res := range x.Results {
				if res.State == o.After && o.After != harden.Pass && o.After != harden.NotApplicable {
					o.Summary = res.Scope + ": " + res.Summary
					break
				}
			}
		}
		out = append(out, o)
	}
	return out
}

// Open tells whether the row is not as it has to be, and not because of a start to come.
func (o *Outcome) Open() bool {
	return (o.After == harden.Fail || o.After == harden.Warn && o.Before == harden.Warn) && !o.Restart
}
