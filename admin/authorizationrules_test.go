package admin

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/acl"
)

type noRules struct{}

func (noRules) Rules(func(string, []byte) error) error { return nil }
func (noRules) Write(...acl.Kept) error                { return nil }

// newRules are built-in rules that nobody keeps, in force in a.
func newRules(t *testing.T, a *auth.Authorizer) *acl.Store {
	t.Helper()
	s, err := acl.Open(noRules{})
	if err != nil {
		t.Fatal(err)
	}
	a.Swap(auth.Compose(auth.Source{Name: auth.SourceRules, Rules: a.Policy()}, auth.Source{Name: auth.SourceBuiltin, Book: s.Book()}))
	s.OnChange(a.SetBook)
	return s
}

func TestBuiltinRulesOverTheAPI(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	open := BuiltinRule{Permission: "allow", Action: "all", Topic: "hall/#"}
	shut := BuiltinRule{Permission: "deny", Action: "publish", Topic: "hall/door", QoS: []int{1}, Retain: "true"}
	got, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{open}})
	if err != nil || !reflect.DeepEqual(got, SubjectRules{Username: "zoe", Rules: []BuiltinRule{open}}) {
		t.Fatalf("%+v, %v", got, err)
	}
	may := func(user, client, topic string) string {
		t.Helper()
		v, err := r.client.Check(ctx, AccessQuery{Username: user, ClientID: client, Action: "publish", Topic: topic, QoS: 1, Retain: true})
		if err != nil {
			t.Fatal(err)
		}
		return v.Result + " by " + v.Rule.Where + ": " + v.Rule.ID
	}
	if got := may("zoe", "c", "hall/door"); got != `allow by builtin: user "zoe", rule 1` {
		t.Error(got)
	}
	if got, err = r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{shut}, First: true}); err != nil || len(got.Rules) != 2 || got.Rules[0].Topic != shut.Topic {
		t.Errorf("%+v, %v", got, err)
	}
	if got := may("zoe", "c", "hall/door"); got != `deny by builtin: user "zoe", rule 1` {
		t.Error(got)
	}
	if _, err = r.client.EditRules(ctx, &RulesEdit{ClientID: "a/b.c", Add: []BuiltinRule{open}}); err != nil {
		t.Error(err)
	}
	if got := may("zoe", "a/b.c", "hall/door"); got != `allow by builtin: client "a/b.c", rule 1` {
		t.Error(got)
	}
	if _, err = r.client.EditRules(ctx, &RulesEdit{Add: []BuiltinRule{shut, open}}); err != nil {
		t.Error(err)
	}
	if got := may("yan", "c", "hall/x"); got != "allow by builtin: everybody, rule 2" {
		t.Error(got)
	}
	var order []string
	err = r.client.EachBuiltinRules(ctx, func(s *SubjectRules) error {
		order = append(order, s.ClientID+"|"+s.Username)
		return nil
	})
	if err != nil || strings.Join(order, " ") != "a/b.c| |zoe |" {
		t.Errorf("%v, %v", order, err)
	}
	if got, err = r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Delete: 1}); err != nil || len(got.Rules) != 1 || got.Rules[0].Topic != open.Topic {
		t.Errorf("%+v, %v", got, err)
	}
	for what, c := range map[string]struct {
		edit   RulesEdit
		status int
	}{
		"no such rule":  {RulesEdit{Username: "zoe", Delete: 9}, http.StatusNotFound},
		"nothing to do": {RulesEdit{Username: "zoe"}, http.StatusUnprocessableEntity},
		"two subjects":  {RulesEdit{Username: "zoe", ClientID: "c", Add: []BuiltinRule{open}}, http.StatusUnprocessableEntity},
		"a bad filter":  {RulesEdit{Username: "zoe", Add: []BuiltinRule{{Permission: "allow", Action: "all", Topic: "a/#/b"}}}, http.StatusUnprocessableEntity},
		"a bad word":    {RulesEdit{Username: "zoe", Add: []BuiltinRule{{Permission: "allow", Action: "read", Topic: "a"}}}, http.StatusUnprocessableEntity},
	} {
		var p *Problem
		if _, err := r.client.EditRules(ctx, &c.edit); !errors.As(err, &p) || p.Status != c.status {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, path := range []string{"/users", "/clients"} {
		name := map[string]string{"/users": "username", "/clients": "clientid"}[path]
		body := []map[string]any{{name: "many", "rules": []BuiltinRule{open, shut}}}
		if _, err := call[struct{}](ctx, r.client, http.MethodPost, builtinRulesPath+path, body); err != nil {
			t.Error(err)
		}
		if _, err := call[struct{}](ctx, r.client, http.MethodPut, builtinRulesPath+path+"/many", SubjectRules{Rules: []BuiltinRule{shut}}); err != nil {
			t.Error(err)
		}
		if got, err := call[SubjectRules](ctx, r.client, http.MethodGet, builtinRulesPath+path+"/many", nil); err != nil || len(got.Rules) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, s := range [][2]string{{"many", ""}, {"", "many"}, {"zoe", ""}, {"", "a/b.c"}, {"", ""}} {
		if err := r.client.ClearRules(ctx, s[0], s[1]); err != nil {
			t.Error(err)
		}
	}
	var p *Problem
	if err := r.client.ClearRules(ctx, "zoe", ""); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Error(err)
	}
	if got := may("zoe", "a/b.c", "hall/x"); !strings.HasPrefix(got, "deny by default") {
		t.Error(got)
	}
	if log := r.log.String(); !strings.Contains(log, "built-in rules changed by an operator") || !strings.Contains(log, `"rules_before":1`) {
		t.Errorf("the log does not say so: %s", log)
	}
}

// A rule that is there is not added again, and the answer says which it is; another order is
// not made by the way, and what changes nothing is no line of the log.
func TestTheSameBuiltinRuleTwice(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	a := BuiltinRule{Permission: "allow", Action: "publish", Topic: "a", QoS: []int{1, 0}, Retain: "all"}
	b := BuiltinRule{Permission: "deny", Action: "publish", Topic: "a"}
	if got, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{b, a, b}}); err != nil || len(got.Rules) != 2 || !reflect.DeepEqual(got.Already, []int{1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	a.QoS, a.Retain = []int{0, 1, 1}, ""
	if got, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{a}}); err != nil || len(got.Rules) != 2 || !reflect.DeepEqual(got.Already, []int{2}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	if got, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{b}, First: true}); err != nil || len(got.Rules) != 2 || !reflect.DeepEqual(got.Already, []int{1}) {
		t.Errorf("first, where it is: %+v, %v", got, err)
	}
	if _, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Add: []BuiltinRule{a}, First: true}); err == nil || !strings.Contains(err.Error(), "already there: rule 2") {
		t.Errorf("first, where another is: %v", err)
	}
	if got, err := r.client.EditRules(ctx, &RulesEdit{Username: "zoe", Delete: 2, Add: []BuiltinRule{a}, First: true}); err != nil || len(got.Rules) != 2 || got.Rules[0].Permission != "allow" || got.Already != nil {
		t.Errorf("deleted and first: %+v, %v", got, err)
	}
	if got, err := r.client.EditRules(ctx, &RulesEdit{ClientID: "zoe", Add: []BuiltinRule{a}}); err != nil || got.Already != nil {
		t.Errorf("of somebody else: %+v, %v", got, err)
	}
}
