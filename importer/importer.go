// Package importer turns files of other brokers into ours: their rules about topics
// into a rules file. What a line means there and cannot be said here is refused with its
// file and line, and then nothing is imported: a rule that was left out, or that gives
// more than the old one did, would be found out by somebody else. It reads no file and
// knows no broker that runs.
//
// Rules: Mosquitto 2.0's acl_file, EMQX 4 and 5's acl.conf; checklist row P4.2.
package importer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
)

// BytesMax bounds a file to import. What is made of it must be a rules file, which has
// the same bound.
const BytesMax = rules.FileBytesMax

// problemsMax is how many problems of a file are told at once.
const problemsMax = 20

// Result is an import: the text of a rules file that the loader took.
type Result struct {
	Text   []byte
	Rules  int
	Notes  []Note
	Policy *auth.Policy // of Text
}

// Note is something said about a line of the imported file.
type Note struct {
	Line int
	Text string
}

// Error is why a file was not imported.
type Error struct {
	File     string
	Problems []Note
	More     int // that are not told
}

// Error has a line for each problem, as editors find them.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", e.File, p.Line, p.Text)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// draft is a rule on its way: spec without what Line and ID say, and a condition as text.
type draft struct {
	line   int
	source string // as it was written
	spec   auth.RuleSpec
	when   string
	notes  []string
}

// work is one import.
type work struct {
	file     string
	what     string // is imported
	differs  []string
	drafts   []draft
	problems []Note
	more     int
}

func (w *work) fail(line int, format string, args ...any) {
	if len(w.problems) >= problemsMax {
		w.more++
		return
	}
	w.problems = append(w.problems, Note{line, fmt.Sprintf(format, args...)})
}

func (w *work) err() error { return &Error{File: w.file, Problems: w.problems, More: w.more} }

// start refuses what is too much to look at.
func (w *work) start(data []byte) bool {
	if len(data) > BytesMax {
		w.fail(1, "the file has more than %d bytes; write one rule with a placeholder instead of one per user", BytesMax)
		return false
	}
	return true
}

// add takes a rule if package auth does. Of an allow rule for both actions the half that
// nobody is granted here may be missing, which is said.
func (w *work) add(d draft) {
	err := try(&d.spec)
	if err == nil {
		w.drafts = append(w.drafts, d)
		return
	}
	if !d.spec.Allow || !d.spec.Publish || !d.spec.Subscribe {
		w.refuse(&d, err)
		return
	}
	halves := [2]draft{d, d}
	halves[0].spec.Publish, halves[1].spec.Subscribe = false, false
	for i := range halves {
		halves[i].spec.Topics = nil
	}
	for _, t := range d.spec.Topics {
		kept := 0
		for i := range halves {
			one := halves[i].spec
			one.Topics = []auth.TopicSpec{t}
			why := try(&one)
			if why == nil {
				halves[i].spec.Topics = append(halves[i].spec.Topics, t)
				kept++
				continue
			}
			halves[1-i].notes = append(halves[1-i].notes, fmt.Sprintf("less than before: %v", problem(why)))
		}
		if kept == 0 {
			w.refuse(&d, err)
			return
		}
	}
	for _, half := range halves {
		if len(half.spec.Topics) > 0 {
			w.drafts = append(w.drafts, half)
		}
	}
}

func (w *work) refuse(d *draft, err error) { w.fail(d.line, "%s: %v", quote(d.source), problem(err)) }

func try(s *auth.RuleSpec) error {
	_, err := auth.Compile([]auth.RuleSpec{*s})
	return err
}

// problem is what auth says without the number of the rule, which is always the first.
func problem(err error) string {
	var re *auth.RuleError
	if errors.As(err, &re) {
		return re.Problem()
	}
	return err.Error()
}

// finish writes the rules file and has the loader judge it.
func (w *work) finish() (*Result, error) {
	if len(w.problems) == 0 && len(w.drafts) == 0 {
		w.fail(1, "the file has no rule; a rules file that denies everything is `version: 1` and `rules: []`")
	}
	if len(w.problems) > 0 {
		return nil, w.err()
	}
	out := &Result{Text: w.render(), Rules: len(w.drafts)}
	for i := range w.drafts {
		for _, n := range w.drafts[i].notes {
			out.Notes = append(out.Notes, Note{w.drafts[i].line, n})
		}
	}
	p, err := rules.Parse(w.file+" (imported)", out.Text)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be imported: its rules are no rules file here: %w", w.file, err)
	}
	out.Policy = p
	return out, nil
}
