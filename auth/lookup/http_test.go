package lookup

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const askText = `POST /auth/${clientid}?ip=${peerhost}&u=${username} {"username": "${username}", "of": {"ids": ["c-${clientid}", 7, null]}, "password": "${password}"}`

func callOf(t *testing.T, text string, headers ...string) *Call {
	t.Helper()
	c, err := HTTP(text, headers)
	if err != nil {
		t.Fatal(text, err)
	}
	return c
}

// Whatever a client calls itself, it stays one segment, one value, one text, one header (A125).
func TestCallsKeepValuesApart(t *testing.T) {
	c := callOf(t, askText, "X-Client=id ${username}")
	for _, name := range []string{"ann", "a b&admin=1#x", "x?y=1", `"},"result":"allow`, `","username":"root`, "http://169.254.169.254/", "//else/x", "a+b=c;d", "ünï", "${password}", "</script>", "."} {
		v := &template.Values{Username: name, ClientID: "c1", PeerHost: "192.0.2.1", Password: secret.FromString("p\"w")}
		if err := c.refuse(v); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
		q := c.Question(v)
		u, err := url.ParseRequestURI(q.Args[0])
		if err != nil || u.Host != "" || u.Path != "/auth/c1" || len(u.Query()) != 2 || u.Query().Get("u") != name {
			t.Errorf("%q asks for %s", name, q.Args[0])
		}
		var body struct {
			Username, Password string
			Of                 struct{ IDs []any }
		}
		if err := json.Unmarshal(q.Secret.Reveal(), &body); err != nil || body.Username != name || body.Password != `p"w` || len(body.Of.IDs) != 3 || body.Of.IDs[0] != "c-c1" {
			t.Errorf("%q is said as %s", name, q.Secret.Reveal())
		}
		value, _ := strings.CutPrefix(q.Args[1], "X-Client: id ")
		if got, err := url.PathUnescape(value); err != nil || got != name || strings.ContainsAny(value, " \r\n:") {
			t.Errorf("%q is in a header as %q", name, q.Args[1])
		}
	}
}

// What a server could read as more than a value is not sent.
func TestCallsRefuseValues(t *testing.T) {
	c := callOf(t, askText, "X-Client=${username}")
	for _, id := range []string{"", ".", "..", "../admin", `..\admin`, "a/b", "%2e%2e%2fadmin", "a%00", "x/../../y"} {
		if err := c.refuse(&template.Values{ClientID: id}); err == nil {
			t.Errorf("%q goes into a path", id)
		}
	}
	for _, text := range []string{"a\r\nX-Admin: 1", "a\nb", "a\x00", "\x7f", "a\u0085b", "\xff\xfe"} {
		for name, v := range map[string]*template.Values{
			"username": {ClientID: "c", Username: text}, "clientid": {ClientID: text}, "password": {ClientID: "c", Password: secret.FromString(text)}, "peerhost": {ClientID: "c", PeerHost: text},
		} {
			if err := c.refuse(v); err == nil || strings.Contains(err.Error(), text) {
				t.Errorf("%s %q: %v", name, text, err)
			}
		}
	}
	attrs := callOf(t, "GET /a?x=${client_attrs.site}")
	if err := attrs.refuse(&template.Values{Attrs: map[string]string{"site": "a\nb"}}); err == nil {
		t.Error("an attribute with a line break is sent")
	}
	if err := callOf(t, "GET /a-${clientid}%20b").refuse(&template.Values{ClientID: ".."}); err != nil {
		t.Error(err)
	}
}

func TestCallsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "GET or POST",
		"DELETE /a":                  "GET or POST",
		"get /a":                     "GET or POST",
		"GET /a {}":                  "no body",
		"POST /a":                    "no body",
		"GET a":                      "begins with /",
		"GET http://else/a":          "begins with /",
		"GET //else/a":               "empty part",
		"GET /a/../b":                "empty part",
		"GET /a/./b":                 "empty part",
		"GET /a//b":                  "empty part",
		"GET /a#b":                   "a #",
		"GET /ä":                     "%XX",
		"GET /a?b":                   "NAME=VALUE",
		"GET /a?${username}=b":       "NAME=VALUE",
		"GET /a?b=c&":                "NAME=VALUE",
		`GET /a?b="`:                 "%XX",
		"GET /${user}":               "no placeholder",
		`POST /a ["${username}"]`:    "no JSON object",
		`POST /a {"a": ${username}}`: "not JSON",
		`POST /a {"${username}": 1}`: "in a name",
		`POST /a {"a": 1, "a": 2}`:   "twice",
		`POST /a {"a": 1} x`:         "behind its body",
		`POST /a {"a": 1`:            "not JSON",
		`POST /a {"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}`: "too deep",
		`POST /a {"a": "${user}"}`:                            "no placeholder",
	} {
		if _, err := HTTP(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for _, h := range []string{"Host=x", "content-length=1", "Transfer-Encoding=chunked", "X A=b", "X-A", "X-A=${password}", "X-A=a\r\nB: c", "X-A=${user}", "Proxy-Authorization=x"} {
		if _, err := HTTP("GET /a", []string{h}); err == nil {
			t.Errorf("header %q is taken", h)
		}
	}
	c := callOf(t, "GET /a?p=${password}&u=${username}")
	if !c.PasswordInURL() || !c.Proves() || callOf(t, `POST /a {"p": "${password}"}`).PasswordInURL() || callOf(t, "GET /${username}").Proves() || !callOf(t, "GET /${cert_subject}").Proves() {
		t.Error("where the password is, and what proves")
	}
	if q := callOf(t, "GET /").Question(&template.Values{}); q.Args[0] != "/" || !q.Secret.Empty() {
		t.Errorf("%+v", q)
	}
}

// FuzzCall: a value ends nothing, whatever it is.
func FuzzCall(f *testing.F) {
	for _, s := range []string{"ann", "../x", "a\r\nb", `"`, "%", "\x00", "&a=b", "\xff"} {
		f.Add(s)
	}
	c, err := HTTP(askText, []string{"X-Client=${username}"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := &template.Values{Username: s, ClientID: s, PeerHost: "::1", Password: secret.FromString(s)}
		if c.refuse(v) != nil {
			return
		}
		q := c.Question(v)
		u, err := url.ParseRequestURI(q.Args[0])
		if err != nil || u.Host != "" || strings.Count(u.EscapedPath(), "/") != 2 || len(u.Query()) != 2 || u.Query().Get("u") != s {
			t.Errorf("%q: %s", s, q.Args[0])
		}
		var body map[string]any
		if err := json.Unmarshal(q.Secret.Reveal(), &body); err != nil || len(body) != 3 || body["password"] != s {
			t.Errorf("%q: %s", s, q.Secret.Reveal())
		}
		if strings.ContainsAny(q.Args[1], "\r\n") {
			t.Errorf("%q: %q", s, q.Args[1])
		}
	})
}
