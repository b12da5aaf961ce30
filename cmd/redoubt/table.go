package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rows is a list that is written while it comes, so that one of any length needs
// no memory of its own.
type rows struct {
	out  *bufio.Writer
	json bool
	n    int // so far

	// Of a table.
	header []string
	widths []int
	first  [][]string // kept back to see how wide the columns are; nil once written
}

const (
	firstRows = 200 // of which the widths are taken; columns still grow afterwards
	widthMax  = 48  // what is longer sticks out alone
)

func newRows(out io.Writer, asJSON bool, header ...string) *rows {
	r := &rows{out: bufio.NewWriter(out), json: asJSON, header: header, widths: make([]int, len(header)), first: make([][]string, 0, 8)}
	r.widen(header)
	return r
}

// add writes one row: v as JSON, or the cells as a line.
func (r *rows) add(v any, cells ...string) error {
	r.n++
	if r.json {
		return r.addJSON(v)
	}
	for i := range cells {
		cells[i] = plain(cells[i])
	}
	r.widen(cells)
	if r.first == nil {
		return r.line(cells)
	}
	if r.first = append(r.first, cells); len(r.first) == firstRows {
		return r.writeFirst()
	}
	return nil
}

// end writes what is left. A list that was broken off has no end: who reads JSON
// must not take it for the whole.
func (r *rows) end(whole bool) error {
	switch {
	case !r.json && !whole && r.n == 0: // no list at all: the error says why
	case !r.json:
		if err := r.writeFirst(); err != nil {
			return err
		}
	case whole && r.n == 0:
		fmt.Fprintln(r.out, `{"data": []}`)
	case whole:
		fmt.Fprintln(r.out, "\n]}")
	}
	return r.out.Flush()
}

// addJSON writes an element of {"data": [...]} on a line of its own.
func (r *rows) addJSON(v any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	before := ",\n"
	if r.n == 1 {
		before = "{\"data\": [\n"
	}
	_, err := r.out.WriteString(before + strings.TrimSuffix(b.String(), "\n"))
	return err
}

func (r *rows) widen(cells []string) {
	for i, c := range cells {
		r.widths[i] = max(r.widths[i], min(utf8.RuneCountInString(c), widthMax))
	}
}

func (r *rows) writeFirst() error {
	if r.first == nil {
		return nil
	}
	first := r.first
	r.first = nil
	for _, cells := range append([][]string{r.header}, first...) {
		if err := r.line(cells); err != nil {
			return err
		}
	}
	return r.out.Flush()
}

func (r *rows) line(cells []string) error {
	for i, c := range cells {
		if i == len(cells)-1 {
			c += "\n"
		} else {
			c += strings.Repeat(" ", max(r.widths[i]-utf8.RuneCountInString(c), 0)+2)
		}
		if _, err := r.out.WriteString(c); err != nil {
			return err
		}
	}
	return nil
}

// plain is a name for a terminal: clients choose names, and characters that could
// steer it, or turn the line around, are shown as codes (A166, A177). An empty name
// is a dash.
func plain(s string) string {
	if s == "" {
		return "-"
	}
	if strings.IndexFunc(s, steers) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !steers(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func steers(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
