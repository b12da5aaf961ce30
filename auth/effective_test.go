package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// standings writes what Effective says, a line a rule.
func standings(p *Policy, by *Principal) string {
	var b strings.Builder
	p.Effective(by, func(st Standing) bool {
		verb := map[bool]string{true: "allow", false: "deny"}[st.Rule.Allows()]
		fmt.Fprintf(&b, "%s %s %v %s", st.Source, verb, st.Filters, st.Effect)
		if st.Why != "" {
			b.WriteString(" !")
		}
		b.WriteString("\n")
		return true
	})
	return b.String()
}

func TestEffectiveRulesOfOneClient(t *testing.T) {
	others, elsewhere := allow("others/#"), allow("elsewhere/#")
	others.Users, elsewhere.Listeners = []string{"bob"}, []string{"inside"}
	holds, not, fails, denyFails := allow("w/1"), allow("w/2"), allow("w/3"), deny("w/4")
	holds.When, not.When, fails.When, denyFails.When = says{true, nil}, says{false, nil}, says{false, errors.New("no such key")}, says{false, errors.New("no such key")}
	named := allow("named/#")
	named.CommonNames = []string{"pump"}
	file := compile(t, others, elsewhere, allow("own/${username}/${clientid}", "both/${client_attrs.site}/x"), allow("at/${client_attrs.site}"),
		holds, not, fails, denyFails, named, deny("secret/${cert_common_name}"))
	book := bookOf(t, map[Subject][]RuleSpec{
		ClientNamed("c1"): {only(true, true, false, "built/client")}, ClientNamed("c2"): {only(true, true, false, "built/other")},
		UserNamed("alice"): {only(false, true, true, "built/user")}, Everybody(): {only(true, false, true, "built/all")},
	})
	p := Compose(Source{Name: SourceRules, Rules: file}, Source{Name: SourceBuiltin, Book: book}, Source{Name: "db"}, Source{Name: SourceClaims})
	by := who("alice", "c1")
	by.Claims = &Claims{Rules: []Own{ownOf(t, SourceClaims, only(true, true, true, "claimed"))}}
	want := `rules_file allow [own/alice/c1 both/${client_attrs.site}/x] decides !
rules_file allow [at/${client_attrs.site}] never_matches !
rules_file allow [w/1] decides
rules_file allow [w/3] never_matches !
rules_file deny [w/4] decides !
rules_file deny [secret/${cert_common_name}] denies_everything !
builtin allow [built/client] decides
builtin deny [built/user] decides
builtin allow [built/all] decides
db deny [#] denies_everything !
claims allow [claimed] decides
 deny [] decides
`
	if got := standings(p, by); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	by.Claims = Unproven
	got := standings(p, by)
	for _, line := range []string{"rules_file allow [w/1] not_sure !", "rules_file allow [named/#] not_sure !", "rules_file deny [secret/${cert_common_name}] not_sure !", "db deny [#] not_sure !", "builtin deny [built/user] decides\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is not in\n%s", line, got)
		}
	}
	by.Claims = UnprovenToken("t1", time.Unix(1, 0))
	if token := standings(p, by); token != got {
		t.Errorf("with a token that was shown\n%s\nwithout one\n%s", token, got)
	}
	by.Claims = &Claims{Superuser: true, CommonName: "pump"}
	if got = standings(p, by); !strings.HasPrefix(got, " allow [#] decides\n") || !strings.Contains(got, "rules_file allow [named/#] decides\n") || !strings.Contains(got, "deny [secret/pump] decides\n") {
		t.Errorf("a superuser: %s", got)
	}
	if got = standings(nil, by); got != " allow [#] decides\n deny [] decides\n" {
		t.Errorf("no policy: %s", got)
	}
}

func TestFreshness(t *testing.T) {
	now := time.Unix(1000, 0)
	f := FreshAt(now)
	f.Confirm(now.Add(time.Second))
	if !f.At().Equal(now.Add(time.Second)) {
		t.Error(f.At())
	}
	var none *Freshness
	if none.Confirm(now); !none.At().IsZero() {
		t.Error(none.At())
	}
}
