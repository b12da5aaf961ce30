package importer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/mqtt"
)

// asked is one decision: who/client@address verb topic [qN] [retain] = allow|deny.
func asked(t *testing.T, p *auth.Policy, line string) {
	t.Helper()
	f := strings.Fields(line)
	who, client, _ := strings.Cut(f[0], "/")
	client, address, _ := strings.Cut(client, "@")
	who, address = strings.ReplaceAll(who, "~", "/"), strings.TrimSpace(address)
	q := rules.Query{By: auth.Principal{Username: who, Identity: who, ClientID: client}, Verb: rules.Verb(f[1]), Topic: f[2]}
	if address != "" {
		q.By.Addr = netip.MustParseAddr(address)
	}
	for _, w := range f[3 : len(f)-2] {
		if w == "retain" {
			q.Retain = true
		} else {
			q.QoS = mqtt.QoS(w[1] - '0')
		}
	}
	if e := rules.Explain(p, q); e.Allow != (f[len(f)-1] == "allow") {
		t.Errorf("%s, but it is %s", line, e)
	}
}

type imported func(name string, data []byte) (*Result, error)

func decides(t *testing.T, from imported, file string, lines ...string) *Result {
	t.Helper()
	r, err := from("file", []byte(file))
	if err != nil {
		t.Fatalf("%v\nof:\n%s", err, file)
	}
	for _, l := range lines {
		asked(t, r.Policy, l)
	}
	if t.Failed() {
		t.Logf("%s", r.Text)
	}
	return r
}

