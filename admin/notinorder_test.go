package admin

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/acl"
)

// Built-in rules that authz.order does not name have no effect, which is said.
func TestBuiltinRulesThatNobodyAsks(t *testing.T) {
	a := auth.NewAuthorizer(nil)
	store, err := acl.Open(noRules{})
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Rules: store, Policy: a}
	room := &ruleRoom{store, o}
	a.Swap(auth.Compose(auth.Source{Name: auth.SourceClaims}))
	if s := room.rules(auth.Everybody()); !strings.Contains(s.Note, "authz.order has no builtin") {
		t.Errorf("%+v", s)
	}
	a.Swap(auth.Compose(auth.Source{Name: auth.SourceBuiltin, Book: store.Book()}))
	if s := room.rules(auth.Everybody()); s.Note != "" {
		t.Errorf("%+v", s)
	}
}

// Where a source that is read at CONNECT could decide, acl test does not say deny.
func TestCheckThatCannotKnow(t *testing.T) {
	v, err := check(auth.Compose(auth.Source{Name: auth.SourceClaims}, auth.Source{Name: "db"}), &AccessQuery{Username: "a", Action: "publish", Topic: "x"})
	if err != nil || v.Result != "unknown" || !strings.Contains(v.Note, "sources claims, db are read at CONNECT") || !strings.Contains(v.Note, "redoubt why") {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err = check(auth.Compose(auth.Source{Name: auth.SourceClaims}), &AccessQuery{Username: "a", Action: "publish", Topic: "x/#"}); err != nil || v.Result != "deny" {
		t.Errorf("what is no topic: %+v, %v", v, err)
	}
}
