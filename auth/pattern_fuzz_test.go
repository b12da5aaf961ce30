package auth

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/topic"
)

// FuzzPlaceholders: whatever a client calls itself, a rule about it is the rule with that
// name written out by hand, which package topic judges; and one whose name could be syntax
// is meant by no rule with a placeholder (A094, A095, A097).
func FuzzPlaceholders(f *testing.F) {
	for _, s := range [][5]string{
		{"dev/${username}/#", "alice", "c", "dev/alice/x", "dev/alice/+"},
		{"${clientid}/${username}", "a", "$SYS", "$SYS/a", "+/a"},
		{"x${clientid}y/+", "", "+", "x+y/a", "#"},
		{"+/#", ".*", "a|b", ".*", "/#"},
		{"${username}", "${clientid}", "a", "${clientid}", "+"},
		{"$app/${username}", "a/b", "#", "$app/a/b", "$app/#"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, rule, user, client, name, filter string) {
		p, err := compilePattern(TopicSpec{Filter: rule}, false, true, true)
		if err != nil || topic.ValidName([]byte(name)) != nil || topic.ValidFilter(filter) != nil {
			return
		}
		s := subjectOf(&Principal{Username: user, ClientID: client})
		plain, filled := strings.NewReplacer("${username}", user, "${clientid}", client).Replace(rule), true
		for i := range p.levels {
			switch p.levels[i].kind {
			case ofUser:
				filled = filled && Expandable(user)
			case ofClient:
				filled = filled && Expandable(client)
			case ofHost, ofCert, ofAttr:
				filled = false
			}
		}
		if !filled {
			if p.matches(&s, []byte(name), false) || p.equals(&s, []byte(filter)) {
				t.Fatalf("%q is about %q and %q", rule, user, client)
			}
			return
		}
		if topic.ValidFilter(plain) != nil {
			return // longer than there can be
		}
		for what, pair := range map[string][2]bool{
			"matches " + name:    {p.matches(&s, []byte(name), true), topic.Match(plain, []byte(name))},
			"covers " + filter:   {p.covers(&s, []byte(filter), true), topic.Covers(plain, filter)},
			"overlaps " + filter: {p.overlaps(&s, []byte(filter), true), topic.Overlaps(plain, filter)},
			"equals " + filter:   {p.equals(&s, []byte(filter)), plain == filter},
		} {
			if pair[0] != pair[1] {
				t.Fatalf("%q for %q and %q %s: %v, want %v", rule, user, client, what, pair[0], pair[1])
			}
		}
	})
}
