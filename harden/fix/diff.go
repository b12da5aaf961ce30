package fix

import (
	"fmt"
	"strings"
)

// diffContext is how many lines around a change are shown.
const diffContext = 3

// diffLinesMax bounds a file that is compared line by line; a larger one is shown as
// replaced.
const diffLinesMax = 1000

// unified is the difference of two texts as diff -u shows it; empty: there is none.
func unified(path string, absent bool, was, will string) string {
	if !absent && was == will {
		return ""
	}
	from := "a" + path
	if absent {
		from = "/dev/null"
	}
	to := "b" + path
	a, b := lines(was), lines(will)
	edits := compare(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", from, to)
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			i++
			continue
		}
		first := max(i-diffContext, 0)
		last, quiet := i, 0
		for k := i; k < len(edits) && quiet <= 2*diffContext; k++ {
			if quiet++; edits[k].op != ' ' {
				last, quiet = k, 0
			}
		}
		end := min(last+1+diffContext, len(edits))
		hunk := edits[first:end]
		var text strings.Builder
		removed, added := 0, 0
		for _, e := range hunk {
			if e.op != '+' {
				removed++
			}
			if e.op != '-' {
				added++
			}
			fmt.Fprintf(&text, "%c%s\n", e.op, strings.TrimSuffix(e.line, "\n"))
			if !strings.HasSuffix(e.line, "\n") {
				text.WriteString("\\ No newline at end of file\n")
			}
		}
		fmt.Fprintf(&out, "@@ -%s +%s @@\n%s", span(hunk[0].a, removed), span(hunk[0].b, added), text.String())
		i = end
	}
	return out.String()
}

func span(from, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, n)
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	out := strings.SplitAfter(text, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// edit is a line that stays, goes or comes, with how many lines stand before it.
type edit struct {
	op   byte
	line string
	a, b int
}

// compare finds the longest lines that both have in the same order.
func compare(a, b []string) (out []edit) {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		out = append(out, edit{' ', a[head], head, head})
		head++
	}
	a, b = a[head:], b[head:]
	if len(a) > diffLinesMax || len(b) > diffLinesMax {
		for i, l := range a {
			out = append(out, edit{'-', l, head + i, head})
		}
		for i, l := range b {
			out = append(out, edit{'+', l, head + len(a), head + i})
		}
		return out
	}
	long := make([][]int, len(a)+1) // of what is left from here on
	for i := range long {
		long[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := len(b) - 1; k >= 0; k-- {
			if a[i] == b[k] {
				long[i][k] = long[i+1][k+1] + 1
			} else {
				long[i][k] = max(long[i+1][k], long[i][k+1])
			}
		}
	}
	i, k := 0, 0
	for i < len(a) || k < len(b) {
		switch {
		case i < len(a) && k < len(b) && a[i] == b[k]:
			out = append(out, edit{' ', a[i], head + i, head + k})
			i++
			k++
		case i < len(a) && (k == len(b) || long[i+1][k] >= long[i][k+1]):
			out = append(out, edit{'-', a[i], head + i, head + k})
			i++
		default:
			out = append(out, edit{'+', b[k], head + i, head + k})
			k++
		}
	}
	return out
}
