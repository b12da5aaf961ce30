package harden

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textMax bounds one text of a report, in bytes. What is longer came from somebody
// else, and nobody reads it to its end.
const textMax = 4096

// printable is a text of a report as every form may show it: one line of characters
// that can be seen. Names are chosen by clients, CAs and servers, and characters that
// steer a terminal, or turn a line around, are shown as codes (A166, A177). What a form
// of its own takes for syntax is the form's to escape.
func printable(s string) string {
	if len(s) > textMax {
		s = strings.ToValidUTF8(s[:textMax], "") + "..."
	}
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// clean makes every text of a result printable.
func (r *Result) clean() {
	r.Fix = wholeFixes(r.Fix)
	r.LeftFix = wholeFixes(r.LeftFix)
	for _, s := range []*string{&r.Scope, &r.Summary, &r.Fix, &r.LeftFix, &r.At.Name} {
		*s = printable(*s)
	}
	for i := range r.Left {
		r.Left[i] = printable(r.Left[i])
	}
	for i := range r.Observations {
		o := &r.Observations[i]
		for _, s := range []*string{&o.What, &o.Expected, &o.Actual, &o.Source} {
			*s = printable(*s)
		}
	}
	if w := r.Waiver; w != nil {
		for _, s := range []*string{&w.Reason, &w.Owner, &w.Approver, &w.Compensating} {
			*s = printable(*s)
		}
	}
}
