package lookup

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
)

const rulesOfEntry = "ou=people,dc=test?mqttPublishTopic, mqttSubscriptionTopic,all:deviceTopic,rule:deviceRule?sub?(&(uid=${username})(l=${client_attrs.site}))"

func directorySource(t *testing.T, entries ...backend.Row) (*Source, *table) {
	t.Helper()
	q, err := LDAPRules(rulesOfEntry)
	if err != nil {
		t.Fatal(err)
	}
	b := &table{rows: entries}
	return NewSource(SourceOptions{Name: "directory", Backend: b, Query: q}, clock.NewManual(noon)), b
}

func texts(own auth.Own) string {
	var out []string
	for i := range own.Rules {
		out = append(out, own.Rules[i].Text)
	}
	return strings.Join(out, "; ")
}

// The attributes of one entry are the rules of its client, and an entry without them, or
// none, is no rules.
func TestRulesOfAnEntry(t *testing.T) {
	for want, entry := range map[string]backend.Row{
		`allow: publish, topics: ["up/#"]; allow: publish, topics: ["u/${username}"]; allow: subscribe, topics: [{eq: "#"}]; allow: all, topics: ["a"]`: fields(
			"publish", "up/#", "publish", "u/${username}", "subscribe", "eq #", "all", "a"),
		// One value keeps its order, and comes before the topics.
		`allow: all, topics: ["a/1"], qos: [0, 1]; deny: all, topics: ["a/#"]; deny: all, topics: ["b"]; allow: publish, topics: ["a/2"]`: fields(
			"publish", "a/2", "rule", `[{"permission":"allow","action":"all","topic":"a/1","qos":[0,1]},{"permission":"deny","action":"all","topics":["a/#","b"]}]`),
		// Several have none: what denies is first.
		`deny: publish, topics: ["a/#"], retain: true; deny: subscribe, topics: ["b"]; allow: publish, addresses: [192.0.2.1/32], topics: ["a/1"]`: fields(
			"rule", `{"permission":"allow","action":"pub","topic":"a/1","ipaddr":"192.0.2.1","qos":null}`, "rule", `{"permission":"deny","action":"pub","topic":"a/#","retain":true}`,
			"rule", `[{"permission":"deny","action":"sub","topic":"b"}]`),
		"": {},
	} {
		s, _ := directorySource(t, entry)
		if own, err := load(s, ann); err != nil || texts(own) != want {
			t.Errorf("%v:\n%s\n%v", entry, texts(own), err)
		}
	}
	s, b := directorySource(t)
	own, err := load(s, ann)
	if err != nil || len(own.Rules) != 0 || own.Source != "directory" {
		t.Error(own, err)
	}
	// What the client has not is an empty value, and escaped is what it chose.
	if q := b.asked[0]; q.Args[0] != "(&(uid=ann)(l=))" || q.Text != "ou=people,dc=test?publish+:mqttPublishTopic,subscribe+:mqttSubscriptionTopic,all+:deviceTopic,rule+:deviceRule?sub" {
		t.Errorf("%+v", q)
	}
	if _, _ = load(s, &auth.Principal{Username: "*)(uid=*"}); b.asked[1].Args[0] != `(&(uid=\2a\29\28uid=\2a)(l=))` {
		t.Errorf("%+v", b.asked[1])
	}
}

// What is not understood may have been a deny.
func TestEntriesThatMayHaveDenied(t *testing.T) {
	many := make([]string, 0, 2*auth.OwnMax+2)
	for range auth.OwnMax + 1 {
		many = append(many, "publish", "a")
	}
	for want, entry := range map[string]backend.Row{
		"is no JSON":                         fields("rule", `{"permission":"deny"`),
		"neither a rule nor a list":          fields("rule", `"deny"`),
		"that is no rule":                    fields("rule", `[["deny"]]`),
		`has "topic" twice`:                  fields("rule", `{"permission":"deny","topic":"a","topic":"b","action":"all"}`),
		"without topic":                      fields("rule", `{"permission":"deny","action":"all"}`),
		"an empty list":                      fields("rule", `{"permission":"deny","action":"all","topics":[]}`),
		"neither a value nor":                fields("rule", `{"permission":"deny","action":"all","topic":{"eq":"a"}}`),
		"column permission has":              fields("rule", `{"permission":"DENIED","action":"all","topic":"a"}`),
		"two columns":                        fields("rule", `{"permission":["allow","deny"],"action":"all","topic":"a"}`),
		`"username_re" has no meaning`:       fields("rule", `{"permission":"deny","action":"all","topic":"a","username_re":".*"}`),
		"column qos":                         fields("rule", `{"permission":"deny","action":"all","topic":"a","qos":[0,3]}`),
		"nothing in a list":                  fields("rule", `{"permission":"deny","action":"all","topic":"a","qos":[0,null]}`),
		"column topic has":                   fields("publish", ""),
		"topics":                             fields("publish", "a/#/b"),
		"101 rules":                          fields(many...),
		`a column "other", which has no mea`: fields("other", "a"),
	} {
		s, _ := directorySource(t, entry)
		if own, err := load(s, ann); err == nil || !strings.Contains(err.Error(), want) || len(own.Rules) != 0 {
			t.Errorf("%.60v: %v, want %s", entry, err, want)
		}
	}
	s, _ := directorySource(t, fields("publish", "a"), fields("publish", "b"))
	if own, err := load(s, ann); err == nil || !strings.Contains(err.Error(), "more than one entry") {
		t.Error(own, err)
	}
}

func TestQueriesForRulesOfADirectory(t *testing.T) {
	for text, want := range map[string]string{
		"dc=test?description?sub?(uid=${username})":          "does not say what it allows",
		"dc=test??sub?(uid=${username})":                     "does not say what it allows",
		"dc=test?publish:?sub?(uid=${username})":             "does not say what it allows",
		"dc=test?publish,all:x?sub?(uid=${username})":        "does not say what it allows",
		"dc=test?password_hash:x?sub?(uid=${username})":      "does not say what it allows",
		"dc=test?publish:a?sub?(uid=${username})(":           "parentheses",
		"dc=test?mqttAclRule?sub?(userPassword=${password})": "${password}",
	} {
		if _, err := LDAPRules(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
