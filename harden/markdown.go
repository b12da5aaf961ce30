package harden

import (
	"fmt"
	"io"
	"strings"
)

// The form for a ticket: findings as a list that can be ticked off, then what could not be
// seen, what was accepted, and every row. Texts that are not ours stand in code spans,
// where a tracker takes nothing for a link, a name to notify or a number of a ticket.

func (r *Report) writeMarkdown(w io.Writer, opt WriteOptions) error {
	var b strings.Builder
	name := "a node that did not answer"
	if r.Node != "" {
		name = mdCode(r.Node)
	}
	s := r.Score()
	fmt.Fprintf(&b, "# Hardening of %s\n\n**Score %d/100**", name, s.Points)
	if s.Why != "" {
		fmt.Fprintf(&b, " (cap %d: %s)", s.Cap, s.Why)
	}
	fmt.Fprintf(&b, ": %s. %s\n\n", r.countWords(), Caveat)
	fmt.Fprintf(&b, "Looked at %s, baseline %s, broker %s, doctor %s, rules `%.12s`.\n", r.Started.UTC().Format("2006-01-02 15:04:05 UTC"), r.Baseline, mdCode(orDash(r.Version)), mdCode(orDash(opt.Checker)), RulesHash())
	for _, part := range []struct {
		head string
		box  string
		of   []State
	}{
		{"Findings", "- [ ] ", []State{Fail, Warn}}, {"Could not be seen", "- [ ] ", []State{Unknown, Manual}}, {"Accepted for a time", "- ", []State{Waived}},
	} {
		rows := r.findings(part.of...)
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", part.head)
		for i := range rows {
			rows[i].markdown(&b, part.box, opt.Evidence)
		}
	}
	if len(r.Idle) > 0 {
		b.WriteString("\n## Waivers that cover nothing\n\n")
	}
	for _, w := range r.Idle {
		fmt.Fprintf(&b, "- [ ] **%s** %s, of %s: nothing fails there. Remove it, before it hides what nobody has accepted.\n", mdText(w.ID), mdCode(w.Scope), mdCode(w.Owner))
	}
	r.markdownRows(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// markdown is a row of the lists above the table, with what is to be said of its scopes.
func (r *Row) markdown(b *strings.Builder, box string, evidence bool) {
	fmt.Fprintf(b, "%s**%s** %s (%s)\n", box, r.Check.ID, mdText(r.Check.Title), r.Check.Severity)
	for i := range r.Results {
		x := &r.Results[i]
		fmt.Fprintf(b, "  - %s %s: %s", strings.Trim(words[x.State], "[]"), mdCode(x.Scope), mdCode(x.Summary))
		if x.At.Line > 0 {
			fmt.Fprintf(b, " (set at %s)", mdCode(x.At.String()))
		}
		b.WriteByte('\n')
		if w := x.Waiver; w != nil {
			fmt.Fprintf(b, "    - Waived by %s until %s: %s\n", mdCode(w.by()), w.Expires, mdCode(w.Reason))
			if w.Compensating != "" {
				fmt.Fprintf(b, "    - Meanwhile: %s\n", mdCode(w.Compensating))
			}
		}
		for _, o := range x.Observations {
			if bad := o.State == Fail || o.State == Warn || o.State == Unknown; !evidence && (!bad || len(x.Observations) == 1) {
				continue
			}
			fmt.Fprintf(b, "    - %s %s: %s", strings.Trim(words[o.State], "[]"), mdCode(o.What), mdCode(orDash(o.Actual)))
			if o.State != Pass && o.Expected != "" {
				fmt.Fprintf(b, ", expected %s", mdCode(o.Expected))
			}
			b.WriteByte('\n')
		}
		// Scopes beside each other mostly have the same fix: it is said once.
		if x.Fix != "" && (i == len(r.Results)-1 || r.Results[i+1].Fix != x.Fix) {
			fmt.Fprintf(b, "    - Fix: %s\n", mdCode(x.Fix))
		}
	}
}

// markdownRows is the table of all rows, by phase.
func (r *Report) markdownRows(b *strings.Builder) {
	b.WriteString("\n## All rows\n\n| Phase | Id | Severity | State | Confidence | What is true when it passes |\n|---|---|---|---|---|---|\n")
	last := 0
	for i := range r.Rows {
		c, phase := r.Rows[i].Check, ""
		if c.Phase != last {
			last, phase = c.Phase, fmt.Sprintf("%d. %s", c.Phase, Phases[c.Phase])
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", phase, c.ID, c.Severity, strings.Trim(words[r.Rows[i].State()], "[]"), orDash(string(r.Rows[i].Confidence())), mdText(c.Title))
	}
}

// countWords is how many rows are in which state.
func (r *Report) countWords() string {
	n := r.Counts()
	var out []string
	for _, s := range []State{Pass, Fail, Warn, Unknown, Manual, Waived, NotApplicable} {
		if n[s] > 0 || s == Pass || s == Fail || s == Unknown {
			out = append(out, fmt.Sprintf("%d %s", n[s], strings.ReplaceAll(string(s), "_", " ")))
		}
	}
	return strings.Join(out, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// mdCode is a text as a code span, whose fence is longer than any run of backticks in it:
// nothing in there is syntax.
func mdCode(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "-"
	}
	longest, run := 0, 0
	for _, c := range s {
		if run++; c != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	fence := strings.Repeat("`", longest+1)
	if longest > 0 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// mdSyntax is what Markdown, or the HTML in it, could take for its own.
const mdSyntax = "\\`*_{}[]()<>#+!|~&@\"$"

// mdText is a text between others in Markdown, to be read as it is.
func mdText(s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == '<':
			b.WriteString("&lt;")
		case c == '>':
			b.WriteString("&gt;")
		case c == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune(mdSyntax, c), i == 0 && (c == '-' || c == '=' || c == ':'):
			b.WriteRune('\\')
			b.WriteRune(c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
