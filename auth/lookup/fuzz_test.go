package lookup

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/template"
)

// FuzzQuestions: whatever a client calls itself, it is one value of the question that a
// database or a directory is asked, and changes nothing else of it (A098, A123).
func FuzzQuestions(f *testing.F) {
	for _, s := range []string{"", "ann", "*)(uid=*", "a\\29", "ann\r\nHGETALL x", `{"$ne": ""}`, `"`, "\x00", "${password}", "\xff", "' or 1=1--", "$1"} {
		f.Add(s)
	}
	sql, err := SQL("SELECT password_hash FROM mqtt_user WHERE username = ${username}", template.Dollar)
	if err != nil {
		f.Fatal(err)
	}
	words, err := Redis("HMGET mqtt:user:${username} password_hash salt")
	if err != nil {
		f.Fatal(err)
	}
	document, err := Mongo(`mqtt_user??{"username": "${username}", "at": {"$in": ["${clientid}"]}}`)
	if err != nil {
		f.Fatal(err)
	}
	directory, err := LDAP("ou=people,dc=test?userPassword?sub?(&(uid=${username})(at=${clientid}))", false)
	if err != nil {
		f.Fatal(err)
	}
	nobody := &template.Values{}
	f.Fuzz(func(t *testing.T, s string) {
		v := &template.Values{Username: s, ClientID: s}
		for _, c := range []struct {
			query Query
			want  []string
		}{{sql, []string{s}}, {words, []string{"mqtt:user:" + s, "password_hash", "salt"}}, {document, []string{s, s}}} {
			q := c.query.Question(v)
			if q.Text != c.query.Question(nobody).Text || !slices.Equal(q.Args, c.want) {
				t.Errorf("%q: %+v", s, q)
			}
		}
		got := directory.Question(v).Args[0]
		if n := strings.Count(got, "("); n != 3 || strings.Count(got, ")") != n || strings.ContainsAny(got, "*\x00") || unescaped(got) != "(&(uid="+s+")(at="+s+"))" {
			t.Errorf("%q: %q", s, got)
		}
	})
}

// unescaped reads a filter as RFC 4515 says, a pair of digits behind each backslash.
func unescaped(filter string) string {
	var b []byte
	for i := 0; i < len(filter); i++ {
		if filter[i] != '\\' {
			b = append(b, filter[i])
			continue
		}
		c, err := strconv.ParseUint(filter[i+1:i+3], 16, 8)
		if err != nil {
			return err.Error()
		}
		b, i = append(b, byte(c)), i+2
	}
	return string(b)
}
