package importer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth"
)

// How Mosquitto 2.0 judges, and so the order in which its lines are written: what denies
// among the lines of the user (or those before the first `user`, of clients without a user
// name), what allows there, then what denies among the patterns, what allows there, and
// nothing else.

var mosquittoDiffers = []string{
	"A subscription needs a rule that allows all of it. Mosquitto accepts every subscription and leaves out deliveries: a client that\n" +
		"subscribes to more than it may read is refused here.",
	"A deny also reaches topics that start with $ where its filter starts with a wildcard.",
	"A name with + # or /, or that starts with $, stands for no placeholder: an allow rule does not match then, a deny rule denies everything.",
}

// section is the lines of one user.
type section struct {
	denies, allows []draft
}

// Mosquitto imports an acl_file; name is what errors and comments call it.
func Mosquitto(name string, data []byte) (*Result, error) {
	w := &work{file: name, what: "an acl_file of Mosquitto", differs: mosquittoDiffers}
	if !w.start(data) {
		return nil, w.err()
	}
	var order []string
	users := map[string]*section{}
	var nobody, patterns section
	to, user := &nobody, ""
	line := 0
	for text := range strings.SplitSeq(string(data), "\n") {
		line++
		text = strings.TrimRight(text, " \t\r\v\f")
		if text == "" || text[0] == '#' {
			continue
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			w.fail(line, "the line is not UTF-8, or holds a zero")
			continue
		}
		word, rest, _ := strings.Cut(strings.TrimLeft(text, " "), " ")
		rest = strings.Trim(rest, " \t")
		switch word {
		case "user":
			if rest == "" {
				w.fail(line, "`user` without a name; write user NAME, or remove the line and what follows it")
				continue
			}
			if user = rest; users[user] == nil {
				users[user] = &section{}
				order = append(order, user)
			}
			to = users[user]
		case "topic", "pattern":
			d, ok := w.mosquittoLine(line, word == "pattern", text, rest)
			if !ok {
				continue
			}
			if word == "pattern" {
				patterns.take(d)
				continue
			}
			if user == "" {
				d.when = "!has_username"
			} else {
				d.spec.Users = []string{user}
			}
			to.take(d)
		default:
			w.fail(line, "%s is unknown; a line begins with user, topic or pattern, and a comment with # in its first column", quote(comment(word)))
		}
	}
	w.section(&nobody)
	for _, name := range order {
		w.section(users[name])
	}
	w.patterns(&patterns)
	return w.finish()
}

func (s *section) take(d draft) {
	if d.spec.Allow {
		s.allows = append(s.allows, d)
	} else {
		s.denies = append(s.denies, d)
	}
}

func (w *work) section(s *section) {
	for _, d := range slices.Concat(s.denies, s.allows) {
		w.add(d)
	}
}

// patterns are for everybody but a client with + or # in one of its names, whom Mosquitto
// allows nothing here.
func (w *work) patterns(s *section) {
	if len(s.allows) > 0 {
		const wild = `(?s:.*)[+#](?s:.*)`
		guard := draft{
			line: s.allows[0].line, source: "patterns allow nothing to a name with + or #",
			spec: auth.RuleSpec{Publish: true, Subscribe: true, Topics: []auth.TopicSpec{{Filter: "#"}}},
		}
		user, client := guard, guard
		user.spec.UsersMatch, client.spec.ClientsMatch = []string{wild}, []string{wild}
		w.add(user)
		w.add(client)
	}
	w.section(s)
}

// mosquittoLine reads what follows topic and pattern.
func (w *work) mosquittoLine(line int, pattern bool, text, rest string) (d draft, ok bool) {
	d = draft{line: line, source: strings.TrimLeft(text, " "), spec: auth.RuleSpec{Allow: true, Publish: true, Subscribe: true}}
	filter := rest
	if access, after, two := strings.Cut(rest, " "); two {
		filter = strings.Trim(after, " \t")
		switch access {
		case "read":
			d.spec.Publish = false
		case "write":
			d.spec.Subscribe = false
		case "readwrite":
		case "deny":
			d.spec.Allow = false
		default:
			w.fail(line, "%s is no access; write read, write, readwrite or deny, one space, and the topic", quote(comment(access)))
			return d, false
		}
	}
	switch {
	case filter == "":
		w.fail(line, "there is no topic; write it behind the access")
		return d, false
	case strings.Contains(filter, "${"):
		w.fail(line, "%s: ${ begins a placeholder here and is plain text in Mosquitto; no rule can say it", quote(filter))
		return d, false
	}
	if strings.Contains(filter, "%u") || strings.Contains(filter, "%c") {
		if !pattern {
			d.notes = append(d.notes, "%u and %c stand for nothing in a `topic` line, there and here; `pattern` was meant, perhaps")
		} else if filter, ok = w.substitutions(&d, filter); !ok {
			return d, false
		}
	}
	d.spec.Topics = []auth.TopicSpec{{Filter: filter}}
	d.denied()
	return d, true
}

// substitutions are %u and %c, each the only text of its level.
func (w *work) substitutions(d *draft, filter string) (string, bool) {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		switch {
		case l == "%u":
			levels[i] = "${username}"
			if !d.spec.Allow { // who has no user name is not meant
				d.when = "has_username"
			}
		case l == "%c":
			levels[i] = "${clientid}"
		case strings.Contains(l, "%u") || strings.Contains(l, "%c"):
			w.fail(d.line, "%s: %%u and %%c must be the only text of a level; what they are otherwise depends on the version of Mosquitto", quote(filter))
			return "", false
		}
	}
	return strings.Join(levels, "/"), true
}

// denied says what a deny rule denies beyond what it did.
func (d *draft) denied() {
	if d.spec.Allow {
		return
	}
	wild, names := false, false
	for _, t := range d.spec.Topics {
		wild = wild || !t.Eq && (t.Filter[:min(1, len(t.Filter))] == "+" || t.Filter[:min(1, len(t.Filter))] == "#")
		names = names || strings.Contains(t.Filter, "${")
	}
	if wild {
		d.notes = append(d.notes, "more than before: topics that start with $ are denied, too")
	}
	if names {
		d.notes = append(d.notes, "more than before: a client whose name cannot stand for the placeholder is denied everything")
	}
}
