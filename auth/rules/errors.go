package rules

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problemsMax is how many problems of one file are listed.
const problemsMax = 20

// Problem is one thing wrong with a rules file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 where the whole file is meant
	Key          string // rules[2].topics[0]
	Text         string // what is wrong, with the value, and what to write instead
}

// String is file:line:column: key: text, which editors jump to.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is everything wrong with a rules file, in the order of its lines.
type Error struct {
	Problems []Problem
	More     int // left out
}

// Error is one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

// reader collects problems while a file is read.
type reader struct {
	file     string
	problems []Problem
	more     int
	rest     func() // others may go first
	// nameless leaves out the names of items. They are needed where something is wrong, and make
	// a fifth of what reading a file of many rules costs.
	nameless bool
}

// item names the i-th of a list.
func (r *reader) item(list string, i int) string {
	if r.nameless {
		return ""
	}
	return list + "[" + strconv.Itoa(i) + "]"
}

// fail notes a problem at n; nil means the file as a whole.
func (r *reader) fail(n *yaml.Node, key, format string, args ...any) {
	if len(r.problems) == problemsMax {
		r.more++
		return
	}
	p := Problem{File: r.file, Key: key, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	r.problems = append(r.problems, p)
}

func (r *reader) err() error { return &Error{r.problems, r.more} }

// shown is a value of the file, short enough for a message.
func shown(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// meant answers ", did you mean X?" if a known word is near.
func meant(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(word, k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance counts the letters to add, drop, change or swap with their neighbour
// to turn a into b; words of very different length are simply far.
func distance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 3
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
