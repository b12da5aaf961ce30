package builtin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
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
		"a time before time":   {`"2026-01-01T00:00:00Z","changed"`, `"0000-01-01T00:00:00+23:59","changed"`, "created: is not a time"},
		"a time after time":    {`"2026-01-01T00:00:00Z"}`, `"9999-12-31T23:59:59-00:01"}`, "changed: is not a time"},
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

// encode is the form in a users file.
func (c *credential) encode() string {
	head := argonHead
	if c.kind == generated {
		head = sha256Head
	}
	return head + base64.RawStdEncoding.EncodeToString(c.salt[:]) + "$" + base64.RawStdEncoding.EncodeToString(c.sum[:])
}

// fileOf is a users file as the first releases wrote it.
func fileOf(t testing.TB, tab table) string {
	t.Helper()
	f := userFile{Version: formatVersion, Users: []userLine{}}
	for _, r := range tab.sorted() {
		f.Users = append(f.Users, userLine{r.name, r.cred.encode(), r.created.UTC().Format(time.RFC3339), r.changed.UTC().Format(time.RFC3339)})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
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
		for name, r := range tab {
			again, err := decodeKept(name, r.content())
			if err != nil || CheckName(name) != nil || again.cred != r.cred || !again.created.Equal(r.created.Truncate(time.Second)) || !bytes.Equal(again.content(), r.content()) {
				t.Fatalf("user %q came back as another: %v", name, err)
			}
		}
	})
}
