package observe

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// Suggestion is what was seen, as rules.
type Suggestion struct {
	From, Until  time.Time // Until: when it ends, or has ended
	Active       bool
	Users, Kinds int
	Left, Odd    int // judgements that had no place; of clients without a user name, or about odd topics
	Refused      int // judgements that were refused, which no rule is proposed for
	Rules        int
	Text         string // a rules file
}

// proposal is one filter with who needs it.
type proposal struct {
	action auth.Action
	filter string
	users  []string
	times  int
}

// Suggest writes the rules that would allow what was seen and was allowed; ok is false if
// nothing was ever watched. They are for a file of their own (authz.report_only), and say in
// comments how often each was seen and what was not looked at.
func (o *Observer) Suggest(now time.Time) (s Suggestion, ok bool) {
	o.mu.Lock()
	w := o.last
	o.mu.Unlock()
	if w == nil {
		return s, false
	}
	s, seen := w.copied(now)
	list, skipped := proposals(&s, seen)
	s.write(list, skipped)
	return s, true
}

// seen is one kind of one user.
type seen struct {
	user string
	key
	topics         []string
	times, refused int
}

// copied is what there is now: who publishes waits for no more than that.
func (w *observation) copied(now time.Time) (s Suggestion, list []seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s = Suggestion{From: w.from, Until: w.until, Active: w.ended.IsZero() && now.Before(w.until), Users: len(w.users), Kinds: w.kinds, Left: w.left, Odd: w.odd}
	if !w.ended.IsZero() {
		s.Until = w.ended
	}
	list = make([]seen, 0, w.kinds)
	for name, u := range w.users {
		for at, k := range u.kinds {
			list = append(list, seen{name, at, k.topics[:len(k.topics):len(k.topics)], k.times, k.refused}) // what is there does not change
		}
	}
	return s, list
}

// proposals are what was allowed, by filter, and the lines about what is not proposed.
func proposals(s *Suggestion, all []seen) (list []proposal, skipped []string) {
	slices.SortFunc(all, func(a, b seen) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.action, b.action), cmp.Compare(a.pattern, b.pattern))
	})
	found := map[key]*proposal{}
	for _, k := range all {
		s.Refused += k.refused
		filters := k.topics
		if len(filters) > variants {
			filters = []string{k.pattern}
		}
		for _, f := range filters {
			if why := unfit(k.action, f); why != "" {
				skipped = append(skipped, fmt.Sprintf("%s %s of user %s: %s", k.action, quoted(f), quoted(k.user), why))
				continue
			}
			p := found[key{k.action, f}]
			if p == nil {
				p = &proposal{action: k.action, filter: f}
				found[key{k.action, f}] = p
			}
			p.times += k.times - k.refused
			if n := len(p.users); n == 0 || p.users[n-1] != k.user { // they come by user
				p.users = append(p.users, k.user)
			}
		}
		if len(k.topics) == 0 && k.refused > 0 {
			skipped = append(skipped, fmt.Sprintf("%s %s of user %s: it was refused", k.action, quoted(k.pattern), quoted(k.user)))
		}
	}
	for _, p := range found {
		if strings.Contains(p.filter, "${username}") && len(p.users) > 1 {
			p.users = nil // it gives each its own
		}
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b proposal) int {
		return cmp.Or(slices.Compare(a.users, b.users), cmp.Compare(a.action, b.action), cmp.Compare(a.filter, b.filter))
	})
	slices.Sort(skipped)
	return list, skipped
}

// unfit says why a filter is not proposed; empty: it is.
func unfit(action auth.Action, filter string) string {
	if filter == "#" || filter == "+/#" {
		return "it is everything"
	}
	spec := auth.RuleSpec{Allow: true, Publish: action == auth.Publish, Subscribe: action == auth.Subscribe, Topics: []auth.TopicSpec{{Filter: filter}}}
	if _, err := auth.Compile([]auth.RuleSpec{spec}); err != nil {
		return "no rule can grant it"
	}
	return ""
}

// skippedMax bounds the lines about what is not proposed.
const skippedMax = 100

// write makes the file.
func (s *Suggestion) write(list []proposal, skipped []string) {
	var b strings.Builder
	state := "ended"
	if s.Active {
		state = "goes on; this is what was seen so far"
	}
	fmt.Fprintf(&b, "# Rules for what clients did from %s to %s (%s).\n", s.From.UTC().Format(time.RFC3339), s.Until.UTC().Format(time.RFC3339), state)
	fmt.Fprintf(&b, "# Seen: %d users, %d kinds of topics. The numbers are judgements: what the broker remembers of a client is not judged again.\n", s.Users, s.Kinds)
	b.WriteString("# Not seen: clients that did not come in this time, and what they do more seldom; they would be denied. Try these rules first:\n" +
		"# authz.report_only.rules_file, and redoubt acl diff. Nothing is denied here that the last rule does not deny.\n")
	if s.Left > 0 {
		fmt.Fprintf(&b, "# Not complete: %d judgements had no place (a user has %d kinds, all together %d).\n", s.Left, KindsOfUser, KindsMax)
	}
	if s.Odd > 0 {
		fmt.Fprintf(&b, "# Not proposed: %d judgements of clients without a user name, or about topics of more than %d bytes or with ${.\n", s.Odd, TopicMax)
	}
	for i, line := range skipped {
		if i == skippedMax {
			fmt.Fprintf(&b, "# Not proposed: %d more\n", len(skipped)-i)
			break
		}
		b.WriteString("# Not proposed: " + line + "\n")
	}
	b.WriteString("version: 1\n\nrules:")
	for i := 0; i < len(list); {
		n := i + 1
		for n < len(list) && list[n].action == list[i].action && slices.Equal(list[n].users, list[i].users) && n-i < auth.ListMax {
			n++
		}
		s.rule(&b, list[i:n])
		i = n
	}
	if s.Rules == 0 {
		b.WriteString(" []")
	}
	b.WriteString("\n")
	s.Text = b.String()
}

// rule writes one for filters of the same users and action; more users than a rule may name
// get several.
func (s *Suggestion) rule(b *strings.Builder, same []proposal) {
	users := same[0].users
	for first := true; first || len(users) > 0; first = false {
		s.Rules++
		some := users[:min(len(users), auth.ListMax)]
		users = users[len(some):]
		fmt.Fprintf(b, "\n  - allow: %s\n", same[0].action)
		if len(some) > 0 {
			names := make([]string, len(some))
			for i, name := range some {
				names[i] = quoted(name)
			}
			fmt.Fprintf(b, "    users: [%s]\n", strings.Join(names, ", "))
		}
		b.WriteString("    topics:\n")
		for _, p := range same {
			fmt.Fprintf(b, "      - %s # %d\n", quoted(p.filter), p.times)
		}
	}
}

// quoted is a text as YAML reads it, without anything that could end its line.
func quoted(s string) string { return strconv.Quote(s) }
