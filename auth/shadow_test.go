package auth

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

func TestShadows(t *testing.T) {
	with := func(s RuleSpec, change func(*RuleSpec)) RuleSpec { change(&s); return s }
	alice := func(s *RuleSpec) { s.Users = []string{"alice"} }
	when := func(text bool) func(*RuleSpec) { return func(s *RuleSpec) { s.When = says{text, nil} } }
	net := func(n string) func(*RuleSpec) {
		return func(s *RuleSpec) { s.Addresses = []netip.Prefix{netip.MustParsePrefix(n)} }
	}
	for name, c := range map[string]struct {
		first, later RuleSpec
		want         Cover
	}{
		"same":                          {allow("a/b"), deny("a/b"), SureCover},
		"wider":                         {allow("a/#"), deny("a/b"), SureCover},
		"parent":                        {deny("a/#"), allow("a"), SureCover},
		"narrower":                      {allow("a/b"), deny("a/#"), NoCover},
		"plus under hash":               {allow("a/+"), deny("a/#"), NoCover},
		"hash and plus/hash":            {deny("+/#"), allow("#"), SureCover},
		"/# is /+/#":                    {deny("/+/#"), allow("/#"), SureCover},
		"$ is not of an allow":          {allow("#"), deny("$app/#"), NoCover},
		"$ is of a deny":                {deny("#"), allow("$app/#"), SureCover},
		"a deny reaches $ too":          {allow("#"), deny("+/x"), PerhapsCover},
		"everything again":              {allow("#"), deny("#"), PerhapsCover},
		"placeholder is one level":      {allow("d/+"), allow("d/${username}"), SureCover},
		"the same placeholder":          {allow("d/${username}/#"), allow("d/${username}/x"), SureCover},
		"another placeholder":           {allow("d/${username}/#"), allow("d/${clientid}/x"), NoCover},
		"placeholder and a name":        {allow("d/${username}/#"), allow("d/alice/x"), NoCover},
		"placeholder and its user":      {allow("d/${username}/#"), with(allow("d/alice/x"), alice), SureCover},
		"placeholder and another":       {allow("d/${username}/#"), with(allow("d/bob/x"), alice), NoCover},
		"a deny denies all for others":  {allow("d/#"), deny("d/${username}"), NoCover},
		"the same deny":                 {deny("d/${username}"), deny("d/${username}"), SureCover},
		"for somebody":                  {with(allow("a/#"), alice), deny("a/b"), NoCover},
		"for the same":                  {with(allow("a/#"), alice), with(deny("a/b"), alice), SureCover},
		"of everybody":                  {allow("a/#"), with(deny("a/b"), alice), SureCover},
		"condition":                     {with(allow("a/#"), when(true)), deny("a/b"), PerhapsCover},
		"the same condition":            {with(deny("a/#"), when(true)), with(allow("a/b"), when(true)), SureCover},
		"an allow that fails":           {with(allow("a/#"), when(true)), with(deny("a/b"), when(true)), PerhapsCover},
		"network in network":            {with(deny("a"), net("10.0.0.0/8")), with(allow("a"), net("10.1.0.0/16")), SureCover},
		"network outside":               {with(deny("a"), net("10.1.0.0/16")), with(allow("a"), net("10.0.0.0/8")), NoCover},
		"one action of two":             {with(allow("a"), func(s *RuleSpec) { s.Subscribe = false }), allow("a"), NoCover},
		"qos":                           {with(allow("a"), func(s *RuleSpec) { s.QoS = []mqtt.QoS{0} }), allow("a"), NoCover},
		"eq is narrower":                {allow("eq:a/#"), deny("a/#"), NoCover},
		"eq under a filter":             {deny("a/#"), allow("eq:a/#"), SureCover},
		"group":                         {deny("#"), deny("$share/g/a"), SureCover},
		"a group is not what is inside": {deny("$share/g/a"), deny("a"), NoCover},
	} {
		p := compile(t, c.first, c.later)
		r := p.Rules()
		if got := r[0].Shadows(r[1], 0, Everybody()); got != c.want {
			t.Errorf("%s: %s before %s: %d, want %d", name, r[0].Text, r[1].Text, got, c.want)
		}
	}
	first := compile(t, with(allow("d/${username}/#"), alice)).Rules()[0]
	list := bookOf(t, map[Subject][]RuleSpec{UserNamed("alice"): {only(false, true, true, "d/alice/x")}}).Rules(UserNamed("alice"))
	if got := first.Shadows(&list[0], 0, UserNamed("alice")); got != SureCover {
		t.Errorf("the list of a user: %d", got)
	}
	if got := first.Shadows(&list[0], 0, ClientNamed("alice")); got != NoCover {
		t.Errorf("the list of a client: %d", got)
	}
}

