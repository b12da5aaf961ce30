package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ProblemsMax is how many problems one answer lists. A person mends a page of
// them; a file that is something else entirely needs no more.
const ProblemsMax = 20

// Problem is one setting that was refused.
type Problem struct {
	Origin Origin
	Key    string // path with names: listeners.mqtts.bind; "" when it is about the file
	Value  string // as written, quoted and shortened; never of a secret or of an unknown key
	What   string // what is wrong, and the remedy, in sentences
}

// Error is PLACE: KEY: VALUE WHAT, on one line; without PLACE if the value was set at
// run time.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Origin.Kind != FromRunTime { // that is no place where one could look
		b.WriteString(p.Origin.place() + ": ")
	}
	if p.Key != "" {
		b.WriteString(printable(p.Key) + ": ")
	}
	if p.Value != "" {
		b.WriteString(p.Value + " ")
	}
	b.WriteString(p.What)
	return b.String()
}

// MarshalJSON has the place as editors take it and the sentence as it is shown.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Place  string `json:"place"`
		Source string `json:"source"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
		Key    string `json:"key,omitempty"`
		Value  string `json:"value,omitempty"`
		What   string `json:"what"`
	}{p.Origin.place(), p.Origin.Name, p.Origin.Line, p.Origin.Column, p.Key, p.Value, p.What})
}

// Errors is every problem of one configuration, in the order of the file, then
// the environment; at most ProblemsMax of them.
type Errors struct {
	Problems []Problem
	More     int // found and not listed
}

// Error lists the problems, one on a line.
func (e *Errors) Error() string {
	var b strings.Builder
	for i := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Problems[i].Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// problems collects them.
type problems struct {
	list []Problem
	more int
}

// full tells whether another one would only be counted, so that callers can
// save the work of wording it.
func (ps *problems) full() bool { return len(ps.list) >= ProblemsMax }

func (ps *problems) add(p Problem) {
	if ps.full() {
		ps.more++
		return
	}
	ps.list = append(ps.list, p)
}

// about tells whether key, or one below it, has been refused already: what
// follows from that is no second problem.
func (ps *problems) about(key string) bool {
	for i := range ps.list {
		k := ps.list[i].Key
		if k == "" || k == key || strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[") {
			return true
		}
	}
	return false
}

// err is nil when there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.Kind.rank(), b.Origin.Kind.rank()), cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column))
	})
	return &Errors{Problems: ps.list, More: ps.more}
}

// rank sorts what was written before what was not.
func (k OriginKind) rank() int {
	if k == FromDefault {
		return int(FromFlag) + 1
	}
	return int(k)
}

// quote shows a value as it was written, on one line and not too much of it.
func quote(value string) string { return quoteMax(value, 60) }

// quotePath has room for a path, whose end is what one looks for.
func quotePath(path string) string { return quoteMax(path, 250) }

func quoteMax(value string, max int) string {
	if r := []rune(value); len(r) > max {
		value = string(r[:max-3]) + "..."
	}
	return strconv.Quote(value)
}

// printable makes a key fit for a terminal: names in it come from the file.
func printable(key string) string {
	if r := []rune(key); len(r) > 100 {
		key = string(r[:97]) + "..."
	}
	q := strconv.Quote(key)
	if q[1:len(q)-1] == key {
		return key
	}
	return q
}
