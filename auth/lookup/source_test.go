package lookup

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// table is an Asker that answers at once.
type table struct {
	rows  []backend.Row
	err   error
	asked []backend.Question
}

func (b *table) Ask(_ netip.Addr, q backend.Question, done func([]backend.Row, error)) {
	b.asked = append(b.asked, q)
	done(b.rows, b.err)
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fields(pairs ...string) (r backend.Row) {
	for i := 0; i < len(pairs); i += 2 {
		r = append(r, backend.Field{Name: pairs[i], Value: pairs[i+1], Null: pairs[i+1] == "NULL"})
		if pairs[i+1] == "NULL" {
			r[len(r)-1].Value = ""
		}
	}
	return r
}

func sourceOf(t *testing.T, b *table, query string) (*Source, *clock.Manual) {
	t.Helper()
	q, err := SQL(query, template.Dollar)
	if strings.HasPrefix(query, "H") {
		q, err = Redis(query)
	}
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewManual(noon)
	return NewSource(SourceOptions{Name: "db", Backend: b, Query: q, Cache: backend.CacheOptions{Entries: 10, Positive: time.Minute, Negative: 5 * time.Second}}, clk), clk
}

const aclQuery = "SELECT permission, action, topic, qos, retain FROM mqtt_acl WHERE username = ${username}"

func load(s *Source, by *auth.Principal) (own auth.Own, err error) {
	s.Load(by, func(o auth.Own, e error) { own, err = o, e })
	return own, err
}

var ann = &auth.Principal{Identity: "ann", Username: "ann", ClientID: "c1"}

func TestRulesOfRows(t *testing.T) {
	b := &table{rows: []backend.Row{
		fields("permission", "allow", "action", "publish", "topic", "up/#", "qos", "0, 1", "retain", "NULL"),
		fields("permission", "Deny", "action", "all", "topic", "down/secret", "qos", "NULL", "retain", "NULL"),
		fields("permission", "allow", "action", "sub", "topic", "eq #", "qos", "", "retain", "all", "ipaddr", "192.0.2.0/24"),
		fields("permission", "allow", "action", "pub", "topic", "users/${username}/#", "retain", "f"),
	}}
	s, _ := sourceOf(t, b, aclQuery)
	own, err := load(s, ann)
	if err != nil || own.Source != "db" || len(own.Rules) != 4 {
		t.Fatal(own, err)
	}
	for i, want := range []string{
		`allow: publish, topics: ["up/#"], qos: [0, 1]`, `deny: all, topics: ["down/secret"]`,
		`allow: subscribe, addresses: [192.0.2.0/24], topics: [{eq: "#"}]`, `allow: publish, topics: ["users/${username}/#"], retain: false`,
	} {
		if r := &own.Rules[i]; r.Text != want || !strings.Contains(r.Where(), "db:") {
			t.Errorf("%s: %s", r.Where(), r.Text)
		}
	}
	if q := b.asked[0]; q.Args[0] != "ann" || q.RowsMax != auth.OwnMax {
		t.Errorf("%+v", q)
	}
}

// What is not understood refuses the client, and names column and value.
func TestRowsThatMayHaveBeenADeny(t *testing.T) {
	good := []string{"permission", "allow", "action", "publish", "topic", "a"}
	for want, row := range map[string]backend.Row{
		`column permission has "maybe"`:        fields("permission", "maybe", "action", "all", "topic", "a"),
		`column action has "read"`:             fields("permission", "allow", "action", "read", "topic", "a"),
		`column qos has "3"`:                   fields(append(good, "qos", "3")...),
		`column qos has "0,"`:                  fields(append(good, "qos", "0,")...),
		`column retain has "perhaps"`:          fields(append(good, "retain", "perhaps")...),
		`column ipaddr has "10.0.0"`:           fields(append(good, "ipaddr", "10.0.0")...),
		`column "username_re" has no meaning`:  fields(append(good, "username_re", ".*")...),
		`column "clientid" has no meaning`:     fields(append(good, "clientid", "NULL")...),
		`column topic has ""`:                  fields("permission", "allow", "action", "all", "topic", ""),
		`column topic is missing`:              fields("permission", "allow", "action", "all"),
		`two columns "topic"`:                  fields(append(good, "topic", "b")...),
		`row 2: topics: "a/#/b"`:               fields("permission", "allow", "action", "all", "topic", "a/#/b"),
		`column retain is about publishing`:    fields("permission", "allow", "action", "all", "topic", "a", "retain", "1"),
		`row 2: addresses: "10.0.0.1/8" has b`: fields(append(good, "ipaddr", "10.0.0.1/8")...),
	} {
		s, _ := sourceOf(t, &table{rows: []backend.Row{fields(good...), row}}, aclQuery)
		if own, err := load(s, ann); err == nil || !strings.Contains(err.Error(), want) || len(own.Rules) != 0 {
			t.Errorf("%v: %v, want %s", row, err, want)
		}
	}
}

func TestRulesOfAHash(t *testing.T) {
	s, _ := sourceOf(t, &table{rows: []backend.Row{fields("up/#", "publish", "down/#", "subscribe")}}, "HGETALL mqtt:acl:${username}")
	own, err := load(s, ann)
	if err != nil || len(own.Rules) != 2 || own.Rules[1].Text != `allow: subscribe, topics: ["down/#"]` {
		t.Fatal(own, err)
	}
	s, _ = sourceOf(t, &table{rows: []backend.Row{fields("up/#", `["publish"]`)}}, "HGETALL mqtt:acl:${username}")
	if _, err := load(s, ann); err == nil {
		t.Error("a value that is not understood is passed over")
	}
}

// No rows are an answer; none at all is not. A client without the name that is asked for
// has no rows; what is remembered is remembered for Load only.
func TestSourceAsks(t *testing.T) {
	b := &table{}
	s, clk := sourceOf(t, b, aclQuery)
	if own, err := load(s, ann); err != nil || own.Source != "db" || len(own.Rules) != 0 {
		t.Error(own, err)
	}
	if own, err := load(s, &auth.Principal{Identity: "c1", ClientID: "c1"}); err != nil || own.Source != "db" || len(b.asked) != 1 {
		t.Error(own, err, "a client without a user name was asked about")
	}
	b.err = backend.Failed(backend.Down, "connection refused")
	if _, err := load(s, ann); err != nil {
		t.Error("what was remembered for five seconds: ", err)
	}
	s.Reload(ann, func(_ auth.Own, err error) {
		if err == nil {
			t.Error("Reload was content with what is remembered")
		}
	})
	clk.Advance(5 * time.Second)
	if _, err := load(s, ann); backend.KindOf(err) != backend.Down {
		t.Error("after them: ", err)
	}
	b.err = backend.Failed(backend.Rejected, "a value of the client is none")
	if own, err := load(s, ann); backend.KindOf(err) != backend.Rejected || len(own.Rules) != 0 {
		t.Error("a value that the back end does not take: ", own, err)
	}
}

// A client chooses its identifier, and must not lose the rules of its user by one that the
// back end does not take.
func TestNobodyChoosesToHaveNoRules(t *testing.T) {
	b := &table{rows: []backend.Row{fields("permission", "deny", "action", "all", "topic", "secret/#")}}
	s, _ := sourceOf(t, b, "SELECT permission, action, topic FROM acl WHERE username = ${username} OR device = ${clientid}")
	if own, err := load(s, ann); err != nil || len(own.Rules) != 1 {
		t.Fatal(own, err)
	}
	b.rows, b.err = nil, backend.Failed(backend.Rejected, "a value of the client is none that the query takes (SQLSTATE 22P02)")
	if own, err := load(s, &auth.Principal{Identity: "ann", Username: "ann", ClientID: "no number"}); err == nil {
		t.Error("without the deny of its user: ", own)
	}
}

// late is an Asker whose answers come when the test says so.
type late struct {
	table
	answer []func()
}

func (b *late) Ask(from netip.Addr, q backend.Question, done func([]backend.Row, error)) {
	rows := b.rows
	b.asked = append(b.asked, q)
	b.answer = append(b.answer, func() { done(rows, nil) })
}

// An answer belongs to who it was asked for, and one from before everything was forgotten is
// not remembered after it.
func TestRulesAreRememberedForWhoAsked(t *testing.T) {
	b := &late{table: table{rows: []backend.Row{fields("permission", "allow", "action", "publish", "topic", "a")}}}
	s, _ := sourceOf(t, &b.table, aclQuery)
	s.opt.Backend = b
	ask := func(by *auth.Principal) (own *auth.Own) {
		own = &auth.Own{}
		s.Load(by, func(o auth.Own, err error) { *own = o })
		return own
	}
	own := ask(ann)
	b.answer[0]()
	if again := ask(ann); len(own.Rules) != 1 || len(again.Rules) != 1 || len(b.answer) != 1 {
		t.Fatal("what was remembered is asked again")
	}
	b.rows = nil
	bob := ask(&auth.Principal{Identity: "bob", Username: "bob"})
	if len(b.answer) != 2 {
		t.Fatal("rules of somebody else: ", bob)
	}
	b.answer[1]()
	b.rows = []backend.Row{fields("permission", "allow", "action", "publish", "topic", "old")}
	s.Forget()
	old := ask(ann)
	b.rows = nil
	s.Forget()
	b.answer[2]()
	now := ask(ann)
	if len(old.Rules) != 1 || len(b.answer) != 4 {
		t.Fatal("what was asked before everything was forgotten is remembered")
	}
	if b.answer[3](); len(now.Rules) != 0 {
		t.Error(now)
	}
}