// refused wants a problem at each line, with these words; nothing is imported.
func refused(t *testing.T, from imported, file string, problems ...string) {
	t.Helper()
	r, err := from("file", []byte(file))
	var bad *Error
	if r != nil || !errors.As(err, &bad) {
		t.Errorf("%q: got %v, %v", file, r, err)
		return
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(problems) {
		t.Errorf("%q: got\n%v\nwant\n%s", file, err, strings.Join(problems, "\n"))
		return
	}
	for i, want := range problems {
		where, words, _ := strings.Cut(want, " ")
		if !strings.HasPrefix(got[i], "file:"+where+": ") || !strings.Contains(got[i], words) {
			t.Errorf("%q: got %s\nwant line %s", file, got[i], want)
		}
	}
}

// What Mosquitto 2.0 decides; test/aclimport_test.go asks a real one.
func TestMosquittoDecisions(t *testing.T) {
	r := decides(t, Mosquitto, "# for all\n"+`topic read public/#

user alice
topic readwrite home/alice/#
topic deny home/alice/secret
topic write in box/1
user bob smith
topic home/%u/x
topic read $SYS/#
user alice
topic readwrite $SYS/a
pattern write dev/%u/%c/up
pattern read news
pattern deny dev/%u/secret/up
`,
		"/c receive public/a = allow", "/c subscribe public/# = allow", "/c publish public/a = deny", "alice/c receive public/a = deny",
		"/c receive home/alice/a = deny",
		"alice/c publish home/alice/a = allow", "alice/c receive home/alice/a = allow",
		"alice/c publish home/alice/secret = deny", // a deny comes first, wherever it stands
		"alice/c subscribe home/alice/secret = deny", "alice/c receive home/alice/secret = deny",
		"alice/c publish in = deny",
		"bob/c publish home/%u/x = deny", "alice/c receive $SYS/a = allow", "alice/c publish $SYS/a = deny",
		"alice/c publish dev/alice/c/up = allow", "alice/c receive dev/alice/c/up = deny", "alice/d publish dev/alice/c/up = deny",
		"bob/c publish dev/alice/c/up = deny", "/c publish dev//c/up = deny", "alice/secret publish dev/alice/secret/up = deny",
		"alice/c receive news = allow", "/c receive news = allow", "a+b/c receive news = deny", "alice/c#d receive news = deny",
		"a~b/c receive news = deny", // Mosquitto allows it: a deny rule with a placeholder does not know what to protect
		"alice/c publish other = deny", "alice/c subscribe # = deny",
	)
	q := rules.Query{By: auth.Principal{Username: "bob smith", ClientID: "c"}, Verb: rules.Publish, Topic: "home/%u/x"}
	if e := rules.Explain(r.Policy, q); !e.Allow {
		t.Errorf("a user name with a space: %s", e)
	}
	q.By.Username, q.Topic = "alice", "box/1" // "write", and a topic with a space
	if e := rules.Explain(r.Policy, q); e.Allow {
		t.Errorf("half of a topic with a space: %s", e)
	}
	if q.Topic = "in box/1"; !rules.Explain(r.Policy, q).Allow {
		t.Error("a topic with a space is not there")
	}
	for _, want := range []string{"file:6: topic deny home/alice/secret", "file:12: topic readwrite $SYS/a", "less than before", "%u and %c stand for nothing"} {
		if !strings.Contains(string(r.Text), want) {
			t.Errorf("the file does not say %q:\n%s", want, r.Text)
		}
	}
	if r.Rules != 12 || len(r.Notes) != 3 {
		t.Errorf("%d rules and the notes %v:\n%s", r.Rules, r.Notes, r.Text)
	}
}

func TestMosquittoRefusals(t *testing.T) {
	for file, problems := range map[string][]string{
		"":                               {"1 no rule"},
		"topic a\nuser\ntopic b":         {"2 without a name"},
		"topic\npattern ":                {"1 no topic", "2 no topic"},
		"topic reed a/b":                 {"1 no access"},
		"topic read a/#/b":               {"1 not a topic filter"},
		"topic write $SYS/x\ntopic b":    {"1 cannot be granted"},
		"topic read $share/g/a":          {"1 cannot be granted"},
		"topic a/${username}":            {"1 plain text in Mosquitto"},
		"pattern read x-%u/a":            {"1 only text of a level"},
		"topics read a\n\n  # c\nrule x": {"1 is unknown", "3 first column", "4 is unknown"},
		"topic a\xff":                    {"1 not UTF-8"},
		"topic a/b\n" + strings.Repeat("x", BytesMax): {"1 more than"},
	} {
		refused(t, Mosquitto, file, problems...)
	}
	_, err := Mosquitto("f", []byte(strings.Repeat("x\n", 30)))
	if err == nil || !strings.HasSuffix(err.Error(), "\nand 10 more") {
		t.Errorf("many problems: %v", err)
	}
	if _, err := Mosquitto("f", []byte(strings.Repeat("topic read a\n", auth.RulesMax+1))); err == nil {
		t.Error("more rules than there may be")
	}
}

func TestEMQXDecisions(t *testing.T) {
	// The file that EMQX 5 came with.
	r := decides(t, EMQX, `%% a comment
{allow, {username, {re, "^dashboard$"}}, subscribe, ["$SYS/#"]}.
{allow, {ipaddr, "127.0.0.1"}, all, ["$SYS/#", "#"]}.
{deny, all, subscribe, ["$SYS/#", {eq, "#"}, {eq, "+/#"}]}.
{allow, all}.
`,
		"dashboard/c subscribe $SYS/# = allow", "dashboards/c subscribe $SYS/# = deny", "alice/c subscribe $SYS/# = deny",
		"alice/c@127.0.0.1 subscribe # = allow", "alice/c@127.0.0.1 publish a = allow", "alice/c@127.0.0.2 subscribe # = deny",
		"alice/c@127.0.0.1 subscribe $SYS/# = allow", "alice/c@127.0.0.1 publish $SYS/a = deny",
		"alice/c@127.0.0.2 subscribe +/# = deny", "alice/c publish a = allow", "alice/c subscribe a/# = allow",
	)
	if len(r.Notes) != 2 {
		t.Errorf("notes %v", r.Notes)
	}
	decides(t, EMQX, `
{allow, {'and', [{user, "alice"}, {'or', [{clientid, "a"}, {ipaddrs, ["10.1.2.3/8", "::1"]}]}]},
   {publish, [{qos, 1}, {qos, [2]}, {retain, false}]}, ["x/${clientid}/#", <<"eq y">>]}. % two lines
{deny, {client, {re, "^bad"}}, all, [all]}.
{allow, {'or', [{user, "bob"}, {user, "carol"}]}, {all, [{retain, true}]}, ["%u/r", "c/%c"]}.
{'allow', {username, {re, "z"}}, subscribe, all}.`,
		"alice/a publish x/a/b q1 = allow", "alice/a publish x/a/b q2 = allow", "alice/a publish x/a/b = deny", "alice/a publish x/a/b q1 retain = deny",
		"alice/b publish x/b/b q1 = deny", "alice/b@10.9.9.9 publish x/b/b q1 = allow", "alice/b@::1 publish x/b/b q1 = allow", "alice/b@::2 publish x/b/b q1 = deny",
		"bob/a publish x/a/b q1 = deny", "alice/a subscribe x/a/b q1 = deny", "alice/a publish y q1 = allow",
		"bob/c publish bob/r retain = allow", "bob/c publish bob/r = deny", "bob/c subscribe bob/r = allow", "carol/c publish c/c retain = allow", "carol/c publish bob/r retain = deny",
		"bob/bad1 publish bob/r retain = deny", "bob/notbad publish bob/r retain = allow", "oz9/c subscribe a/# = allow", "oz9/c publish a = deny", "oz9/bad subscribe $SYS/a = deny",
	)
	// The first that matches decides, and an allow before a deny stays.
	decides(t, EMQX, `{allow,all,publish,["a"]}. {deny,all,publish,["#"]}. {allow,all,publish,["b"]}.`, "u/c publish a = allow", "u/c publish b = deny")
}

func TestEMQXRefusals(t *testing.T) {
	deep := strings.Repeat("{'or',[", 20) + "all" + strings.Repeat("]}", 20)
	wide := "{'or',[" + strings.Repeat(`{user,"a"},`, 70) + `{user,"b"}]}`
	for file, problems := range map[string][]string{
		"":                          {"1 no rule"},
		"{allow, all}":              {"1 without a full stop"},
		"\n{allow, all}.\n{deny, x": {"3 comma"},
		"{allow, all}.{deny, all}.": {"1 followed by a space"},
		"#{a => b}.":                {"1 begins no term"},
		"{allow, X, all, []}.":      {"1 begins no term"},
		"{permit, all}.\n{deny, some}.\n{allow, all, publish}.":  {"1 neither allow nor deny", "2 second is not all", "3 no rule"},
		`{allow, {zone, "a"}, all, ["a"]}.`:                      {"1 by hand"},
		`{allow, {user, ""}, all, ["a"]}.`:                       {"1 a name is a string"},
		`{allow, {user, alice}, all, ["a"]}.`:                    {"1 a name is a string"},
		`{allow, {ipaddr, "10.0.0.0/33"}, all, ["a"]}.`:          {"1 neither a network"},
		`{allow, {'and', []}, all, ["a"]}.`:                      {"1 no list"},
		`{allow, {'and', [{user,"a"},{user,"b"}]}, all, ["a"]}.`: {"1 two things"},
		`{allow, all, connect, ["a"]}.`:                          {"1 action"},
		`{allow, all, {publish, [{qos, 3}]}, ["a"]}.`:            {"1 0, 1 or 2"},
		`{allow, all, {publish, [{qos, 1.5}]}, ["a"]}.`:          {"1 comma"},
		`{allow, all, {publish, [{dup, 1}]}, ["a"]}.`:            {"1 option"},
		`{allow, all, all, []}.`:                                 {"1 no list of topics"},
		`{allow, all, all, ["a/${zone}"]}.`:                      {"1 placeholder"},
		`{allow, all, all, ["a/$${username}"]}.`:                 {"1 plain text"},
		`{allow, all, all, [{eq, "a/${username}"}]}.`:            {"1 without eq"},
		`{allow, all, all, ["x%u"]}.`:                            {"1 only text"},
		`{allow, all, publish, ["$SYS/a"]}.`:                     {"1 cannot be granted"},
		`{allow, all, all, ["a#"]}.`:                             {"1 not a topic filter"},
		`{allow, all, all, ["a" "b"]}.`:                          {"1 comma"},
		`{allow, all, all, ["a""b"]}.`:                           {"1 two strings"},
		`{allow, all, all, [<<"é">>]}.`:                          {"1 utf8"},
		"{allow, all, all, [\"a\nb\"]}.":                         {"1 end of its line"},
		"{allow, " + deep + ", all, [\"a\"]}.":                   {"1 deep"},
		"{allow, " + wide + ", all, [\"a\"]}.":                   {"1 more than 64"},
		"{allow, all}. \xff":                                     {"1 UTF-8"},
	} {
		refused(t, EMQX, file, problems...)
	}
}

// An expression may not allow a name more than it did there, or deny one less.
func TestEMQXExpressions(t *testing.T) {
	for _, c := range []struct{ re, allow, deny string }{
		{`^a$`, `(?s:.*)(?:^a$)(?s:.*)`, `(?s:.*)(?:^a\n?\z)(?s:.*)`},
		{`a.*b[^/]+`, `(?s:.*)(?:a.*b[^/]+)(?s:.*)`, `(?s:.*)(?:a.*b[^/]+)(?s:.*)`},
		{`^\\d{3}`, `(?s:.*)(?:^\d{3})(?s:.*)`, `(?s:.*)(?:^\d{3})(?s:.*)`},
		{`^\\w+$`, `(?s:.*)(?:^\w+$)(?s:.*)`, "class"},
		{`a$|b$`, `(?s:.*)(?:a$|b$)(?s:.*)`, "not at its end"},
		{`^.{3}$`, "counts characters", "counts characters"},
		{`^[^a]$`, "counts characters", "counts characters"},
		{`(?i)a`, "options", "options"},
		{`(?=a)b`, "none of RE2", "none of RE2"},
		{`(a)\\1`, "none of RE2", "none of RE2"},
		{`^\d`, "backslash", "backslash"}, // DEL, in Erlang
		{`é`, "ASCII", "ASCII"},
		{`[^\\w]+`, "class", "class"},
		{`\\W+`, "class", "class"},
	} {
		for verb, want := range map[string]string{"allow": c.allow, "deny": c.deny} {
			r, err := EMQX("file", []byte(`{`+verb+`, {user, {re, "`+c.re+`"}}, all, ["a"]}.`))
			switch {
			case !strings.Contains(want, "(?s:"):
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s %s: got %v, want a refusal with %q", verb, c.re, err, want)
				}
			case err != nil:
				t.Errorf("%s %s: %v", verb, c.re, err)
			default:
				if !strings.Contains(string(r.Text), quote(want)) {
					t.Errorf("%s %s: got\n%s\nwant %s", verb, c.re, r.Text, want)
				}
			}
		}
	}
}

