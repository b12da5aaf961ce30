package harden

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is a form a report is written in.
type Format string

// The forms.
const (
	FormatTable    Format = "table"
	FormatJSON     Format = "json"
	FormatSARIF    Format = "sarif"
	FormatOSCAL    Format = "oscal"
	FormatJUnit    Format = "junit"
	FormatHTML     Format = "html"
	FormatMarkdown Format = "md"
)

// Formats lists them.
var Formats = []Format{FormatTable, FormatJSON, FormatSARIF, FormatOSCAL, FormatJUnit, FormatHTML, FormatMarkdown}

// ParseFormat reads one; text is the table, as everywhere else.
func ParseFormat(text string) (Format, error) {
	if text == "text" {
		return FormatTable, nil
	}
	if f := Format(text); slices.Contains(Formats, f) {
		return f, nil
	}
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = string(f)
	}
	last := len(names) - 1
	return "", fmt.Errorf("%q: it is %s or %s; or %s, which checks nothing", printable(text), strings.Join(names[:last], ", "), names[last], FormatComponent)
}

// WriteOptions are what a form needs beside the report.
type WriteOptions struct {
	// Checker is the version of the program that looked.
	Checker string
	// Evidence shows every observation, in the forms for people: table, html and md. The
	// others have them always.
	Evidence bool
	// Folder is the one that paths in SARIF are relative to where they can be, such as that
	// of a repository; empty: they are as they were given.
	Folder string
}

// Write writes the report. Its texts are printable (Examine sees to that); what a form
// takes for syntax in them is escaped here.
func (r *Report) Write(w io.Writer, f Format, opt WriteOptions) error {
	switch f {
	case FormatTable:
		return r.WriteText(w, TextOptions{Evidence: opt.Evidence})
	case FormatJSON:
		return r.WriteJSON(w, opt.Checker)
	case FormatSARIF:
		return r.writeSARIF(w, opt)
	case FormatOSCAL:
		return r.writeOSCAL(w, opt)
	case FormatJUnit:
		return r.writeJUnit(w, opt)
	case FormatHTML:
		return r.writeHTML(w, opt)
	case FormatMarkdown:
		return r.writeMarkdown(w, opt)
	}
	return fmt.Errorf("there is no form %q", f)
}

// findings are the results in one of these states, by row: the worst severity first, then
// in the order of the checklist.
func (r *Report) findings(states ...State) []Row {
	var out []Row
	for i := range r.Rows {
		row := Row{Check: r.Rows[i].Check}
		for _, x := range r.Rows[i].Results {
			if slices.Contains(states, x.State) {
				row.Results = append(row.Results, x)
			}
		}
		if len(row.Results) > 0 {
			out = append(out, row)
		}
	}
	slices.SortStableFunc(out, func(a, b Row) int { return b.Check.Severity.rank() - a.Check.Severity.rank() })
	return out
}
