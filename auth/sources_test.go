package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// says is a condition that was evaluated already.
type says struct {
	holds bool
	err   error
}

func (s says) Holds(*Principal) (bool, error) { return s.holds, s.err }
func (s says) String() string                 { return fmt.Sprint(s.holds, s.err) }

func only(b bool, publish, subscribe bool, filters ...string) RuleSpec {
	r := rule(b, filters...)
	r.File = ""
	r.Publish, r.Subscribe = publish, subscribe
	return r
}

func ownOf(t interface{ Fatal(...any) }, source string, specs ...RuleSpec) Own {
	own, err := CompileOwn(source, specs)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func bookOf(t interface{ Fatal(...any) }, lists map[Subject][]RuleSpec) *Book {
	b, err := Fill(func(add func(Subject, []RuleSpec) error) error {
		for who, specs := range lists {
			if err := add(who, specs); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheFirstSourceWithAnAnswerDecides(t *testing.T) {
	file := compile(t, deny("x/file"), allow("y/file"))
	book := bookOf(t, map[Subject][]RuleSpec{
		ClientNamed("c1"):  {only(false, true, true, "x/client")},
		UserNamed("alice"): {only(true, true, true, "x/client", "x/user", "x/file")},
		Everybody():        {only(false, true, true, "x/user"), only(true, true, true, "x/all"), only(false, true, true, "x/late")},
	})
	by := who("alice", "c1")
	by.Claims = &Claims{Rules: []Own{
		ownOf(t, SourceClaims, only(true, true, false, "x/claim"), only(true, true, true, "x/late", "x/file", "x/client")),
		ownOf(t, "db", only(false, true, true, "x/claim"), only(true, true, true, "x/db")),
	}}
	all := []Source{{Name: SourceRules, Rules: file}, {Name: SourceBuiltin, Book: book}, {Name: SourceClaims}, {Name: "db"}}
	pick := func(order ...int) (out []Source) {
		for _, i := range order {
			out = append(out, all[i])
		}
		return out
	}
	for _, c := range []struct {
		order []Source
		name  string
		want  string
	}{
		{all, "x/file", "deny rules_file rule 1"},
		{pick(1, 0), "x/file", `allow builtin user "alice", rule 1`},
		{all, "y/file", "allow rules_file rule 2"},
		{all, "x/client", `deny builtin client "c1", rule 1`},
		{all, "x/user", `allow builtin user "alice", rule 1`},
		{all, "x/all", "allow builtin everybody, rule 2"},
		{all, "x/late", "deny builtin everybody, rule 3"},
		{pick(0, 2, 1), "x/late", "allow claims rule 2"},
		{all, "x/claim", "allow claims rule 1"},
		{pick(3, 2), "x/claim", "deny db rule 1"},
		{pick(0, 1), "x/claim", "deny  default"}, // what is not in the order is not asked
		{all, "x/db", "allow db rule 2"},
		{all, "x/nothing", "deny  default"},
		{pick(), "x/all", "deny  default"},
	} {
		d := Compose(c.order...).Decide(by, Access{Action: Publish, Topic: []byte(c.name)})
		if got := fmt.Sprint(map[bool]string{true: "allow ", false: "deny "}[d.Allow], d.Rule.Source, " ", d.Rule.ID); got != c.want || d.Unsure {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if maySubscribe(Compose(all...), by, "x/claim") {
		t.Error("a rule about publishing let somebody subscribe")
	}
}

func TestASourceThatHasNotAnsweredDenies(t *testing.T) {
	last := compile(t, allow("#"))
	for what, c := range map[string]*Claims{"nothing known": nil, "another source": {Rules: []Own{{Source: "other"}}}} {
		by := who("alice", "c1")
		by.Claims = c
		p := Compose(Source{Name: SourceRules, Rules: compile(t, allow("first"))}, Source{Name: "db"}, Source{Name: "last", Rules: last})
		for name, want := range map[string]bool{"first": true, "second": false} {
			if d := p.Decide(by, Access{Topic: []byte(name)}); d.Allow != want || d.Unsure || !want && d.Rule.ID != "unasked" {
				t.Errorf("%s: %s: %v by %s", what, name, d.Allow, d.Rule.ID)
			}
		}
		if !mayPublish(Compose(Source{Name: SourceClaims}, Source{Name: "last", Rules: last}), by, "second") {
			t.Errorf("%s: a client without claims is denied for want of them", what)
		}
	}
	by := who("alice", "c1")
	by.Claims = &Claims{Rules: []Own{{Source: "db"}}} // it has answered: nothing
	if !mayPublish(Compose(Source{Name: "db"}, Source{Name: "last", Rules: last}), by, "second") {
		t.Error("a source that knows no rule for a client is passed over")
	}
}

func TestASuperuserReachesNoClosedNamespace(t *testing.T) {
	p := Compose(Source{Name: SourceRules, Rules: compile(t, only(true, false, true, "$SYS/open"), deny("#"))})
	by := who("root", "c")
	by.Claims = &Claims{Superuser: true}
	for name, want := range map[string]bool{"a": true, "devices/bob/x": true, "$SYS/broker": false, "$SYS/open": false, "$aws/x": false, "$": false} {
		if got := mayPublish(p, by, name); got != want {
			t.Errorf("publish %s: %v", name, got)
		}
	}
	for filter, want := range map[string]bool{"#": true, "+/#": true, "$share/g/#": true, "$SYS/#": false, "$SYS/open": true, "$share/g/$SYS/#": false, "$events/#": false} {
		if d := p.DecideSubscribe(by, filter, 0); d.Allow != want {
			t.Errorf("subscribe %s: %v by %s", filter, d.Allow, d.Rule.ID)
		}
	}
	if p.DecideDelivery(by, []byte("$SYS/broker")).Allow || !p.DecideDelivery(by, []byte("a")).Allow {
		t.Error("delivery")
	}
	by.Claims = &Claims{}
	if mayPublish(p, by, "a") {
		t.Error("who is no superuser is one")
	}
}

func TestPlaceholdersOfClaims(t *testing.T) {
	p := compile(t,
		deny("closed/${client_attrs.room}"),
		allow("host/${peerhost}/#", "cert/x-${cert_common_name}-y/#", "attr/${client_attrs.site}/#"))
	free := compile(t, allow("host/${peerhost}/#", "cert/x-${cert_common_name}-y/#", "attr/${client_attrs.site}/#"))
	by := &Principal{Username: "u", ClientID: "c", Addr: netip.MustParseAddr("::ffff:192.0.2.1"),
		Claims: &Claims{CommonName: "pump", Attrs: map[string]string{"site": "north", "room": "7"}}}
	for name, want := range map[string]bool{
		"host/192.0.2.1/x": true, "host/192.0.2.10/x": false, "host/192.0.2/x": false, "host/::ffff:192.0.2.1/x": false,
		"cert/x-pump-y": true, "cert/x--y": false, "cert/x-pumps-y": false, "attr/north/a/b": true, "attr/south": false, "attr/${client_attrs.site}/x": false,
		"closed/7": false,
	} {
		if got := mayPublish(p, by, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, evil := range []string{"", "+", "#", "a/b", "$x", "a+", "/", "a\x00b"} {
		c := *by
		c.Addr, c.Claims = netip.Addr{}, &Claims{CommonName: evil, Attrs: map[string]string{"site": evil, "room": "7"}}
		for _, name := range []string{"host//x", "host/invalid IP/x", "cert/x-" + evil + "-y/z", "cert/x--y/z", "attr/" + evil + "/x", "attr/north/x", "attr//x"} {
			if mayPublish(free, &c, name) || maySubscribe(free, &c, name) {
				t.Errorf("%q: %s", evil, name)
			}
		}
		c.Claims.Attrs["room"] = evil
		if d := p.Decide(&c, Access{Topic: []byte("attr/north/x")}); d.Allow || d.Rule.ID != "rule 1" {
			t.Errorf("%q: what a deny rule protects cannot be told, and %s decided", evil, d.Rule.ID)
		}
	}
	for _, bad := range []string{"${client_attrs.}", "${client_attrs.a.b}", "${client_attrs.ä}", "${peerport}", "${client_attrs." + strings.Repeat("a", 65) + "}", "${password}"} {
		if _, err := Compile([]RuleSpec{allow(bad)}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestConditionsFailClosed(t *testing.T) {
	fail := errors.New("not known")
	for what, c := range map[string]struct {
		when      says
		allow     bool // whether an allow rule with it allows
		denyFires bool
	}{
		"holds":        {says{true, nil}, true, true},
		"does not":     {says{false, nil}, false, false},
		"fails":        {says{false, fail}, false, true},
		"fails, a yes": {says{true, fail}, false, true},
	} {
		a, d := allow("t"), deny("t")
		a.When, d.When = c.when, c.when
		by := who("u", "c")
		allowed, denied := compile(t, a), compile(t, d, allow("#"))
		if mayPublish(allowed, by, "t") != c.allow || maySubscribe(allowed, by, "t") != c.allow || allowed.DecideDelivery(by, []byte("t")).Allow != c.allow {
			t.Errorf("%s: allow rule", what)
		}
		if mayPublish(denied, by, "t") == c.denyFires || maySubscribe(denied, by, "t") == c.denyFires || denied.DecideDelivery(by, []byte("t")).Allow == c.denyFires {
			t.Errorf("%s: deny rule", what)
		}
		if denied.DecideSubscribe(by, "+", 0).Check != c.denyFires {
			t.Errorf("%s: the part of a subscription that it denies", what)
		}
		if !mayPublish(denied, by, "other") {
			t.Errorf("%s: it denies what it is not about", what)
		}
	}
}

func TestQualifiersOfClaimsAndListeners(t *testing.T) {
	r := allow("t")
	r.Listeners, r.CommonNames = []string{"mqtts"}, []string{"pump", "valve"}
	m := allow("m")
	m.UsersMatch, m.Users, m.ClientsMatch = []string{"dev-[0-9]+", "x|y"}, []string{"alice"}, []string{"c.*"}
	p := compile(t, r, m)
	for _, c := range []struct {
		listener, name string
		want           bool
	}{{"mqtts", "pump", true}, {"mqtts", "valve", true}, {"mqtts", "", false}, {"mqtts", "other", false}, {"mqtt", "pump", false}, {"", "pump", false}} {
		by := who("u", "c")
		by.Listener, by.Claims = c.listener, &Claims{CommonName: c.name}
		if mayPublish(p, by, "t") != c.want {
			t.Errorf("%+v", c)
		}
	}
	for user, want := range map[string]bool{"dev-1": true, "dev-12": true, "alice": true, "x": true, "y": true, "dev-": false, "dev-1x": false, "xdev-1": false, "xy": false, "dev-1\n": false, "": false, "bob": false} {
		if got := mayPublish(p, who(user, "c1"), "m"); got != want {
			t.Errorf("%q: %v", user, got)
		}
	}
	if mayPublish(p, who("alice", "d"), "m") || mayPublish(p, who("alice", ""), "m") {
		t.Error("the client id does not match")
	}
	for _, bad := range []string{"", "(", ")(", ")|(", `\Q`, strings.Repeat("a", PatternBytesMax+1), "a{2000}", `(?P<x>`} {
		s := allow("t")
		s.UsersMatch = []string{bad}
		if _, err := Compile([]RuleSpec{s}); err == nil && bad != `\Q` {
			t.Errorf("%q was taken", bad)
		}
	}
}

// What is not known of a client that has not come back is not held against what it has.
func TestUnprovenIsUnsureAndNothingElse(t *testing.T) {
	by := who("u", "c")
	by.Claims, by.Method = Unproven, "builtin"
	named := allow("n")
	named.CommonNames = []string{"pump"}
	cond := deny("w")
	cond.When = says{false, nil}
	p := Compose(Source{Name: SourceRules, Rules: compile(t, deny("secret/#"), allow("a/#"), named, cond, deny("w"), allow("p/${cert_common_name}"), deny("q/x"), allow("q/#"))})
	for name, want := range map[string]string{
		"secret/x": "no", "a/b": "yes", "n": "perhaps", "w": "perhaps", "p/x": "perhaps", "z": "no", "q/x": "no", "q/y": "yes",
	} {
		d := p.DecideDelivery(by, []byte(name))
		got := map[bool]string{true: "yes", false: "no"}[d.Allow]
		if d.Unsure {
			got = "perhaps"
		}
		if got != want || d.Perhaps() != (want != "no") {
			t.Errorf("%s: %s (%+v), want %s", name, got, d, want)
		}
	}
	claims := Compose(Source{Name: SourceRules, Rules: compile(t, deny("secret/#"))}, Source{Name: SourceClaims}, Source{Name: "db"})
	if d := claims.DecideSubscribe(by, "secret/x", 0); d.Perhaps() {
		t.Error("a rule before the claims denies, whatever they are")
	}
	if d := claims.DecideSubscribe(by, "a", 0); d.Allow || !d.Unsure {
		t.Errorf("%+v", d)
	}
	by.Method = "tokens"
	if d := claims.DecideSubscribe(by, "secret/x", 0); d.Allow || !d.Unsure {
		t.Errorf("who could be a superuser: %+v", d)
	}
	if d := claims.Decide(by, Access{Topic: []byte("secret/x")}); d.Perhaps() {
		t.Error("what a superuser left is published though a rule denies it")
	}
	by.Claims = nil
	if d := claims.DecideSubscribe(by, "a", 0); d.Perhaps() {
		t.Error("who has proved that there is nothing is doubted")
	}
}

// A user of this broker has no rules that came with authentication, so a place for them in
// the order is no doubt about what rules behind it deny: a will or a delayed message of before a
// restart is not published in spite of them.
func TestNobodyIsDoubtedForClaimsThatNobodyBrings(t *testing.T) {
	p := Compose(Source{Name: SourceClaims}, Source{Name: SourceRules, Rules: compile(t, deny("secret/#"), allow("a/#"))})
	by := who("u", "c")
	by.Claims = Unproven
	for method, want := range map[string]bool{"builtin": false, "x509": false, "tokens": true} {
		by.Method = method
		for _, name := range []string{"secret/x", "z"} {
			if d := p.Decide(by, Access{Topic: []byte(name)}); d.Perhaps() != want {
				t.Errorf("%s: publish %s: %+v", method, name, d)
			}
			if d := p.DecideDelivery(by, []byte(name)); d.Perhaps() != want {
				t.Errorf("%s: deliver %s: %+v", method, name, d)
			}
		}
		if d := p.Decide(by, Access{Topic: []byte("a/b")}); !d.Allow {
			t.Errorf("%s: %+v", method, d)
		}
	}
}

func TestBookIsChangedInPlace(t *testing.T) {
	a := NewAuthorizer(Compose(Source{Name: SourceRules, Rules: compile(t, deny("secret"))}, Source{Name: SourceBuiltin}))
	if err := a.Grant("tmp", "t/#"); err != nil {
		t.Fatal(err)
	}
	var b *Book
	set := func(who Subject, specs ...RuleSpec) {
		t.Helper()
		next, err := b.With(who, specs)
		if err != nil {
			t.Fatal(err)
		}
		b = next
		a.SetBook(b)
	}
	epoch := a.Policy().Epoch()
	set(UserNamed("alice"), only(true, true, true, "x", "secret"))
	old := b
	set(ClientNamed("c1"), only(false, true, true, "x"))
	if a.Policy().Epoch() != epoch+2 || b.Len() != 2 || old.Len() != 1 {
		t.Errorf("epoch %d, %d and %d rules", a.Policy().Epoch(), b.Len(), old.Len())
	}
	p := a.Policy()
	if mayPublish(p, who("alice", "c1"), "x") || !mayPublish(p, who("alice", "c2"), "x") || mayPublish(p, who("bob", "c2"), "x") || mayPublish(p, who("alice", "c2"), "secret") {
		t.Error("verdicts")
	}
	if !mayPublish(p, who("tmp", "c"), "t/1") {
		t.Error("a change of built-in rules took a temporary grant")
	}
	a.Revoke("tmp")
	if mayPublish(a.Policy(), who("tmp", "c"), "t/1") {
		t.Error("the grant is still there")
	}
	set(Everybody(), only(true, true, true, "y"))
	if r := a.Policy().Rules(); len(r) != 3 || r[1].ID != "everybody, rule 1" || r[1].Where() != SourceBuiltin {
		t.Errorf("%v", r)
	}
	set(ClientNamed("c1"))
	set(Everybody())
	if !mayPublish(a.Policy(), who("alice", "c1"), "x") || b.Len() != 1 {
		t.Error("what was removed is there")
	}
	if got := fmt.Sprint(a.Policy().Sources()); got != "[rules_file builtin]" {
		t.Error(got)
	}
	if _, err := b.With(UserNamed("u"), make([]RuleSpec, SubjectRulesMax+1)); err == nil {
		t.Error("more than one subject may have")
	}
}

// A wildcard reaches rules that the index has under more levels than the filter has (A109).
func TestADenyDeepInsideAWildcardIsFound(t *testing.T) {
	p := compile(t, deny("a/b/c/d"), deny("x/y"), allow("#"))
	by := who("u", "c")
	for filter, check := range map[string]bool{
		"#": true, "+/#": true, "a/#": true, "a/b/#": true, "a/b/c/#": true, "a/+/c/d": true, "+/b/c/d": true, "+/+": true, "$share/g/a/#": true,
		"b/#": false, "a/b/c/e": false, "a/b/c": false, "a/b/+": false, "+": false,
	} {
		if d := p.DecideSubscribe(by, filter, 0); !d.Allow || d.Check != check {
			t.Errorf("%s: %+v, want a check: %v", filter, d, check)
		}
	}
	for _, filter := range []string{"a/b/c/d", "x/y", "$share/g/x/y"} {
		if p.DecideSubscribe(by, filter, 0).Allow {
			t.Errorf("%s is allowed", filter)
		}
	}
}

// The index and the sources are a way to the rules and not another meaning of them: a list
// of all rules, asked one after the other, says the same.
func TestIndexIsTheListOfRules(t *testing.T) {
	levels := []string{"a", "b", "c", "", "+", "${username}", "${client_attrs.x}", "$SYS", "é"}
	rapid.Check(t, func(t *rapid.T) {
		text := func(kinds []string, hash bool) string {
			var out []string
			for range rapid.IntRange(1, 5).Draw(t, "depth") {
				out = append(out, rapid.SampledFrom(kinds).Draw(t, "level"))
			}
			if hash && rapid.Bool().Draw(t, "hash") {
				out = append(out, "#")
			}
			return strings.Join(out, "/")
		}
		specs := func(most int) (out []RuleSpec) {
			for range rapid.IntRange(0, most).Draw(t, "rules") {
				s := RuleSpec{Allow: rapid.Bool().Draw(t, "allow"), Publish: true, Subscribe: rapid.Bool().Draw(t, "both")}
				for range rapid.IntRange(1, 3).Draw(t, "topics") {
					s.Topics = append(s.Topics, TopicSpec{text(levels, true), rapid.IntRange(0, 9).Draw(t, "eq") == 0})
				}
				switch rapid.IntRange(0, 5).Draw(t, "who") {
				case 0:
					s.Users = []string{"u", rapid.SampledFrom([]string{"v", "w"}).Draw(t, "user")}
				case 1:
					s.Clients = []string{rapid.SampledFrom([]string{"k", "l"}).Draw(t, "client")}
				case 2:
					s.UsersMatch, s.Users = []string{"[uv]"}, []string{"w"}
				case 3:
					s.When = says{rapid.Bool().Draw(t, "holds"), nil}
				}
				if _, err := Compile([]RuleSpec{s}); err == nil { // some of $SYS may not be granted
					out = append(out, s)
				}
			}
			return out
		}
		user := rapid.SampledFrom([]string{"u", "v", "w", ""}).Draw(t, "by")
		client := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "id")
		by := &Principal{Username: user, ClientID: client}
		file, mine, claims := specs(12), map[Subject][]RuleSpec{}, specs(4)
		for _, s := range []Subject{ClientNamed("k"), ClientNamed("l"), UserNamed("u"), UserNamed("v"), Everybody()} {
			mine[s] = specs(6)
		}
		if rapid.Bool().Draw(t, "attrs") {
			by.Claims = &Claims{Attrs: map[string]string{"x": "a"}, Rules: []Own{ownOf(t, SourceClaims, claims...)}}
		} else {
			claims = nil
		}
		indexed := Compose(Source{Name: SourceRules, Rules: compile(t, file...)}, Source{Name: SourceClaims}, Source{Name: SourceBuiltin, Book: bookOf(t, mine)})
		list := append(append([]RuleSpec{}, file...), claims...)
		list = append(list, mine[ClientNamed(client)]...)
		if user != "" {
			list = append(list, mine[UserNamed(user)]...)
		}
		list = append(list, mine[Everybody()]...)
		plain := &Policy{parts: []part{{set: listed(t, list)}}}
		effective := map[*Rule]Effect{}
		indexed.Effective(by, func(st Standing) bool { effective[st.Rule] = st.Effect; return true })
		same := func(what string, got, want Decision) {
			if e, there := effective[got.Rule]; !there || e == NeverMatches || e == NotSure {
				t.Errorf("%s by %q, %q: %s decides, of which the operator is told: %v (listed: %v)", what, user, client, got.Rule.Text, e, there)
			}
			if got.Allow != want.Allow || got.Check != want.Check || got.Rule.Text != want.Rule.Text || got.Unsure || want.Unsure {
				t.Errorf("%s by %q, %q: %+v (%s), the list says %+v (%s)", what, user, client, got, got.Rule.Text, want, want.Rule.Text)
			}
		}
		for range 8 {
			name := text([]string{"a", "b", "c", "", "u", "$SYS", "é"}, false)
			if name != "" {
				a := Access{Action: Publish, Topic: []byte(name), QoS: mqtt.QoS(0)}
				same("publish "+name, indexed.Decide(by, a), plain.Decide(by, a))
				same("receive "+name, indexed.DecideDelivery(by, []byte(name)), plain.DecideDelivery(by, []byte(name)))
			}
			filter := text([]string{"a", "b", "", "+", "u", "$SYS"}, true)
			if topic.ValidFilter(filter) == nil {
				same("subscribe "+filter, indexed.DecideSubscribe(by, filter, 0), plain.DecideSubscribe(by, filter, 0))
				same("subscribe shared "+filter, indexed.DecideSubscribe(by, "$share/g/"+filter, 0), plain.DecideSubscribe(by, "$share/g/"+filter, 0))
			}
		}
	})
}

// listed is rules without an index: each is asked whatever the access.
func listed(t interface{ Fatal(...any) }, specs []RuleSpec) *ruleSet {
	s := &ruleSet{rules: make([]Rule, len(specs))}
	for i := range specs {
		if err := compileRule(&s.rules[i], &specs[i], i); err != nil {
			t.Fatal(err)
		}
		for a, about := range []bool{specs[i].Publish, specs[i].Subscribe} {
			if about {
				s.index[a].open = append(s.index[a].open, int32(i))
			}
		}
	}
	return s
}
