package userfile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/builtin"
)

// shape shows entries, secrets as their lengths.
func shape(entries []builtin.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d:%s/%d/%s/%d", e.Line, e.Name, len(e.Stored.Reveal()), e.Salt, len(e.Password.Reveal()))
		if e.Wrong != "" {
			b.WriteString("!")
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

func TestFilesThatAreRead(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"u.csv", "user_id,password_hash,salt,is_superuser\nalice,abcd,NaCl,false\r\nbob,ef,,true\n\"c,d\",gh,\"s\n2\",\ne,,,0\n", "2:alice/4/NaCl/0 3:bob/2//0! 4:c,d/2/s\n2/0 6:e/0//0!"},
		{"u.csv", "\xef\xbb\xbfpassword,user_id\nsecret12,alice\n,bob\n", "2:alice/0//8 3:bob/0//0!"},
		{"export", "user_id,password_hash\na,b\n", "2:a/1//0"},
		{"u.json", "[\n  {\"user_id\":\"alice\",\"password_hash\":\"abcd\",\"salt\":\"NaCl\",\"is_superuser\":false},\n  {\"user_id\":\"bob\",\"password_hash\":\"x\",\"is_superuser\":true}\n]\n", "2:alice/4/NaCl/0 3:bob/1//0!"},
		{"", "[{\"user_id\":\"a\",\"password\":\"b\",\"salt\":null}]", "1:a/0//1"},
		{"", "[{\"user_id\":\"a\",\"password\":\"b\",\"password_hash\":\"c\"}]", "1:a/1//1!"},
		{"pwfile", "# comment\nalice:$7$101$a$b\n\nbob:$6$x:y$z\r\ncarol\ndave:plain\neve:\n", "2:alice/10//0 4:bob/8//0 5:/0//0! 6:dave/5//0! 7:eve/0//0!"},
		{"", "[]", ""},
	} {
		got, err := Read(c.name, []byte(c.text), Options{})
		if err != nil || shape(got) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.text, shape(got), err, c.want)
		}
	}
	got, err := Read("u.csv", []byte("user_id,password_hash,is_superuser\nbob,ef,true\n"), Options{IgnoreSuperuser: true})
	if err != nil || got[0].Wrong != "" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, text, says string }{
		"empty":           {"u.csv", " \n", "empty"},
		"not UTF-8":       {"u.csv", "user_id,password\n\xff,canary\n", "UTF-8"},
		"no head":         {"u.csv", "alice,canary-canary-canary\n", "no column"},
		"a hash as head":  {"u.csv", "$canary,x\n", "one of them is no column"},
		"twice":           {"u.csv", "user_id,user_id,password\n", "twice"},
		"no user_id":      {"u.csv", "password\ncanary\n", "user_id is missing"},
		"no password":     {"u.csv", "user_id,is_superuser\na,false\n", "--include-hashes"},
		"short row":       {"u.csv", "user_id,password\na,canary\ncanary\n", "line 3: wrong number of fields"},
		"quote":           {"u.csv", "user_id,password\na,can\"ary\n", "line 2"},
		"open quote":      {"u.csv", "user_id,password\na,\"canary\n", "line"},
		"format":          {"u.csv", "x", ""},
		"not a list":      {"u.json", "{\"user_id\":\"canary\"}", "line 1: the file is not a list"},
		"not JSON":        {"u.json", "[\n{\"user_id\":\"a\",\"password\":canary}]", "line 2"},
		"no object":       {"u.json", "[\"canary\"]", "not an object"},
		"key twice":       {"u.json", "[{\"user_id\":\"a\",\"password\":\"canary\",\"password\":\"x\"}]", "twice"},
		"capitals":        {"u.json", "[{\"user_id\":\"a\",\"Password\":\"canary\"}]", "\"Password\" is no column"},
		"unknown":         {"u.json", "[{\"user_id\":\"a\",\"password\":\"canary\",\"acl\":\"x\"}]", "no column"},
		"number":          {"u.json", "[{\"user_id\":5,\"password\":\"canary\"}]", "neither text"},
		"bool":            {"u.json", "[{\"user_id\":true,\"password\":\"canary\"}]", "where text belongs"},
		"nested":          {"u.json", "[{\"user_id\":{\"a\":\"canary\"}}]", "neither text"},
		"behind":          {"u.json", "[]\n[]", "after the end"},
		"no end":          {"u.json", "[{\"user_id\":\"a\",\"password\":\"canary\"}", "no end"},
		"no end of it":    {"u.json", "[{\"user_id\":\"a\",\"password\":\"canary\"", ""},
		"too many":        {"x", strings.Repeat("a:$\n", builtin.ImportMax+1), "more than 50000 users"},
		"too large":       {"x", strings.Repeat("a", BytesMax+1), "more than"},
		"another program": {"x.csv", "\x00\x01", "no column"},
	} {
		got, err := Read(c.file, []byte(c.text), Options{})
		if err == nil || len(got) > 0 || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary") || len(err.Error()) > 300 {
			t.Errorf("%s: %s %v", name, shape(got), err)
		}
	}
	if _, err := Read("x", []byte("a:$b"), Options{Format: "ldif"}); err == nil {
		t.Error("a format nobody knows")
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rows := []Row{{UserID: "a,\"b", Hash: "$x$y"}, {UserID: "ü <c>", Hash: "$z"}}
	var c, j bytes.Buffer
	if err := WriteCSV(&c, rows); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&j, rows); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"u.csv": c.String(), "u.json": j.String()} {
		got, err := Read(name, []byte(text), Options{})
		if err != nil || len(got) != 2 || got[0].Name != rows[0].UserID || got[1].Name != rows[1].UserID || string(got[1].Stored.Reveal()) != "$z" || got[0].Wrong != "" {
			t.Errorf("%s: %s %v", text, shape(got), err)
		}
	}
	var l bytes.Buffer
	if err := WriteListedCSV(&l, []Listed{{UserID: "a", Kind: "chosen", Algorithm: "argon2id"}}); err != nil || strings.Contains(l.String(), "hash,") {
		t.Error(l.String(), err)
	}
	if _, err := Read("u.csv", l.Bytes(), Options{}); err == nil {
		t.Error("a list without hashes is taken for users")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("u.csv", []byte("user_id,password_hash,salt,is_superuser\nalice,abcd,NaCl,false\n"))
	f.Add("u.json", []byte("[{\"user_id\":\"a\",\"password\":\"b\",\"is_superuser\":true}]"))
	f.Add("pw", []byte("alice:$7$101$a$b\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		entries, err := Read(name, data, Options{})
		if err != nil && (len(entries) > 0 || len(err.Error()) > 300) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Line < 1 || e.Line > 1+bytes.Count(data, []byte{'\n'}) || e.Wrong == "" && e.Stored.Empty() == e.Password.Empty() {
				t.Fatalf("%+v", e)
			}
		}
	})
}
