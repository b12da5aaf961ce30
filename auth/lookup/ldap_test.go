package lookup

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const people = "ou=people,dc=test?userPassword?sub?(uid=${username})"

func TestFiltersOfADirectory(t *testing.T) {
	q, err := LDAP(people, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ann":      "(uid=ann)",
		"*)(uid=*": `(uid=\2a\29\28uid=\2a)`,
		"a\\\x00ü": `(uid=a\5c\00\c3\bc)`,
		"a\r\nb":   `(uid=a\0d\0ab)`,
	} {
		got := q.Question(&template.Values{Username: name, Password: secret.FromString("p")})
		if got.Args[0] != want || got.Text != "ou=people,dc=test?userPassword?sub" || !got.Secret.Empty() {
			t.Errorf("%q: %+v", name, got)
		}
	}
	for text, want := range map[string]string{
		"ou=people":                                "four parts",
		"uid=${username},dc=test?a?base?(a=b)":     "in its base",
		"dc=test?${username}?sub?(a=b)":            "in its attributes",
		"dc=test?a?all?(uid=${username})":          "scope",
		"dc=test?a?sub?uid=${username}":            "parentheses",
		"dc=test?a?sub?(userPassword=${password})": "method: bind",
		"dc=test?a?sub?(uid=${user})":              "no placeholder",
	} {
		if _, err := LDAP(text, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What the directory says of a password counts for a query that binds, and for no other.
func TestADirectoryJudges(t *testing.T) {
	d := newDesk(t, usersQuery)
	d.opt.Query, _ = LDAP(people, true)
	for bound, want := range map[string]auth.Outcome{"t": auth.Allow, "f": auth.Deny, "": auth.Unavailable, "maybe": auth.Unavailable} {
		d.Forget()
		d.table.rows = []backend.Row{fields(columnBound, bound)}
		if r := d.login("ann", "right"); r.Outcome != want {
			t.Errorf("bound %q: %+v", bound, r)
		}
	}
	d.Forget()
	d.table.rows = []backend.Row{fields("is_superuser", "1")}
	if r := d.login("ann", "right"); r.Outcome != auth.Unavailable {
		t.Errorf("a directory that has judged nothing: %+v", r)
	}
	if q := d.table.asked[0]; string(q.Secret.Reveal()) != "right" {
		t.Error("the directory has not got the password")
	}
	sql := newDesk(t, usersQuery)
	sql.table.rows = []backend.Row{fields(columnBound, "t")}
	if r := sql.login("ann", "right"); r.Outcome != auth.Unavailable {
		t.Errorf("a column of a table that is called so: %+v", r)
	}
}
