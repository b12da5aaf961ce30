package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestTooMuchOfOnesOwnIsRefused(t *testing.T) {
	rule := RuleSpec{Allow: true, Publish: true, Topics: []TopicSpec{{Filter: "a/#"}}}
	long := RuleSpec{Allow: true, Publish: true, Topics: make([]TopicSpec, 80)}
	for i := range long.Topics {
		long.Topics[i].Filter = strings.Repeat("x", 900)
	}
	many := make([]RuleSpec, OwnMax+1)
	for i := range many {
		many[i] = rule
	}
	for _, c := range []struct {
		name  string
		specs []RuleSpec
		key   string // of the refusal; "": none
	}{
		{"as many as there may be", many[:OwnMax], ""},
		{"one more", many, "rules"},
		{"too long in all", []RuleSpec{rule, long}, "rules"},
		{"no topic filter", []RuleSpec{{Allow: true, Publish: true, Topics: []TopicSpec{{Filter: "a/#/b"}}}}, "topics"},
		{"a namespace nobody may be given", []RuleSpec{{Allow: true, Publish: true, Topics: []TopicSpec{{Filter: "$SYS/#"}}}}, "topics"},
	} {
		own, err := CompileOwn("claims", c.specs)
		var re *RuleError
		switch {
		case c.key == "" && (err != nil || len(own.Rules) != len(c.specs) || own.Source != "claims"):
			t.Errorf("%s: %d rules, %v", c.name, len(own.Rules), err)
		case c.key != "" && (!errors.As(err, &re) || re.Key != c.key || len(own.Rules) > 0):
			t.Errorf("%s: %d rules, %v", c.name, len(own.Rules), err)
		}
	}
}

func TestOnesOwnRulesLookAtUsersThemselves(t *testing.T) {
	own, err := CompileOwn("claims", []RuleSpec{{
		Allow: true, Publish: true, Users: []string{"ann"}, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Topics: []TopicSpec{{Filter: "a"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]bool{"ann": true, "bob": false, "": false} {
		if got := own.Rules[0].concerns(who(user, "c")); got != want {
			t.Error(fmt.Sprintf("%q", user), got)
		}
	}
}
