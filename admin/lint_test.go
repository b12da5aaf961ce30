package admin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/session"
)

// The rules in force are looked at where they are asked: the built-in ones of users and
// clients behind the file, and those of everybody last; of one client what is about it.
func TestLintRules(t *testing.T) {
	r := newRig(t, nil)
	file, err := rules.Parse("rules.yaml", []byte("version: 1\nrules:\n  - {deny: all, topics: [\"shut/#\"]}\n  - {allow: all, listeners: [gone], topics: [a]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.authz.Swap(auth.Compose(auth.Source{Name: auth.SourceRules, Rules: file}, auth.Source{Name: auth.SourceBuiltin}))
	add := func(e RulesEdit, permission, topic string) {
		t.Helper()
		e.Add = []BuiltinRule{{Permission: permission, Action: "all", Topic: topic}}
		if _, err := r.client.EditRules(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	add(RulesEdit{ClientID: "c1"}, "allow", "shut/x")
	add(RulesEdit{Username: "alice"}, "allow", "own/%u")
	add(RulesEdit{}, "allow", "+/#")
	told := func(f RuleFindings, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range f.Data {
			out = append(out, x.Severity+" "+x.Code+" "+x.Rule)
		}
		return fmt.Sprint(f.Rules, f.Errors, f.Warnings, " ", strings.Join(out, "; "))
	}
	if got := told(r.client.Lint(t.Context(), SessionRef{})); got != `5 3 1 warning unknown_listener rule 2; error shadowed client "c1", rule 1; error foreign_placeholder user "alice", rule 1; error too_broad everybody, rule 1` {
		t.Error(got)
	}
	r.fake.crowd.rows = []conn.ClientInfo{{SessionInfo: broker.SessionInfo{Key: session.Key{Identity: "bob", ClientID: "c1"}, By: auth.Principal{Identity: "bob", Username: "bob", ClientID: "c1"}}}}
	if got := told(r.client.Lint(t.Context(), SessionRef{ClientID: "c1"})); got != `3 1 1 error shadowed client "c1", rule 1; warning too_broad everybody, rule 1` {
		t.Error(got)
	}
	if _, err := r.client.Lint(t.Context(), SessionRef{ClientID: "nobody"}); status(err) != http.StatusNotFound {
		t.Error(err)
	}
}
