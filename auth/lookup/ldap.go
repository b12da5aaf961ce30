package lookup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
)

// columnBound is what a directory says of a password that it has judged itself, t or f. Only
// the answer to a query that binds has it.
const columnBound = "bound"

// ldapQuery is a search of which the filter is different from client to client.
type ldapQuery struct {
	where  string // base, attributes and scope
	filter *template.Text
	bind   bool
}

// LDAP reads base?attributes?scope?filter, the part of an LDAP URL behind the host (RFC
// 4516). An attribute may have the name of a column before it: is_superuser:employeeType.
// With bind the directory judges the password. The error is the rest of a sentence that
// begins with the query.
func LDAP(text string, bind bool) (Query, error) {
	parts := strings.SplitN(text, "?", 4)
	if len(parts) != 4 {
		return nil, errors.New("has not four parts with a ? between: base?attributes?scope?filter, such as ou=people,dc=example,dc=org?userPassword?sub?(uid=${username})")
	}
	for i, name := range []string{"base", "attributes", "scope"} {
		if strings.Contains(parts[i], "${") {
			return nil, fmt.Errorf("has a placeholder in its %s. Only the filter may differ from client to client", name)
		}
	}
	switch parts[2] {
	case "base", "one", "sub":
	default:
		return nil, errors.New("has a scope that is none of base, one and sub")
	}
	filter, err := template.Parse(parts[3])
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(parts[3], "(") || !strings.HasSuffix(parts[3], ")"):
		return nil, errors.New("has a filter without parentheses. Write (uid=${username}), say")
	case filter.Uses(template.Password):
		return nil, errors.New("has ${password} in its filter. With method: bind the directory judges it; else its hash is read and compared here")
	}
	return ldapQuery{strings.Join(parts[:3], "?"), filter, bind}, nil
}

// Question implements Query. The one argument is the filter, in which what a client chose is
// escaped.
func (l ldapQuery) Question(v *template.Values) backend.Question {
	q := backend.Question{Text: l.where, Args: []string{l.filter.Render(v, escapeFilter)}}
	if l.bind {
		q.Secret = v.Password
	}
	return q
}

// Uses implements Query.
func (l ldapQuery) Uses(name string) bool { return l.filter.Uses(name) }

// escapeFilter writes a value as RFC 4515 asks for, and every byte that is not plain ASCII
// as well, so that nobody has to know what a server does with it.
func escapeFilter(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20 || c >= 0x7f || strings.IndexByte(`\*()`, c) >= 0:
			fmt.Fprintf(&b, `\%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// binds tells whether the back end judges the password.
func binds(q Query) bool {
	l, ok := q.(ldapQuery)
	return ok && l.bind
}