// Nothing that a file holds becomes anything but text of a rule or of a comment.
func TestTextsStayTexts(t *testing.T) {
	r := decides(t, Mosquitto, "user a\"]} # \\\u2028b\ntopic write c: - {d}\u0085e\u202e\n")
	q := rules.Query{By: auth.Principal{Username: "a\"]} # \\\u2028b", ClientID: "c"}, Verb: rules.Publish, Topic: "c: - {d}\u0085e\u202e"}
	if e := rules.Explain(r.Policy, q); r.Rules != 1 || !e.Allow {
		t.Errorf("%d rules, %s:\n%s", r.Rules, e, r.Text)
	}
	if r, err := Mosquitto("evil\nrules: []\nx", []byte("topic a\n")); err != nil || r.Rules != 1 {
		t.Errorf("a file name with lines: %v", err)
	}
}

func fuzz(f *testing.F, from imported, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := from("file", data)
		if err != nil {
			if r != nil {
				t.Error("a part of a file was imported")
			}
			if bad := (*Error)(nil); !errors.As(err, &bad) && len(data) < 4096 {
				t.Errorf("without a line: %v", err) // what each rule may be the loader takes together
			}
			return
		}
		if n := len(r.Policy.Rules()) - 1; n != r.Rules || n == 0 {
			t.Errorf("%d rules, %d said", n, r.Rules)
		}
	})
}

func FuzzMosquitto(f *testing.F) {
	fuzz(f, Mosquitto, "topic read a\nuser b\ntopic deny c/#\npattern write %u/%c\n", "user \x00\ntopic  a b ", "pattern deny %u")
}

func FuzzEMQX(f *testing.F) {
	fuzz(f, EMQX, `{allow, {'and', [{user, {re, "^a.*$"}}, {ipaddrs, ["::1"]}]}, {all, [{qos, 1}, {retain, true}]}, ["a/%c", {eq, "#"}]}. {deny, all}.`,
		`{allow, {'or', [{'and', [{user, <<"a"/utf8>>}]}, all]}, subscribe, all}. %`)
}
