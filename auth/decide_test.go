package auth

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

func allow(filters ...string) RuleSpec { return rule(true, filters...) }
func deny(filters ...string) RuleSpec  { return rule(false, filters...) }

func rule(allowed bool, filters ...string) RuleSpec {
	s := RuleSpec{File: "rules.yaml", Allow: allowed, Publish: true, Subscribe: true}
	for _, f := range filters {
		f, eq := strings.CutPrefix(f, "eq:")
		s.Topics = append(s.Topics, TopicSpec{f, eq})
	}
	return s
}

func compile(t interface{ Fatal(...any) }, specs ...RuleSpec) *Policy {
	p, err := Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func who(user, client string) *Principal {
	return &Principal{Identity: user, Username: user, ClientID: client, Addr: netip.MustParseAddr("192.0.2.1")}
}

func mayPublish(p *Policy, by *Principal, name string) bool {
	return p.Decide(by, Access{Action: Publish, Topic: []byte(name)}).Allow
}

func maySubscribe(p *Policy, by *Principal, filter string) bool {
	return p.DecideSubscribe(by, filter, 0).Allow
}

func TestTheEndOfEveryPolicyDenies(t *testing.T) {
	by := who("alice", "c1")
	for name, p := range map[string]*Policy{"nil": nil, "zero": {}, "empty": compile(t), "other topic": compile(t, allow("x"))} {
		for what, d := range map[string]Decision{
			"publish":   p.Decide(by, Access{Action: Publish, Topic: []byte("a")}),
			"subscribe": p.Decide(by, Access{Action: Subscribe, Topic: []byte("a")}),
			"receive":   p.DecideDelivery(by, []byte("a")),
			"nobody":    p.Decide(nil, Access{Action: Publish, Topic: []byte("x")}),
			"no action": p.Decide(by, Access{Action: 7, Topic: []byte("x")}),
		} {
			if d.Allow || d.Rule == nil || d.Rule.ID != "default" || d.Rule.Where() != "default" {
				t.Errorf("%s policy, %s: %+v", name, what, d)
			}
		}
		if rules := p.Rules(); rules[len(rules)-1].ID != "default" {
			t.Errorf("%s: the last rule is not shown", name)
		}
	}
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	no := deny("a/secret")
	no.Users = []string{"alice", "alice"}
	p := compile(t, no, allow("a/#"), deny("a/late"))
	for _, c := range []struct {
		user, name string
		want       bool
		rule       string
	}{
		{"alice", "a/secret", false, "rule 1"},
		{"bob", "a/secret", true, "rule 2"},
		{"alice", "a/late", true, "rule 2"},
		{"alice", "b", false, "default"},
		{"", "a", true, "rule 2"},
	} {
		d := p.Decide(who(c.user, "c"), Access{Action: Publish, Topic: []byte(c.name)})
		if d.Allow != c.want || d.Rule.ID != c.rule {
			t.Errorf("%s %s: %v by %s, want %v by %s", c.user, c.name, d.Allow, d.Rule.ID, c.want, c.rule)
		}
	}
}

func TestSubjectsMustAllFit(t *testing.T) {
	r := allow("t")
	r.Users, r.Clients = []string{"alice"}, []string{"c1", "c2"}
	r.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::ffff:192.168.0.0/112")}
	p := compile(t, r)
	for _, c := range []struct {
		user, client, addr string
		want               bool
	}{
		{"alice", "c2", "10.1.2.3", true},
		{"alice", "c1", "::ffff:10.1.2.3", true},  // a dual-stack socket
		{"alice", "c1", "fe80::1%eth0", true},     // a zone is no disguise
		{"alice", "c1", "192.168.7.7", true},      // a mapped network in the file
		{"alice", "c3", "10.1.2.3", false},        // client
		{"bob", "c1", "10.1.2.3", false},          // user
		{"", "c1", "10.1.2.3", false},             // no user
		{"alice", "c1", "11.1.2.3", false},        // address
		{"alice", "c1", "::10.1.2.3", false},      // not a mapped one
		{"alice", "c1", "2001:db8::a01:1", false}, // other family
	} {
		by := &Principal{Username: c.user, ClientID: c.client, Addr: netip.MustParseAddr(c.addr)}
		if mayPublish(p, by, "t") != c.want {
			t.Errorf("%+v: %v", c, !c.want)
		}
	}
	if mayPublish(p, &Principal{Username: "alice", ClientID: "c1"}, "t") {
		t.Error("a unix socket has no address, and matched a network")
	}
}

func TestQualifiers(t *testing.T) {
	yes, no := true, false
	q, r, f := allow("q"), allow("r"), allow("f")
	q.QoS = []mqtt.QoS{0, 1}
	r.Retain, r.Subscribe = &yes, false
	f.Retain, f.Subscribe = &no, false
	p := compile(t, q, r, f)
	for _, c := range []struct {
		topic  string
		qos    mqtt.QoS
		retain bool
		want   bool
	}{
		{"q", 0, false, true}, {"q", 1, true, true}, {"q", 2, false, false}, {"q", 200, false, false},
		{"r", 0, true, true}, {"r", 0, false, false},
		{"f", 2, false, true}, {"f", 2, true, false},
	} {
		if got := p.Decide(who("a", "c"), Access{Publish, []byte(c.topic), c.qos, c.retain}).Allow; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if !p.DecideSubscribe(who("a", "c"), "q", 1).Allow || p.DecideSubscribe(who("a", "c"), "q", 2).Allow {
		t.Error("the QoS asked for by a subscription is not judged")
	}
}

// A109, A110: a wildcard is no way around a deny, and no way up.
func TestSubscribeNeedsARuleForTheWholeFilter(t *testing.T) {
	p := compile(t, deny("a/s"), allow("a/#"))
	by := who("alice", "c")
	for filter, want := range map[string]Decision{
		"a/b":   {Allow: true},
		"a/s":   {},
		"a/s/#": {Allow: true, Check: true}, // holds a/s itself
		"a/#":   {Allow: true, Check: true},
		"a/+":   {Allow: true, Check: true},
		"a/+/s": {Allow: true},
		"+/s":   {},
		"#":     {},
		"+/#":   {},
		"a":     {Allow: true},
		"+":     {},
	} {
		d := p.DecideSubscribe(by, filter, 0)
		if d.Allow != want.Allow || d.Check != want.Check {
			t.Errorf("%s: allow %v check %v, want %v %v", filter, d.Allow, d.Check, want.Allow, want.Check)
		}
	}
	if p.DecideDelivery(by, []byte("a/s")).Allow || !p.DecideDelivery(by, []byte("a/b")).Allow {
		t.Error("the deny is not enforced at delivery")
	}
	if d := compile(t, allow("a/#"), deny("a/s")).DecideSubscribe(by, "a/#", 0); !d.Allow || d.Check {
		t.Error("a deny behind the allow that covers everything asks for checks")
	}
	if d := compile(t, deny("#"), allow("a/#")).DecideSubscribe(by, "a/#", 0); d.Allow {
		t.Error("a deny that covers everything was passed over")
	}
}

func TestEqIsAboutTheSubscriptionsText(t *testing.T) {
	p := compile(t, deny("eq:#", "eq:${username}/+"), allow("#"))
	by := who("alice", "c")
	for filter, want := range map[string]bool{"#": false, "alice/+": false, "bob/+": true, "alice/a": true, "+/#": true, "a/#": true} {
		if d := p.DecideSubscribe(by, filter, 0); d.Allow != want || d.Check {
			t.Errorf("%s: %+v", filter, d)
		}
	}
	if !mayPublish(p, by, "alice/a") || !p.DecideDelivery(by, []byte("alice/a")).Allow {
		t.Error("a deny with eq reached a topic name")
	}
	p = compile(t, deny("a/s"), allow("eq:a/#"))
	if d := p.DecideSubscribe(by, "a/#", 0); !d.Allow || !d.Check {
		t.Errorf("eq allow: %+v", d)
	}
	if maySubscribe(p, by, "a/b") || maySubscribe(p, by, "a/+") || mayPublish(p, by, "a/b") {
		t.Error("an allow with eq granted more than its text")
	}
	if !p.DecideDelivery(by, []byte("a/b")).Allow || p.DecideDelivery(by, []byte("a/s")).Allow {
		t.Error("the subscription that eq allows gets the wrong messages")
	}
}

// A deny that cannot be read for a client protects something; what, nobody knows.
func TestADenyThatCannotBeExpandedDenies(t *testing.T) {
	p := compile(t, deny("x/${clientid}/#"), allow("#"))
	for _, id := range []string{"", "+", "a/b", "$x"} {
		by := who("alice", id)
		if mayPublish(p, by, "y") || maySubscribe(p, by, "y") || p.DecideDelivery(by, []byte("y")).Allow {
			t.Errorf("client id %q got past a deny rule that does not expand", id)
		}
	}
	if !mayPublish(p, who("alice", "c1"), "y") || mayPublish(p, who("alice", "c1"), "x/c1/z") {
		t.Error("the deny rule is wrong for an ordinary client")
	}
}

// A085, A086: $share is a way to subscribe and not a way around the rules.
func TestSharedSubscriptionsNeedTheInnerFilter(t *testing.T) {
	p := compile(t, deny("a/s"), deny("$share/staff/a/#"), allow("a/#"))
	by := who("alice", "c")
	for filter, want := range map[string]bool{
		"$share/g/a/b":          true,
		"$share/g/a/s":          false,
		"$share/g/b":            false,
		"$share/g/#":            false,
		"$share/staff/a/b":      false, // the group is denied
		"$share/staff/+/b":      false,
		"$share/g/$share/g/a/b": false,
		"$share/+/a/b":          false,
		"$share//a/b":           false,
		"$share/g/":             false,
		"$share/g":              false,
		"$share":                false,
		"$queue/a/b":            false,
		"$exclusive/a/b":        false,
		"$delayed/1/a/b":        false,
		"$SHARE/g/a/b":          false,
	} {
		if maySubscribe(p, by, filter) != want {
			t.Errorf("%s: %v", filter, !want)
		}
	}
	if d := p.DecideSubscribe(by, "$share/g/a/#", 0); !d.Allow || !d.Check {
		t.Errorf("the overlapping deny is lost behind $share: %+v", d)
	}
}

func TestWhatIsNotATopicIsDenied(t *testing.T) {
	p := compile(t, allow("#", "+/#", "/#"))
	by := who("alice", "c")
	for _, name := range []string{"", "a/+", "#", "a#"} {
		if mayPublish(p, by, name) || p.DecideDelivery(by, []byte(name)).Allow {
			t.Errorf("%q was taken for a topic name", name)
		}
	}
	for _, f := range []string{"", "a#", "#/a", "a/b+", "a\x00"} {
		if maySubscribe(p, by, f) {
			t.Errorf("%q was taken for a topic filter", f)
		}
	}
}

// The promise that makes checks at delivery rare: a subscription allowed without
// Check never meets a message it may not read; and what it may not read is only
// ever denied by a rule, or by there being none.
func TestAllowedWithoutCheckMeansEveryDelivery(t *testing.T) {
	words := []string{"a", "b", "+", "$SYS", "${username}", "${clientid}"}
	rapid.Check(t, func(t *rapid.T) {
		var specs []RuleSpec
		for range rapid.IntRange(1, 5).Draw(t, "rules") {
			f := genFilter(words...).Draw(t, "topic")
			if strings.HasPrefix(f, "$SYS") && rapid.Bool().Draw(t, "eq") {
				f = "eq:" + f
			}
			s := rule(rapid.Bool().Draw(t, "allow"), f)
			s.Publish = false
			if rapid.IntRange(0, 3).Draw(t, "for bob") == 0 {
				s.Users = []string{"b"}
			}
			specs = append(specs, s)
		}
		p := compile(t, specs...)
		by := who("b", rapid.SampledFrom([]string{"a", "+", "b/c"}).Draw(t, "client"))
		filter := genFilter("a", "b", "+", "$SYS").Draw(t, "filter")
		name := genName().Draw(t, "name")
		d := p.DecideSubscribe(by, filter, 0)
		if !d.Allow || d.Check || !topic.Match(filter, []byte(name)) {
			return
		}
		if got := p.DecideDelivery(by, []byte(name)); !got.Allow {
			t.Fatalf("%q was granted without checks by %s, and %q is denied by %s", filter, d.Rule.Text, name, got.Rule.Text)
		}
	})
}

func TestRulesThatAreRefused(t *testing.T) {
	yes := true
	with := func(change func(*RuleSpec)) RuleSpec {
		s := allow("a")
		change(&s)
		return s
	}
	for says, s := range map[string]RuleSpec{
		"publish, subscribe or all":     with(func(s *RuleSpec) { s.Publish, s.Subscribe = false, false }),
		`write the topic filters`:       with(func(s *RuleSpec) { s.Topics = nil }),
		"about publishing only":         with(func(s *RuleSpec) { s.Retain = &yes }),
		"matches nobody":                with(func(s *RuleSpec) { s.Users = []string{"a", ""} }),
		"an empty client id":            with(func(s *RuleSpec) { s.Clients = []string{""} }),
		"is not a QoS":                  with(func(s *RuleSpec) { s.QoS = []mqtt.QoS{3} }),
		"write 10.0.0.0/8, or /32":      with(func(s *RuleSpec) { s.Addresses = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")} }),
		"is not a network":              with(func(s *RuleSpec) { s.Addresses = []netip.Prefix{{}} }),
		"mixes IPv4 and IPv6":           with(func(s *RuleSpec) { s.Addresses = []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/90")} }),
		"1001 entries; at most 1000":    with(func(s *RuleSpec) { s.Users = make([]string, 1001) }),
		`"a/#/b" is not a topic filter`: with(func(s *RuleSpec) { s.Topics[0].Filter = "a/#/b" }),
		"there are ${username}, ${cl":   with(func(s *RuleSpec) { s.Topics[0].Filter = "${secret}" }),
	} {
		_, err := Compile([]RuleSpec{allow("x"), s})
		re, ok := err.(*RuleError)
		if !ok || re.Rule != 1 || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "rule 2: ") {
			t.Errorf("%v, want an error of rule 2 with %q", err, says)
		}
	}
	if _, err := Compile(make([]RuleSpec, RulesMax+1)); err == nil || !strings.Contains(err.Error(), "at most 10000") {
		t.Error("too many rules:", err)
	}
}

func TestTheTextOfARuleStaysShort(t *testing.T) {
	s := deny("eq:#", "a/${username}")
	for range 100 {
		s.Users = append(s.Users, "u")
	}
	no := false
	s.Retain, s.Subscribe, s.QoS = &no, false, []mqtt.QoS{1, 2}
	s.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	s.Line, s.ID = 12, "no"
	r := compile(t, s).Rules()[0]
	want := `deny: publish, users: ["u", "u", "u", "u", and 96 more], addresses: [10.0.0.0/8], topics: [{eq: "#"}, "a/${username}"], qos: [1, 2], retain: false`
	if r.Text != want || r.Where() != "rules.yaml:12" || r.ID != "no" || r.Allows() || r.Filters()[1] != "a/${username}" {
		t.Errorf("%s %s\n%s\nwant\n%s", r.Where(), r.ID, r.Text, want)
	}
}