// What is said to be never reached never decides, whoever asks for what.
func TestShadowedRulesNeverDecide(t *testing.T) {
	levels := []string{"a", "b", "", "+", "${username}", "${clientid}", "$x"}
	draw := func(t *rapid.T, kinds []string, hash bool) string {
		out := rapid.SliceOfN(rapid.SampledFrom(kinds), 1, 3).Draw(t, "levels")
		if hash && rapid.IntRange(0, 2).Draw(t, "hash") == 0 {
			out = append(out, "#")
		}
		return strings.Join(out, "/")
	}
	rapid.Check(t, func(t *rapid.T) {
		var specs []RuleSpec
		for range rapid.IntRange(2, 4).Draw(t, "rules") {
			s := RuleSpec{Allow: rapid.Bool().Draw(t, "allow"), Publish: true, Subscribe: rapid.IntRange(0, 3).Draw(t, "both") > 0}
			for range rapid.IntRange(1, 2).Draw(t, "topics") {
				s.Topics = append(s.Topics, TopicSpec{draw(t, levels, true), rapid.IntRange(0, 5).Draw(t, "eq") == 0})
			}
			switch rapid.IntRange(0, 4).Draw(t, "who") {
			case 0:
				s.Users = []string{"a"}
			case 1:
				s.UsersMatch = []string{"[ab]"}
			case 2:
				s.Clients = []string{"b"}
			}
			if _, err := Compile([]RuleSpec{s}); err == nil {
				specs = append(specs, s)
			}
		}
		p := compile(t, specs...)
		rules := p.Rules()
		dead := map[*Rule]bool{}
		for j := 1; j < len(specs); j++ {
			dead[rules[j]] = true
			for i := range rules[j].topics {
				hit := false
				for k := range j {
					hit = hit || rules[k].Shadows(rules[j], i, Everybody()) == SureCover
				}
				dead[rules[j]] = dead[rules[j]] && hit
			}
		}
		for range 12 {
			by := &Principal{Username: rapid.SampledFrom([]string{"a", "b", "$x", "+", ""}).Draw(t, "user"), ClientID: rapid.SampledFrom([]string{"a", "b", "x/y"}).Draw(t, "client")}
			name := draw(t, []string{"a", "b", "", "$x"}, false)
			filter := draw(t, []string{"a", "b", "", "+", "$x"}, true)
			if rapid.IntRange(0, 3).Draw(t, "share") == 0 {
				filter = "$share/g/" + filter
			}
			var got []*Rule
			if name != "" {
				got = append(got, p.Decide(by, Access{Topic: []byte(name)}).Rule, p.DecideDelivery(by, []byte(name)).Rule)
			}
			if topic.ValidFilter(filter) == nil {
				got = append(got, p.DecideSubscribe(by, filter, 0).Rule)
			}
			for _, r := range got {
				if dead[r] {
					t.Fatalf("%s decides %q, %q for %q, %q, and is said to be never reached; the rules are\n%v", r.Text, name, filter, by.Username, by.ClientID, texts(rules))
				}
			}
		}
	})
}

func texts(rules []*Rule) string {
	var b strings.Builder
	for _, r := range rules {
		b.WriteString(r.Text + "\n")
	}
	return b.String()
}
