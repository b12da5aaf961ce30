package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// Whatever the bytes are, Parse does not panic, and a policy that comes of them
// grants nothing that no rule of it spells out.
func FuzzParse(f *testing.F) {
	f.Add(Default())
	for _, s := range []string{
		"version: 1\nrules: [{allow: all, topics: [\"#\"]}]",
		"version: 1\nrules: [{allow: all, topics: [{eq: \"#\"}, \"+/#\"]}]",
		"version: 1\nrules: [{deny: all, topics: [\"${username}\"]}, {allow: subscribe, topics: [\"$SYS/#\", \"$x/${clientid}\"]}]",
		"version: 1\nrules: [{allow: publish, topics: [\"+\"], retain: true, qos: [2]}]\ntests: [{publish: a, expect: deny}]",
		"a: &a [*a, *a]", "? [", "\x00", "---\n---\n", "!!binary aaa", "version: 1\nrules:\n  - <<: {allow: all}",
	} {
		f.Add([]byte(s))
	}
	by := auth.Principal{Identity: "alice", Username: "alice", ClientID: "c1"}
	wild := auth.Principal{Identity: "+", Username: "+", ClientID: "#"}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", data)
		if err != nil {
			if p != nil || err.Error() == "" {
				t.Fatal("an error with a policy, or without a text")
			}
			return
		}
		granted := func(d auth.Decision, spelled func(filter string) bool, what string) {
			if d.Allow && !slices.ContainsFunc(d.Rule.Filters(), spelled) {
				t.Fatalf("%s is granted by %s, which does not say so", what, d.Rule.Text)
			}
		}
		everything := func(f string) bool { return f == "#" || f == "+/#" }
		granted(p.DecideSubscribe(&by, "#", 0), everything, "#")
		granted(p.DecideSubscribe(&by, "$share/g/#", 0), everything, "$share/g/#")
		granted(p.DecideSubscribe(&by, "$x/#", 0), func(f string) bool { return strings.HasPrefix(f, "$x/") }, "$x/#")
		granted(p.Decide(&by, auth.Access{Topic: []byte("$x/a")}), func(f string) bool { return strings.HasPrefix(f, "$x/") }, "$x/a")
		for _, closed := range []string{"$SYS/a", "$share/g/a", "$CONTROL/a", "$SETOPTS/a", "$queue/a", "$"} {
			if p.Decide(&by, auth.Access{Topic: []byte(closed)}).Allow {
				t.Fatalf("publish to %s is granted", closed)
			}
		}
		plain := func(f string) bool { return !strings.Contains(f, "${") }
		granted(p.Decide(&wild, auth.Access{Topic: []byte("a/b")}), plain, "a/b to a client called +")
		granted(p.DecideSubscribe(&wild, "a/+", 0), plain, "a/+ to a client called +")
	})
}
