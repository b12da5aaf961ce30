package advice_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/advice"
	"github.com/redoubtmq/redoubt/auth/rules"
)

func checked(t *testing.T, text string, opt advice.Options) advice.Report {
	t.Helper()
	p, err := rules.Parse("r.yaml", []byte("version: 1\nrules:\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	c := advice.New(opt)
	all := p.Rules()
	for _, r := range all[:len(all)-1] {
		c.Add(r)
	}
	return c.Report()
}

// codes are what was found, each with its line of the file; the first rule is in line 3.
func codes(r *advice.Report) string {
	var out []string
	for _, f := range r.Findings {
		_, line, _ := strings.Cut(f.Where, ":")
		out = append(out, fmt.Sprintf("%s %s %s", f.Severity, f.Code, line))
		if f.What == "" || f.Remedy == "" || f.Text == "" {
			out = append(out, "says nothing")
		}
	}
	return strings.Join(out, "; ")
}

func TestWhatIsOddAboutRules(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"the shipped ones": {`  - {allow: all, topics: ["devices/${username}/#"]}`, ""},
		"a deny too late":  {"  - {allow: all, users: [a], topics: [\"plant/#\"]}\n  - {deny: publish, users: [a], topics: [\"plant/7/valve\"]}", "error shadowed 4"},
		"said twice":       {"  - {allow: all, users: [a], topics: [\"plant/#\"]}\n  - {allow: publish, users: [a], topics: [\"plant/7/valve\"]}", "warning redundant 4"},
		"one of two":       {"  - {allow: all, users: [a], topics: [\"plant/#\"]}\n  - {deny: publish, users: [a], topics: [\"plant/7/valve\", \"x\"]}", "error shadowed 4"},
		"by two rules":     {"  - {deny: all, topics: [\"a/#\"]}\n  - {deny: all, topics: [\"b/#\"]}\n  - {allow: all, users: [a], topics: [\"a/1\", \"b/1\"]}", "error shadowed 5"},
		"by one that has a condition": {"  - {allow: all, users: [a], topics: [\"plant/#\"], when: \"listener == 'x'\"}\n  - {deny: publish, users: [a], topics: [\"plant/7/valve\"]}",
			"note perhaps_shadowed 4"},
		"by a placeholder":         {"  - {allow: all, topics: [\"d/${username}/#\"]}\n  - {deny: all, topics: [\"d/a/x\"]}", ""},
		"by a wildcard first":      {"  - {deny: all, users: [a], topics: [\"+/secret\"]}\n  - {allow: all, users: [a], topics: [\"plant/secret\"]}", "error shadowed 4"},
		"everything for everybody": {`  - {allow: all, topics: ["#"]}`, "error too_broad 3"},
		"in other words":           {`  - {allow: subscribe, topics: ["+/#"]}`, "error too_broad 3"},
		"everything for somebody":  {`  - {allow: all, users: [bridge], topics: ["#"]}`, "warning too_broad 3"},
		"eq everything":            {`  - {allow: subscribe, topics: [{eq: "#"}]}`, "error too_broad 3"},
		"publish for everybody":    {`  - {allow: publish, topics: ["news/+"]}`, "warning too_broad 3"},
		"read by everybody":        {`  - {allow: subscribe, topics: ["news/+", "+/status"]}`, "warning too_broad 3"},
		"by client id":             {`  - {allow: all, topics: ["d/${clientid}/#"]}`, "note chosen_by_client 3"},
		"by client id of a user":   {`  - {allow: all, users: [a], topics: ["d/${clientid}/#"]}`, ""},
		"a deny of everything":     {`  - {deny: all, topics: ["#"]}`, ""},
		"mosquitto":                {`  - {deny: all, topics: ["d/%u/x"]}`, "error foreign_placeholder 3"},
		"no dollar":                {`  - {deny: all, topics: ["d/{username}/x", "$username/x"]}`, "error foreign_placeholder 3; error foreign_placeholder 3"},
		"percent":                  {`  - {deny: all, topics: ["d/100%/x", "d/%user"]}`, ""},
		"star":                     {`  - {deny: all, topics: ["d/*/x", "t*", ">"]}`, "error star 3; warning star 3; error star 3"},
		"spaces":                   {`  - {deny: all, topics: ["d/ x"]}`, "warning spaces 3"},
		"spaces of names":          {`  - {deny: all, users: ["a ", b], clients: ["c\u200b"], cert_common_names: ["d e"], topics: ["d/x y"]}`, "warning spaces 3; warning spaces 3"},
		"slashes":                  {`  - {deny: all, topics: ["/d", "d/", "/#"]}`, "warning leading_slash 3; note empty_level 3"},
		"levels":                   {`  - {deny: all, topics: ["a/b/c/d/#", "a/b/c/d/e"]}`, "warning too_deep 3"},
		"listeners":                {"  - {deny: all, listeners: [inside], topics: [a]}\n  - {allow: all, listeners: [mqtts, out], topics: [a]}\n  - {deny: all, listeners: [mqtts], topics: [b]}", "error unknown_listener 3; warning unknown_listener 4"},
		"conditions": {"  - {deny: all, topics: [a], when: \"1 == 2\"}\n  - {allow: all, topics: [a], when: \"false\"}\n  - {allow: all, topics: [b], when: \"true\"}\n  - {deny: all, topics: [c], when: \"username == 'x'\"}\n  - {deny: all, topics: [d], when: \"1 / 0 == 1\"}",
			"error constant_condition 3; note perhaps_shadowed 4; warning constant_condition 4; note constant_condition 5"},
	} {
		r := checked(t, c.text+"\n", advice.Options{TopicLevels: 4, Listeners: []string{"mqtts"}})
		if got := codes(&r); got != c.want {
			t.Errorf("%s: %q, want %q\n%+v", name, got, c.want, r.Findings)
		}
	}
	if r := checked(t, `  - {deny: all, listeners: [x], topics: ["a/b/c/d/e"]}`, advice.Options{}); len(r.Findings) != 0 {
		t.Errorf("without knowing the broker: %+v", r.Findings)
	}
}

// Many rules cost what they cost, and what is not compared or listed is said.
func TestManyRules(t *testing.T) {
	specs := func(n int, filter func(int) string) (out []auth.RuleSpec) {
		for i := range n {
			out = append(out, auth.RuleSpec{Allow: true, Publish: true, Users: []string{fmt.Sprint("u", i)}, Topics: []auth.TopicSpec{{Filter: filter(i)}}})
		}
		return out
	}
	run := func(list []auth.RuleSpec, most int) advice.Report {
		p, err := auth.Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		c := advice.New(advice.Options{Comparisons: most})
		for _, r := range p.Rules() {
			if len(r.Filters()) > 0 {
				c.Add(r)
			}
		}
		return c.Report()
	}
	if r := run(specs(2_000, func(i int) string { return fmt.Sprintf("d/%d/#", i) }), 2_000); r.Stopped || len(r.Findings) != 0 || r.Rules != 2_000 {
		t.Errorf("found by their levels: %+v", r)
	}
	if r := run(specs(200, func(i int) string { return fmt.Sprintf("+/%d", i) }), 2_000); !r.Stopped || r.Rules != 200 {
		t.Errorf("all begin with a wildcard: stopped %v, %d rules", r.Stopped, r.Rules)
	}
	if r := run(specs(1_200, func(i int) string { return fmt.Sprintf("d/%d/%%u", i) }), 0); len(r.Findings) != advice.FindingsMax || r.More != 200 || r.Errors != 1_200 {
		t.Errorf("%d findings and %d more, %d errors", len(r.Findings), r.More, r.Errors)
	}
}

func TestListsAndStandings(t *testing.T) {
	book, err := auth.Fill(func(add func(auth.Subject, []auth.RuleSpec) error) error {
		return add(auth.UserNamed("a"), []auth.RuleSpec{
			{Allow: true, Publish: true, Topics: []auth.TopicSpec{{Filter: "#"}}},
			{Publish: true, Topics: []auth.TopicSpec{{Filter: "file/x"}}},
			{Publish: true, Topics: []auth.TopicSpec{{Filter: "own"}}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := rules.Parse("r.yaml", []byte("version: 1\nrules:\n  - {deny: all, users: [a, b], topics: [\"file/#\"]}\n  - {deny: all, users: [b], topics: [own]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := advice.New(advice.Options{})
	all := p.Rules()
	c.Add(all[0])
	c.Add(all[1])
	c.AddList(auth.UserNamed("a"), book.Rules(auth.UserNamed("a")))
	r := c.Report()
	if got := codes(&r); got != "warning too_broad ; warning redundant ; error shadowed " || r.Rules != 5 {
		t.Errorf("%q, %d rules", got, r.Rules)
	}
	c = advice.New(advice.Options{})
	own, err := auth.CompileOwn("db2", []auth.RuleSpec{{Allow: true, Publish: true, Topics: []auth.TopicSpec{{Filter: "x/%c"}, {Filter: "#"}}}})
	if err != nil {
		t.Fatal(err)
	}
	policy := auth.Compose(auth.Source{Name: "db2"}, auth.Source{Name: auth.SourceRules, Rules: p}, auth.Source{Name: auth.SourceBuiltin, Book: book}, auth.Source{Name: "db"})
	policy.Effective(&auth.Principal{Username: "b", Claims: &auth.Claims{Rules: []auth.Own{own}}}, func(st auth.Standing) bool {
		if len(st.Filters) > 0 {
			c.Standing(&st)
		}
		return true
	})
	if r = c.Report(); codes(&r) != "warning too_broad ; error foreign_placeholder ; error denies_everything " || r.Rules != 4 {
		t.Errorf("%q, %d rules", codes(&r), r.Rules)
	}
}
