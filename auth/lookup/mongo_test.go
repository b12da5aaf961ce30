package lookup

import (
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// Whatever a client chooses stays an argument; the text is the operator's for everybody.
func TestFiltersOfMongoDB(t *testing.T) {
	q, err := Mongo(`mqtt.users?password_hash:pwd.hash, salt?{"$and": [{"username": {"$eq": "${username}"}}, {"dev": "d-${clientid}<"}, {"n": 1.50, "gone": null, "on": true, "what?": "\u0041"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", `{"$ne":""}`, `"}`, "$username", "a\x00", `{"$arg":1}`} {
		got := q.Question(&template.Values{Username: name, ClientID: "c"})
		if got.Text != `mqtt.users?password_hash:pwd.hash, salt??{"$and":[{"username":{"$eq":{"$arg":0}}},{"dev":{"$arg":1}},{"n":1.50,"gone":null,"on":true,"what?":"A"}]}` || !slices.Equal(got.Args, []string{name, "d-c<"}) {
			t.Errorf("%q: %+v", name, got)
		}
	}
	if !q.Uses(template.ClientID) || q.Uses(template.PeerHost) || !Identifies(q) {
		t.Error("what it asks for")
	}
	if q, err = Mongo(`u??{"username": "${username}"}`); err != nil || q.Question(&template.Values{}).Text != `u?password_hash,salt,is_superuser??{"username":{"$arg":0}}` {
		t.Error(q, err)
	}
	if q, err = MongoRules(`acl??{"username": "${username}", "dev.id": "${clientid}", "$or": [{"on": true}]}`); err != nil || !strings.HasPrefix(q.Question(&template.Values{}).Text, `acl?*,-_id,-username,-dev,-on?_id?{`) {
		t.Error(q, err)
	}
	if q, err = MongoRules(`acl?permission,action:verb,topic:t,qos?{"username": "${username}"}`); err != nil || !strings.HasPrefix(q.Question(&template.Values{}).Text, `acl?permission:permission,action:verb,topic+:t,qos+:qos?_id?{`) {
		t.Error(q, err)
	}
	for text, want := range map[string]string{
		"mqtt_user":                                                            "three parts",
		`system.$cmd?a?{"u": "${username}"}`:                                   "name of a collection",
		`u?a b?{"u": "${username}"}`:                                           "which is none",
		`u?$where?{"u": "${username}"}`:                                        "which is none",
		`u?-a?{"u": "${username}"}`:                                            "which is none",
		`u?a?["${username}"]`:                                                  "no object in JSON",
		`u?a?{"u": "${username}"`:                                              "no object in JSON",
		`u?a?{"u": "${username}"}{}`:                                           "no object in JSON",
		`u?a?{"${username}": 1}`:                                               "name of a field",
		`u?a?{"u": {"$regex": "^${username}$"}}`:                               "none of the operators",
		`u?a?{"$where": "this.u == '${username}'"}`:                            "none of the operators",
		`u?a?{"$expr": {"$eq": ["$u", "${username}"]}}`:                        "none of the operators",
		`u?a?{"u": {"$arg": 0}}`:                                               "none of the operators",
		`u?a?{"u": "${username}", "u": {"$ne": ""}}`:                           "twice",
		`u?a?{"u": "${username}", "p": "${password}"}`:                         "compared here",
		`u?a?{"u": "${user}"}`:                                                 "no placeholder",
		`u?a?{"u": ` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`: "nested too deep",
		`u?a?` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat(`}`, 20):   "nested too deep",
	} {
		if _, err := Mongo(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// What a filter looks at is left out of a rule where that cannot make it wider: no field that
// says what the rule is about, and none of a document within.
func TestWhatAFilterTakesFromARule(t *testing.T) {
	for filter, want := range map[string]string{
		`{"username": "${username}", "site.name": "x", "username ": 1}`:                                                "-username,-site,-username ",
		`{"u": 1, "permission": "allow", "action": "all", "topic": "a", "topics": "a"}`:                                "-u",
		`{"u": 1, "qos": {"$in": [0, 1]}, "retain": {"$ne": true}, "ipaddr": {"$exists": true}}`:                       "-u",
		`{"u": 1, "qos.max": 1, "$or": [{"qos": 0}, {"$and": [{"on": true, "retain": false}]}], "$nor": [{"off": 1}]}`: "-u,-on,-off",
		`{"u": {"$elemMatch": {"clientid_re": "x"}}, "m": {"peer": {"a": 1}}, "l": [{"k": 1}]}`:                        "-u,-m,-l",
		`{"u": {"$not": {"not_re": 1}}, "v": {"$and": [{"inner_re": 1}]}, "$not": {"w": 1}}`:                           "-u,-v",
	} {
		q, err := MongoRules("acl??" + filter)
		if err != nil {
			t.Fatal(err)
		}
		if text := q.Question(&template.Values{}).Text; !strings.HasPrefix(text, "acl?*,-_id,"+want+"?_id?{") {
			t.Errorf("%s: %s", filter, text)
		}
	}
}

// Each document is a rule, with one topic or several.
func TestRulesOfDocuments(t *testing.T) {
	q, err := MongoRules(`acl??{"username": "${username}"}`)
	if err != nil {
		t.Fatal(err)
	}
	b := &table{rows: []backend.Row{
		fields("permission", "allow", "action", "publish", "topics", "a", "topics", "b", "qos", "0", "qos", "1"),
		fields("permission", "deny", "action", "all", "topic", "c", "retain", "NULL"),
	}}
	s := NewSource(SourceOptions{Name: "db", Backend: b, Query: q}, clock.NewManual(noon))
	own, err := load(s, ann)
	if want := `allow: publish, topics: ["a"], qos: [0, 1]; allow: publish, topics: ["b"], qos: [0, 1]; deny: all, topics: ["c"]`; err != nil || texts(own) != want {
		t.Error(texts(own), err)
	}
	b.rows = append(b.rows, fields("permission", "deny", "action", "all"))
	if own, err := load(s, ann); err == nil || !strings.Contains(err.Error(), "document 3 has a rule without topic") {
		t.Error(own, err)
	}
}
