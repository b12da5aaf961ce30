package importer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/redoubtmq/redoubt/auth"
)

// render is the rules as YAML. Every text is a JSON string, which YAML reads as the same
// text whatever it holds.
func (w *work) render() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d rules from %s, %s, by `redoubt acl import`.\n", len(w.drafts), comment(w.file), w.what)
	b.WriteString("# Rules are read from top to bottom and the first one that matches decides. After the last rule\n# everything is denied. What is judged otherwise than before:\n#\n")
	for _, d := range w.differs {
		b.WriteString("# - " + strings.ReplaceAll(d, "\n", "\n#   ") + "\n")
	}
	b.WriteString("#\n# Look at them before they are in force: redoubt acl lint FILE. Add tests: for what must be possible and what must not.\nversion: 1\n\nrules:\n")
	uses := map[int]int{}
	for i := range w.drafts {
		d := &w.drafts[i]
		uses[d.line]++
		fmt.Fprintf(&b, "  # %s:%d: %s\n", comment(w.file), d.line, comment(d.source))
		for _, n := range d.notes {
			b.WriteString("  #   " + comment(n) + "\n")
		}
		id := fmt.Sprintf("line %d", d.line)
		if n := uses[d.line]; n > 1 {
			id += fmt.Sprintf(" (%d)", n)
		}
		b.WriteString("  - {id: " + quote(id) + ", " + d.fields() + "}\n")
	}
	return []byte(b.String())
}

// fields is the rule in the words of the rules file.
func (d *draft) fields() string {
	s := &d.spec
	verb, action := "deny", "all"
	if s.Allow {
		verb = "allow"
	}
	if !s.Subscribe {
		action = "publish"
	} else if !s.Publish {
		action = "subscribe"
	}
	var b strings.Builder
	b.WriteString(verb + ": " + action)
	list(&b, "users", s.Users, quote)
	list(&b, "users_match", s.UsersMatch, quote)
	list(&b, "clients", s.Clients, quote)
	list(&b, "clients_match", s.ClientsMatch, quote)
	list(&b, "addresses", s.Addresses, func(p prefix) string { return quote(p.String()) })
	list(&b, "topics", s.Topics, func(t auth.TopicSpec) string {
		if t.Eq {
			return "{eq: " + quote(t.Filter) + "}"
		}
		return quote(t.Filter)
	})
	list(&b, "qos", s.QoS, func(q qos) string { return strconv.Itoa(int(q)) })
	if s.Retain != nil {
		fmt.Fprintf(&b, ", retain: %t", *s.Retain)
	}
	if d.when != "" {
		b.WriteString(", when: " + quote(d.when))
	}
	return b.String()
}

func list[T any](b *strings.Builder, key string, items []T, show func(T) string) {
	for i, v := range items {
		if i == 0 {
			b.WriteString(", " + key + ": [")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(show(v))
	}
	if len(items) > 0 {
		b.WriteString("]")
	}
}

// quote is a text in double quotes.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("BUG: importer: a string that is no JSON: " + err.Error())
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if r > '~' && !unicode.IsPrint(r) && r <= 0xffff { // YAML has none of them as they are
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// comment is what a file says on one line of ours: nothing in it ends the line.
func comment(s string) string {
	const most = 160
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= most {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
