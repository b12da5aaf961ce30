package template

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/topic"
)

var ann = Values{ClientID: "c-1", Username: "ann", Listener: "mqtts"}

func TestAppend(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"a/b", "a/b"},
		{"${clientid}", "c-1"},
		{"t/${username}/", "t/ann/"},
		{"${listener}/${username}/x-${clientid}-y/#", "mqtts/ann/x-c-1-y/#"},
		{"$SYS/a$/$$/$1/$", "$SYS/a$/$$/$1/$"}, // only ${ means something
		{"{clientid}", "{clientid}"},
	} {
		tm, err := Parse(c.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.text, err)
			continue
		}
		got, err := tm.Append([]byte("before "), ann)
		if string(got) != "before "+c.want || err != nil || tm.String() != c.text || tm.Empty() != (c.text == "") {
			t.Errorf("%q = %q, %v", c.text, got, err)
		}
		if !strings.HasPrefix(c.want, tm.Begins()) {
			t.Errorf("%q begins with %q", c.text, tm.Begins())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a/${secret}":                "${secret}",
		"${}":                        "${}",
		"${ClientID}":                "there are ${clientid}, ${username} and ${listener}",
		"a/${clientid":               "without its }",
		"${username}-${clientid}/x":  "two placeholders in one level",
		"a/${username}${username}/x": "two placeholders in one level",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"a/$2":  "holds $2, and the regular expression has one group",
		"a/$0":  "$1 to $9",
		"a/$10": "$1 to $9",
	} {
		if _, err := ParseGroups(text, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseGroups(%q): %v", text, err)
		}
	}
	if _, err := ParseGroups("a/$1", 0); err == nil || !strings.Contains(err.Error(), "no groups") {
		t.Errorf("a group of none: %v", err)
	}
}

// What a client calls itself stands for a part of one level or for nothing (A094).
func TestValuesAreLiteral(t *testing.T) {
	for value, want := range map[string]error{
		"a b": nil, "ünï": nil, "a$b": nil, "${username}": ErrValue, "a${username}": nil, "$1": ErrValue, "a$1": nil,
		"": ErrEmpty, "#": ErrValue, "+": ErrValue, "a/b": ErrValue, "/": ErrValue, "a#": ErrValue, "+a": ErrValue,
		"$SYS": ErrValue, "$": ErrValue, "a\x00": ErrValue,
	} {
		for text, v := range map[string]Values{
			"x/${clientid}/y": {ClientID: value, Username: "u", Listener: "l"},
			"x/${username}/y": {ClientID: "c", Username: value, Listener: "l"},
			"x/${listener}/y": {ClientID: "c", Username: "u", Listener: value},
		} {
			tm, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			dst := []byte("d")
			got, err := tm.Append(dst, v)
			if err != want || want == nil && string(got) != "dx/"+value+"/y" || want != nil && string(got) != "d" {
				t.Errorf("%s for %q = %q, %v, want %v", text, value, got, err, want)
			}
		}
	}
	tm, _ := Parse("x/${clientid}")
	for n, want := range map[int]error{topic.BytesMax - 2: nil, topic.BytesMax - 1: ErrTooLong} {
		if _, err := tm.Append(nil, Values{ClientID: strings.Repeat("a", n)}); err != want {
			t.Errorf("a value of %d bytes: %v", n, err)
		}
	}
}

func TestParseMountpoint(t *testing.T) {
	for _, text := range []string{"", "/", "a/", "t/${username}/", "${listener}/${clientid}/", "a$/"} {
		tm, err := ParseMountpoint(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, err := tm.Append(nil, ann); err != nil || topic.ValidName(append(got, "x"...)) != nil {
			t.Errorf("%q = %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"a":                                   "end with /",
		"${username}":                         "end with /",
		"a/+/":                                "wildcard",
		"#/":                                  "wildcard",
		"$SYS/":                               "begins with $",
		"$/":                                  "begins with $",
		"$share/g/":                           "begins with $",
		"a\x00/":                              "null character",
		"a\xff/":                              "UTF-8",
		"${user}/":                            "placeholder",
		strings.Repeat("a", topic.BytesMax):   "end with /",
		strings.Repeat("ab/", topic.BytesMax): "begins", // too long for any topic
	} {
		if _, err := ParseMountpoint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestParseFilter(t *testing.T) {
	for _, text := range []string{"#", "a/${clientid}/#", "$share/g/a/${username}", "$share/${listener}/a", "$exclusive/${clientid}", "$events/#", "${username}"} {
		if _, err := ParseFilter(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]error{
		"": topic.ErrEmpty, "a/${clientid}#": topic.ErrMultiLevel, "a/${clientid}+/b": topic.ErrSingleLevel, "$share//a": topic.ErrShareName,
		"$share/${clientid}": topic.ErrShareFilter, "$exclusive/": topic.ErrExclusiveFilter, "$exclusive/$share/g/a": topic.ErrExclusiveNested,
	} {
		if _, err := ParseFilter(text); err != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	if _, err := ParseFilter("a/${who}"); err == nil {
		t.Error("an unknown placeholder is taken")
	}
}

// Whatever the text and the client: a template that was taken makes what it was
// taken for, or fails.
func FuzzTemplate(f *testing.F) {
	f.Add("t/${username}/${clientid}/", "ann", "c")
	f.Add("${clientid}/#", "$SYS", "+")
	f.Add("$share/g/${username}", "a/b", "")
	f.Add("$${clientid}/", "\x00", "$")
	f.Fuzz(func(t *testing.T, text, user, client string) {
		v := Values{ClientID: client, Username: user, Listener: "l"}
		valid := topic.ValidName([]byte(user)) == nil && topic.ValidName([]byte(client)) == nil // which every CONNECT has proved
		if tm, err := ParseMountpoint(text); err == nil {
			b, err := tm.Append(nil, v)
			switch {
			case err != nil && len(b) > 0:
				t.Fatalf("%q failed and made %q", text, b)
			case err == nil && valid && len(b) > 0:
				if topic.ValidName(b) != nil || b[len(b)-1] != '/' || b[0] == '$' || topic.Levels(b) != topic.Levels(text) {
					t.Fatalf("mountpoint %q = %q", text, b)
				}
			}
		}
		if tm, err := ParseFilter(text); err == nil && valid {
			if b, err := tm.Append(nil, v); err == nil {
				if topic.ValidFilter(string(b)) != nil || topic.Levels(b) != topic.Levels(text) || (b[0] == '$') != (text[0] == '$' && !strings.HasPrefix(text, "${")) {
					t.Fatalf("filter %q = %q", text, b)
				}
			}
		}
	})
}
