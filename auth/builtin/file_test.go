package builtin

import (
	"strings"
	"testing"
)

const goodFile = `{"version":1,"users":[{"name":"a","hash":"$rdt-sha256$v=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","created":"2026-01-01T00:00:00Z","changed":"2026-01-01T00:00:00Z"}]}`

func TestTheUsersFileIsReadStrictly(t *testing.T) {
	if tab, err := decodeUsers([]byte(goodFile)); err != nil || len(tab) != 1 {
		t.Fatal(tab, err)
	}
	user := goodFile[strings.Index(goodFile, "[")+1 : strings.Index(goodFile, "]")]
	for name, c := range map[string]struct{ old, new, says string }{
		"unknown key":          {`"name"`, `"expires":"x","name"`, `"expires": unknown key`},
		"key in capitals":      {`"version"`, `"Version"`, `"Version": unknown key`},
		"key twice":            {`"name":"a"`, `"name":"a","name":"b"`, "name: given twice"},
		"users twice":          {`"version":1`, `"version":1,"users":[]`, "users: given twice"},
		"key in another place": {`"version":1`, `"version":1,"name":"a"`, "form of a users file"},
		"no version":           {`"version":1,`, ``, "version: 0"},
		"newer version":        {`"version":1`, `"version":2`, "version: 2"},
		"something behind":     {`]}`, `]} {}`, "after the end"},
		"a user twice":         {user, user + "," + user, `"a" is listed twice`},
		"a bad name":           {`"name":"a"`, `"name":"a/b"`, "users[0]: name: "},
		"no name":              {`"name":"a",`, ``, "needs a name"},
		"a bad hash":           {`$rdt`, `$xxx`, `users[0]: "a": hash: `},
		"a bad time":           {`"2026-01-01T00:00:00Z","changed"`, `"yesterday","changed"`, "created: is not a time"},
		"a list":               {goodFile, `[]`, "JSON array"},
		"a number for users":   {goodFile, `{"version":1,"users":3}`, "users: is a JSON number"},
		"null":                 {goodFile, `null`, "version: 0"},
		"nothing":              {goodFile, ``, "ends too early"},
		"half":                 {`]}`, ``, "ends too early"},
		"not JSON":             {`{`, `{;`, "is not JSON at byte"},
		"not UTF-8":            {`"name":"a"`, "\"name\":\"a\xff\"", "UTF-8"},
		"deep":                 {goodFile, strings.Repeat("[", 1000), "nested deeper"},
	} {
		_, err := decodeUsers([]byte(strings.Replace(goodFile, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func FuzzDecodeUsers(f *testing.F) {
	f.Add([]byte(goodFile))
	for _, s := range []string{"", "{}", "[[[[", `{"version":1,"users":[{}]}`, `{"version":1,"version":2}`, `{"a":{"a":{"a":{}}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, err := decodeUsers(data)
		if err != nil {
			return
		}
		out, err := tab.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeUsers(out)
		if err != nil || len(again) != len(tab) {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		for name, r := range tab {
			if CheckName(name) != nil || again[name] == nil || again[name].cred != r.cred {
				t.Fatalf("user %q came back as another", name)
			}
		}
	})
}
