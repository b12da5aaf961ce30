package rewrite

import (
	"errors"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/topic"
	"github.com/redoubtmq/redoubt/topic/template"
)

var ann = template.Values{ClientID: "c-1", Username: "ann", Listener: "mqtts"}

func mustCompile(t testing.TB, rules ...Rule) *Rules {
	t.Helper()
	r, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRewrite(t *testing.T) {
	for _, c := range []struct {
		why        string
		rules      []Rule
		topic      string
		name       string // of a publish; "" is an error
		filter     string // of a subscribe
		nameOnly   bool
		filterOnly bool
	}{
		{why: "no rules", topic: "a/b", name: "a/b", filter: "a/b"},
		{why: "another topic", rules: []Rule{{All, "x/#", "^x/(.+)$", "z/$1"}}, topic: "a/b", name: "a/b", filter: "a/b"},
		{why: "groups", rules: []Rule{{All, "x/#", "^x/y/(.+)$", "z/y/x/$1"}}, topic: "x/y/2", name: "z/y/x/2", filter: "z/y/x/2"},
		{why: "the source matches, the expression does not", rules: []Rule{{All, "x/#", "^x/y/(.+)$", "z/$1"}}, topic: "x/1/2", name: "x/1/2", filter: "x/1/2"},
		{why: "several groups, in another order", rules: []Rule{{All, "y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2/$1"}}, topic: "y/a/z/b", name: "y/z/b/a", filter: "y/z/b/a"},
		{why: "the last rule goes first", rules: []Rule{{All, "x/#", ".*", "one"}, {All, "x/1", ".*", "two"}}, topic: "x/1", name: "two", filter: "two"},
		{why: "and decides, whatever its expression says", rules: []Rule{{All, "x/#", ".*", "one"}, {All, "x/1", "^nothing$", "two"}}, topic: "x/1", name: "x/1", filter: "x/1"},
		{why: "publish only", rules: []Rule{{Publish, "x/#", ".*", "p"}}, topic: "x/1", name: "p", filter: "x/1"},
		{why: "subscribe only", rules: []Rule{{Subscribe, "x/#", ".*", "s/#"}}, topic: "x/1", name: "x/1", filter: "s/#"},
		{why: "the whole topic is replaced", rules: []Rule{{All, "#", "b", "z"}}, topic: "a/b/c", name: "z", filter: "z"},
		{why: "wildcards in a filter are text", rules: []Rule{{All, "x/#", "^x/(.+)$", "z/$1"}}, topic: "x/+/#", filter: "z/+/#", filterOnly: true},
		{why: "a filter that is wider than the source", rules: []Rule{{All, "x/+", "^x/(.+)$", "z/$1"}}, topic: "x/#", filter: "x/#", filterOnly: true},
		{why: "a group that took no part", rules: []Rule{{All, "#", "^a(b)?/(.)$", "z$1/$2"}}, topic: "a/c", name: "z/c", filter: "z/c"},
		{why: "placeholders", rules: []Rule{{All, "cmd/#", "^cmd/(.*)$", "${listener}/${username}/${clientid}/$1"}}, topic: "cmd/go", name: "mqtts/ann/c-1/go", filter: "mqtts/ann/c-1/go"},
		{why: "to later", rules: []Rule{{Publish, "slow/#", "^slow/(.*)$", "$delayed/60/$1"}}, topic: "slow/a", name: "$delayed/60/a", nameOnly: true},
		{why: "a $ that was there", rules: []Rule{{All, "$x/#", "^(.*)/old$", "$1/new"}}, topic: "$x/a/old", name: "$x/a/new", filter: "$x/a/new"},
		{why: "a $ that the operator wrote", rules: []Rule{{All, "x/#", "^x/(.*)$", "$y/$1"}}, topic: "x/a", name: "$y/a", filter: "$y/a"},
		{why: "a $ that is the whole topic", rules: []Rule{{All, "x/#", ".", "$y"}}, topic: "x/a", name: "$y", filter: "$y"},
		{why: "a $ that only begins like the operator's", rules: []Rule{{All, "x/#", "^x/(.*)$", "$y$1/b"}}, topic: "x/z"},
		{why: "a $ out of the middle of a topic", rules: []Rule{{All, "x/#", "^x/(.*)$", "$1"}}, topic: "x/$SYS/a"},
		{why: "a $ put together", rules: []Rule{{All, "x/#", "^x/(.*)$", "$$1"}}, topic: "x/SYS/a"},
		{why: "another $ than was there", rules: []Rule{{All, "$x/#", "^.x/(.*)$", "$1"}}, topic: "$x/$SYS/a"},
		{why: "nothing is left", rules: []Rule{{All, "#", "^a(.*)$", "$1"}}, topic: "a"},
		{why: "a wildcard that is no level", rules: []Rule{{Subscribe, "x/#", "^x/(.*)$", "z$1"}}, topic: "x/+", filterOnly: true},
		{why: "a wildcard in the wrong place", rules: []Rule{{Subscribe, "x/#", "^x/(.*)$", "$1/z"}}, topic: "x/#", filterOnly: true},
		{why: "too long", rules: []Rule{{All, "#", "^(.*)$", "$1$1"}}, topic: strings.Repeat("a", 40_000)},
		{why: "a client id that is a pattern", rules: []Rule{{All, "#", "^evil$", "t/${clientid}"}}, topic: "evil", name: "t/c-1", filter: "t/c-1"},
	} {
		r := mustCompile(t, c.rules...)
		if !c.filterOnly {
			out, changed, err := r.Publish([]byte("kept"), []byte(c.topic), ann)
			got := string(out)
			if changed {
				got = strings.TrimPrefix(got, "kept")
			}
			if got != c.name || (err != nil) != (c.name == "") || changed != (c.name != "" && c.name != c.topic) {
				t.Errorf("%s: Publish(%.20q) = %.20q, %t, %v, want %q", c.why, c.topic, got, changed, err, c.name)
			}
		}
		if !c.nameOnly {
			got, changed, err := r.Subscribe(c.topic, ann)
			want := c.filter
			if want == "" {
				want = c.topic // beside the error
			}
			if got != want || (err != nil) != (c.filter == "") || changed != (c.filter != "" && c.filter != c.topic) {
				t.Errorf("%s: Subscribe(%.20q) = %.20q, %t, %v, want %.20q", c.why, c.topic, got, changed, err, want)
			}
		}
	}
}

// A client that calls itself a pattern, a path or nothing gets no topic at all (A094).
func TestHostileClients(t *testing.T) {
	r := mustCompile(t, Rule{All, "cmd/#", "^cmd/(.*)$", "dev/${clientid}/$1"}, Rule{All, "u/#", "^u/(.*)$", "${username}/$1"})
	for _, name := range []string{"#", "+", "a/b", "", "$SYS", "a\x00b", "../", "a+"} {
		for _, at := range []string{"cmd/x", "u/x"} {
			v := template.Values{ClientID: name, Username: name}
			if out, changed, err := r.Publish(nil, []byte(at), v); err == nil || changed || out != nil {
				t.Errorf("publish by %q to %s = %q, %t, %v", name, at, out, changed, err)
			}
			if out, changed, err := r.Subscribe(at, v); err == nil || changed {
				t.Errorf("subscribe by %q to %s = %q, %t, %v", name, at, out, changed, err)
			}
		}
	}
	var none *Rules
	if out, changed, err := none.Publish(nil, []byte("a"), ann); string(out) != "a" || changed || err != nil {
		t.Errorf("no rules: %q, %t, %v", out, changed, err)
	}
	if out, changed, err := none.Subscribe("a", ann); out != "a" || changed || err != nil {
		t.Errorf("no rules: %q, %t, %v", out, changed, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	good := Rule{All, "x/#", "^x/(.*)$", "z/$1"}
	with := func(change func(*Rule)) []Rule {
		bad := good
		change(&bad)
		return []Rule{good, bad}
	}
	for want, rules := range map[string][]Rule{
		`rule 2: action is "drop"; there are publish, subscribe and all`:  with(func(r *Rule) { r.Action = "drop" }),
		"rule 2: source is no topic filter: '#' must fill":                with(func(r *Rule) { r.Source = "x/#/y" }),
		"rule 2: source is no topic filter: topic has no characters":      with(func(r *Rule) { r.Source = "" }),
		"rule 2: source begins with $share/":                              with(func(r *Rule) { r.Source = "$share/g/x" }),
		"rule 2: dest begins with $exclusive/":                            with(func(r *Rule) { r.Dest = "$exclusive/x" }),
		"rule 2: re is no regular expression of RE2: error parsing":       with(func(r *Rule) { r.RE = "(" }),
		"invalid or unsupported Perl syntax":                              with(func(r *Rule) { r.RE = `(?=x)` }), // no lookahead, no backtracking
		"invalid escape sequence":                                         with(func(r *Rule) { r.RE = `(a)\1` }),
		"rule 2: dest is empty":                                           with(func(r *Rule) { r.Dest = "" }),
		"rule 2: dest holds the placeholder ${user}":                      with(func(r *Rule) { r.Dest = "${user}" }),
		"rule 2: dest holds $2, and the regular expression has one group": with(func(r *Rule) { r.Dest = "$2" }),
		"rule 2: dest makes no topic: topic name holds a wildcard":        with(func(r *Rule) { r.Dest = "z/#" }),
		"rule 2: dest makes no topic: '#' must fill":                      with(func(r *Rule) { r.Action, r.Dest = Subscribe, "#/z" }),
		"are 21; at most 20":                                              make([]Rule, RulesMax+1),
	} {
		_, err := Compile(rules)
		var re *RuleError
		if !errors.As(err, &re) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	many := make([]Rule, RulesMax)
	for i := range many {
		many[i] = good
	}
	if _, err := Compile(many); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
}

// Whatever a client is called and asks for, the result is valid, and in a
// namespace of the broker only if the topic was or the rule leads there.
func FuzzRewrite(f *testing.F) {
	f.Add("x/#", "^x/(.*)$", "z/$1", "x/a", "c")
	f.Add("#", "(.*)", "$1", "$SYS/x", "+")
	f.Add("+/#", "^(.)(.*)$", "$2/${clientid}", "a$x", "$")
	f.Fuzz(func(t *testing.T, source, re, dest, at, client string) {
		if len(re) > 200 {
			return
		}
		r, err := Compile([]Rule{{All, source, re, dest}})
		if err != nil || topic.ValidFilter(at) != nil || client != "" && topic.ValidName([]byte(client)) != nil {
			return
		}
		v := template.Values{ClientID: client, Username: client, Listener: "l"}
		check := func(out string) {
			if !strings.HasPrefix(out, "$") || out == at {
				return
			}
			level, _, _ := strings.Cut(out, "/")
			if !strings.HasPrefix(dest, level+"/") && dest != out && !strings.HasPrefix(at, level) {
				t.Fatalf("%q became %q by %q", at, out, dest)
			}
		}
		if topic.ValidName([]byte(at)) == nil {
			out, changed, err := r.Publish(nil, []byte(at), v)
			if err == nil && topic.ValidName(out) != nil || !changed && err == nil && string(out) != at {
				t.Fatalf("Publish(%q) = %q, %t", at, out, changed)
			}
			check(string(out))
		}
		out, changed, err := r.Subscribe(at, v)
		if topic.ValidFilter(out) != nil || !changed && out != at || err != nil && changed {
			t.Fatalf("Subscribe(%q) = %q, %t, %v", at, out, changed, err)
		}
		check(out)
	})
}

func BenchmarkPublish(b *testing.B) {
	rules := make([]Rule, RulesMax)
	for i := range rules {
		rules[i] = Rule{All, "old/devices/+/data", "^old/devices/(.+)/data$", "devices/$1/data"}
	}
	r, err := Compile(rules)
	if err != nil {
		b.Fatal(err)
	}
	for what, name := range map[string]string{"no rule": "devices/1/state", "a rule": "old/devices/1/data"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			buf, from := make([]byte, 0, 64), []byte(name)
			for b.Loop() {
				_, _, _ = r.Publish(buf, from, template.Values{})
			}
		})
	}
}
