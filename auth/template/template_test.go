package template

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// nasty are values of which none may ever be more than a value (A123).
var nasty = []string{"' or 1=1--", `" or ""="`, "*)(uid=*", "a\r\nDEL x", "a b", "${password}", "$1", "?", "\\", "/*", "ü\x00"}

func TestSQLIsTheSameForEverybody(t *testing.T) {
	for style, want := range map[Style]string{Dollar: "SELECT h FROM u WHERE n = $1 AND c=$2 OR a = $3 -- it's fine", Question: "SELECT h FROM u WHERE n = ? AND c=? OR a = ? -- it's fine"} {
		s, err := SQL("SELECT h FROM u WHERE n = ${username} AND c=${clientid} OR a = ${client_attrs.site} -- it's fine", style)
		if err != nil {
			t.Fatal(err)
		}
		if s.Text() != want {
			t.Errorf("%q", s.Text())
		}
		for _, v := range nasty {
			if got := s.Args(&Values{Username: v, Attrs: map[string]string{"site": "x"}}); !slices.Equal(got, []string{v, "", "x"}) {
				t.Errorf("%q", got)
			}
		}
		if !s.Uses(Username) || s.Uses(PeerHost) || s.Known(&Values{PeerHost: "x"}) || !s.Known(&Values{ClientID: "x"}) {
			t.Error("what the statement is about")
		}
	}
}

func TestSQLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1 WHERE n = '${username}'":                      "inside quotes",
		`SELECT 1 WHERE n = "${username}"`:                      "inside quotes",
		"SELECT 1 WHERE n = 'it''s ${username}'":                "inside quotes",
		"SELECT 1 -- ${username}\n":                             "inside a comment",
		"SELECT /* ${username} */ 1":                            "inside a comment",
		"SELECT 1 WHERE n = ${user}":                            "no placeholder",
		"SELECT 1 WHERE n = ${username":                         "without a }",
		"SELECT 1 WHERE p = ${password}":                        "compared here",
		"SELECT 1 WHERE n = ${username};":                       "semicolon",
		"SELECT 1; DELETE FROM u":                               "more than one",
		"SELECT 'a":                                             "do not end",
		"SELECT /* a":                                           "does not end",
		"":                                                      "is empty",
		strings.Repeat("x", TextMax+1):                          "longer than",
		"SELECT 1 WHERE n = ${client_attrs.}":                   "no placeholder",
		"SELECT 1 WHERE n = ${client_attrs." + "a b" + "}":      "no placeholder",
		"SELECT /* /* */ ${username} */ 1":                      "inside a comment",
		"SELECT 1 WHERE n = ${" + strings.Repeat("x", 99) + "}": "...}",
	} {
		for _, style := range []Style{Dollar, Question} {
			if _, err := SQL(text, style); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", text, err, want)
			}
		}
	}
	for _, c := range []struct {
		style      Style
		text, want string
	}{
		{Dollar, "SELECT $$ ${username} $$", "inside quotes"},
		{Dollar, "SELECT $a$ ' $$ ${username} $a$", "inside quotes"},
		{Dollar, `SELECT E'\'${username}'`, "inside quotes"},
		{Dollar, "SELECT $1", "number"},
		{Dollar, "SELECT $$ a", "do not end"},
		{Question, "SELECT ?", "taken for a parameter"},
		{Question, `SELECT '\'${username}'`, "inside quotes"},
		{Question, "SELECT `${username}`", "inside quotes"},
		{Question, "SELECT 1 # ${username}", "inside a comment"},
	} {
		if _, err := SQL(c.text, c.style); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	for _, c := range []struct {
		style Style
		text  string
	}{{Dollar, `SELECT '\' || ${username}`}, {Dollar, "SELECT a ? ${username}"}, {Dollar, "SELECT $$it's$$ || ${username}"}, {Question, `SELECT '?' , ${username}`}} {
		if _, err := SQL(c.text, c.style); err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

func TestWordsStayWords(t *testing.T) {
	words, err := Words("HMGET mqtt:user:${username}:${clientid}  password_hash salt")
	if err != nil || len(words) != 4 {
		t.Fatal(words, err)
	}
	for _, v := range nasty {
		if got, want := words[1].Render(&Values{Username: v}, nil), "mqtt:user:"+v+":"; got != want {
			t.Errorf("%q", got)
		}
	}
	if _, literal := words[1].Literal(); literal {
		t.Error("a template is no literal")
	}
	if s, literal := words[0].Literal(); !literal || s != "HMGET" {
		t.Error(s)
	}
	for _, bad := range []string{`GET "${username}"`, "GET ${user}", " "} {
		if _, err := Words(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestEscapeIsForValuesOnly(t *testing.T) {
	text, err := Parse("(uid=${username})")
	if err != nil {
		t.Fatal(err)
	}
	if got := text.Render(&Values{Username: "*)(a"}, func(s string) string { return fmt.Sprintf("<%d>", len(s)) }); got != "(uid=<4>)" {
		t.Error(got)
	}
}

func TestValues(t *testing.T) {
	v := OfRequest(&auth.Request{Username: "u", ClientID: "c", Listener: "l", Addr: netip.MustParseAddr("::ffff:192.0.2.1"), Certificate: auth.Certificate{Name: "x", CommonName: "n", Subject: "CN=n"}, Port: 1883, Password: secret.FromString("p")})
	got := ""
	for _, name := range names {
		got += v.Get(name) + " "
	}
	if want := "u c p 192.0.2.1 1883 n CN=n l "; got != want {
		t.Errorf("%q", got)
	}
	p := OfPrincipal(&auth.Principal{Username: "u", ClientID: "c", Listener: "l", Claims: &auth.Claims{CommonName: "n", Attrs: map[string]string{"a": "b"}}})
	if p.Get("client_attrs.a") != "b" || p.Get("client_attrs.c") != "" || p.CommonName != "n" || p.PeerHost != "" {
		t.Errorf("%+v", p)
	}
	if none := OfRequest(&auth.Request{}); none.PeerHost != "" || none.Get(Password) != "" {
		t.Errorf("%+v", none)
	}
}

// Whatever the text, no value of a client is in the statement, and there are as many
// places as arguments.
func FuzzSQL(f *testing.F) {
	for _, s := range []string{"SELECT ${username}", "'${username}'", "$a$ ${clientid} $a$", "E'\\''${username}", "--\n${username}", "`${username}`"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, dollar bool) {
		style, place := Question, "?"
		if dollar {
			style, place = Dollar, "$1"
		}
		s, err := SQL(text, style)
		if err != nil {
			return
		}
		if strings.Contains(s.Text(), "${") || len(s.args) > 0 && !strings.Contains(s.Text(), place) {
			t.Errorf("%q became %q", text, s.Text())
		}
	})
}
