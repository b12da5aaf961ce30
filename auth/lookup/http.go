package lookup

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Call is a question over HTTP: METHOD PATH, and for POST a body in JSON. What a client chose
// goes into a segment of the path, a value of the query, a text of the body or the value of
// a header, and never becomes more than that. It implements Query and is immutable.
type Call struct {
	method  string
	path    []*template.Text // segments
	query   *template.Text   // behind ?; nil: none
	headers []header
	body    *jsonNode // nil: none
}

type header struct {
	name  string
	value *template.Text
}

// HTTP reads a question such as
//
//	POST /auth {"username": "${username}", "password": "${password}"}
//	GET /acl/${username}?client=${clientid}
//
// and headers of it, NAME=VALUE. The error is the rest of a sentence that begins with the
// question.
func HTTP(text string, headers []string) (*Call, error) {
	method, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	target, body, _ := strings.Cut(strings.TrimSpace(rest), " ")
	body = strings.TrimSpace(body)
	c := &Call{method: method}
	switch {
	case method != "GET" && method != "POST":
		return nil, errors.New(`does not begin with GET or POST. Write POST /auth {"username": "${username}", "password": "${password}"}, say`)
	case method == "GET" && body != "":
		return nil, errors.New("has something behind the path. A GET has no body")
	case method == "POST" && body == "":
		return nil, errors.New(`has no body. Write one in JSON behind the path, such as {"username": "${username}"}`)
	}
	if err := c.readTarget(target); err != nil {
		return nil, err
	}
	if body != "" {
		var err error
		if c.body, err = readBody(body); err != nil {
			return nil, err
		}
	}
	for _, h := range headers {
		name, value, found := strings.Cut(h, "=")
		if !found || !HeaderName(name) {
			return nil, fmt.Errorf("has a header %s that is not NAME=VALUE, or one that is ours to write", shown(h))
		}
		t, err := template.Parse(value)
		switch {
		case err != nil:
			return nil, fmt.Errorf("has a header %s that %w", name, err)
		case t.Uses(template.Password):
			return nil, fmt.Errorf("has ${password} in the header %s. Passwords go into the body", name)
		case !visible(value):
			return nil, fmt.Errorf("has a header %s with other characters than visible ASCII and blanks", name)
		}
		c.headers = append(c.headers, header{name, t})
	}
	return c, nil
}

// readTarget reads path and query.
func (c *Call) readTarget(target string) (err error) {
	path, query, hasQuery := strings.Cut(target, "?")
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("has no path that begins with /. Which host is asked says url of the back end, and nothing else")
	case strings.Contains(target, "#"):
		return errors.New("has a #, which no server is sent")
	}
	segments := strings.Split(path[1:], "/")
	for i, text := range segments {
		t, err := template.Parse(text)
		switch {
		case err != nil:
			return err
		case text == "." || text == ".." || text == "" && (i < len(segments)-1 || i == 0 && len(segments) > 1):
			return errors.New("has an empty part, . or .. in its path, which servers read in more than one way")
		case !literal(t, pathLiteral):
			return errors.New("has a character in its path that has to be written as %XX")
		}
		c.path = append(c.path, t)
	}
	if !hasQuery {
		return nil
	}
	for _, pair := range strings.Split(query, "&") {
		name, _, found := strings.Cut(pair, "=")
		if !found || name == "" || strings.Contains(name, "${") {
			return errors.New("has a query that is not NAME=VALUE with & between. Only values differ from client to client")
		}
	}
	if c.query, err = template.Parse(query); err != nil {
		return err
	}
	if !literal(c.query, pathLiteral+"/?&=") {
		return errors.New("has a character in its query that has to be written as %XX")
	}
	return nil
}

const pathLiteral = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$'()*+,;:@"

// literal tells whether the operator's part of a text has only these characters.
func literal(t *template.Text, of string) bool {
	return strings.Trim(t.Render(&template.Values{}, nil), of) == ""
}

// HeaderName tells whether a question may have a header of the name. Those that say where one
// message ends and another begins, and what a body is, are ours.
func HeaderName(name string) bool {
	lower := strings.ToLower(name)
	switch lower {
	case "", "host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade", "expect",
		"keep-alive", "accept", "accept-encoding", "user-agent":
		return false
	}
	return len(name) <= 64 && !strings.HasPrefix(lower, "proxy-") && strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// Question implements Query. The values were looked at by refuse.
func (c *Call) Question(v *template.Values) backend.Question {
	var b strings.Builder
	for _, t := range c.path {
		b.WriteString("/" + t.Render(v, escapePercent))
	}
	if c.query != nil {
		b.WriteString("?" + c.query.Render(v, escapePercent))
	}
	q := backend.Question{Text: c.method, Args: []string{b.String()}}
	for _, h := range c.headers {
		q.Args = append(q.Args, h.name+": "+h.value.Render(v, escapePercent))
	}
	if c.body != nil {
		q.Secret = secret.New(c.body.render(nil, v))
	}
	return q
}

// Uses implements Query.
func (c *Call) Uses(name string) bool {
	for _, t := range c.texts() {
		if t.Uses(name) {
			return true
		}
	}
	return false
}

// PasswordInURL tells whether a password would be in the path or the query, which servers and
// proxies write down.
func (c *Call) PasswordInURL() bool {
	for _, t := range append(c.path[:len(c.path):len(c.path)], c.query) {
		if t != nil && t.Uses(template.Password) {
			return true
		}
	}
	return false
}

// Proves tells whether something is sent that the client has proved, or has to.
func (c *Call) Proves() bool {
	return c.Uses(template.Password) || c.Uses(template.CommonName) || c.Uses(template.Subject)
}

func (c *Call) texts() []*template.Text {
	all := append([]*template.Text(nil), c.path...)
	if c.query != nil {
		all = append(all, c.query)
	}
	for _, h := range c.headers {
		all = append(all, h.value)
	}
	if c.body != nil {
		all = c.body.texts(all)
	}
	return all
}

// refuse says why these values cannot be sent: a service might read more in them than a
// value, or less. It never shows one.
func (c *Call) refuse(v *template.Values) error {
	for _, name := range allPlaceholders {
		if value := v.Get(name); c.Uses(name) && !plain(value) {
			return fmt.Errorf("${%s} has control characters or is not UTF-8, and is not sent to a service", name)
		}
	}
	for name, value := range v.Attrs {
		if c.Uses("client_attrs."+name) && !plain(value) {
			return fmt.Errorf("${client_attrs.%s} has control characters or is not UTF-8, and is not sent to a service", name)
		}
	}
	for _, t := range c.path {
		if _, fixed := t.Literal(); fixed {
			continue
		}
		segment := t.Render(v, nil)
		if segment == "" || segment == "." || segment == ".." || strings.Contains(t.Render(v, marked), "\x00") {
			return errors.New("a value that goes into the path is empty or has one of / \\ % in it, or is . or .., which servers read as more than a name")
		}
	}
	return nil
}

// marked puts a zero byte, which no value has, in place of one that is more than a name.
func marked(s string) string {
	if strings.ContainsAny(s, `/\%`) {
		return "\x00"
	}
	return s
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

var allPlaceholders = []string{template.Username, template.ClientID, template.Password, template.PeerHost, template.PeerPort, template.CommonName, template.Subject, template.Listener}

// escapePercent writes everything but letters, digits, - _ ~ and . as %XX, so that a value
// ends nothing and begins nothing.
func escapePercent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_~.", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// refused says why a client's values cannot be in the question; nil: they can.
func refused(q Query, v *template.Values) error {
	if c, is := q.(*Call); is {
		return c.refuse(v)
	}
	return nil
}
