package bans

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestReadFiles(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{ // the bans, or what is wrong
		{"b.csv", "", ""},
		{"b.csv", "as,who\n", ""},
		{"b.csv", "as,who,reason,at,until,by\nclientid,c1,\"loud, and often\",2021-10-25T18:25:11+08:00,2999-10-25T18:25:11+08:00,boot\n# a comment\npeerhost,::ffff:192.0.2.1,,,infinity,\n",
			"clientid c1 'loud, and often' boot 2021-10-25T10:25:11Z 2999-10-25T10:25:11Z; peerhost 192.0.2.1 '' me 2026-03-01T12:00:00Z infinity"},
		{"b.csv", "who,as,identity\nc1,clientid,u\n", "clientid c1 '' me 2026-03-01T12:00:00Z infinity within u"},
		{"b.csv", "as,who,until\nclientid,over,2020-01-01T00:00:00Z\n", ""},
		{"b.csv", "as,whom\n", `b.csv:1: column "whom"; the first line names the columns, which are as,who,reason,at,until,by,identity`},
		{"b.csv", "as,as\n", `b.csv:1: column "as"`},
		{"b.csv", "who\n", "b.csv:1: the first line names the columns, and as and who have to be there"},
		{"b.csv", "as,who\nclientid,a\nclient,b\nclientid,a\npeerhost,x\n", "b.csv:3: \"client\" is no kind of ban; there are clientid, username, peerhost, peerhost_net, clientid_re, username_re\n" +
			"b.csv:4: clientid \"a\" stands on line 2 already\nb.csv:5: \"x\" is no address"},
		{"b.csv", "as,who\nclientid,a,b\n", "b.csv:2: 3 columns where the first line has 2 columns"},
		{"b.csv", "as,who\nclientid,\"a\n", "b.csv:2: "},
		{"b.csv", "as,who,until\nclientid,a,tomorrow\n", `b.csv:2: until is "tomorrow", which is no time`},
		{"b.csv", "as,who\npeerhost_net,0.0.0.0/0\n", `b.csv:2: peerhost_net "0.0.0.0/0": it is every address`},
		{"b.json", "[]", ""},
		{"b.json", "[{\"as\":\"clientid\",\"who\":\"a\"},\n {\"as\":\"username_re\",\"who\":\"^b\",\"until\":\"infinity\",\"by\":\"x\"}]", "clientid a '' me 2026-03-01T12:00:00Z infinity; username_re ^b '' x 2026-03-01T12:00:00Z infinity"},
		{"b.json", "{\"data\": [{\"as\":\"clientid\",\"who\":\"a\"}]}\n", "clientid a '' me 2026-03-01T12:00:00Z infinity"},
		{"b.JSON", "\n\n[\n{\"as\":\"clientid\",\n\"who\":\"a\"},\n\n{\"as\":\"clientid\",\"who\":\"\"}\n,{\"as\":\"clientid\",\"whom\":\"c\"}]", "b.JSON:7: who is empty: name somebody\nb.JSON:8: unknown field \"whom\""},
		{"b.json", "{\"data\":[{\"as\":\"clientid\",\"who\":\"a\"}],\"meta\":{\"page\":1,\"count\":[1]}}", "clientid a '' me 2026-03-01T12:00:00Z infinity"},
		{"b.json", "{\"meta\":{},\"data\":[{\"as\":\"clientid\",\"who\":\"a\"}]}", "clientid a '' me 2026-03-01T12:00:00Z infinity"},
		{"b.json", "{\"data\":[],\"more\":[]}", `b.json:1: want the end of the object after its list`},
		{"b.json", "{\"data\":[],\"meta\":", `b.json:1: want the end of the object after its list`},
		{"b.json", "[\n{\"as\":\"clientid\",\"who\":7}]", `b.json:2: who is a number, and has to be text`},
		{"b.csv", "as,who\nclientid,a,b\nclientid\nip,c\n", "b.csv:2: 3 columns where the first line has 2 columns\nb.csv:3: 1 column where the first line has 2 columns\nb.csv:4: \"ip\" is no kind of ban"},
		{"b.json", "{}", `b.json:1: want {"data": [...]}`},
		{"b.json", "7", `b.json:1: want a list`},
		{"b.json", "", `b.json:1: the file ends before its list does`},
		{"b.json", "[{\"as\":\"clientid\",\"who\":\"a\"}", "b.json:1: "},
		{"b.json", "[]\n[]", "b.json:2: something follows the list"},
		{"b.json", "[1]", "b.json:1: a number where a ban belongs, such as"},
	} {
		list, _, err := Read(c.name, []byte(c.text), noon, "me", false)
		var got []string
		for _, b := range list {
			r := b.Row()
			s := r.As + " " + r.Who + " '" + r.Reason + "' " + r.By + " " + r.At + " " + r.Until
			if r.Identity != "" {
				s += " within " + r.Identity
			}
			got = append(got, s)
		}
		text := strings.Join(got, "; ")
		if err != nil {
			text = err.Error()
			if list != nil {
				t.Errorf("%q: something was taken", c.text)
			}
		}
		if text != c.want && (err == nil || c.want == "" || !strings.HasPrefix(text, c.want)) {
			t.Errorf("%q:\n%s\nwant\n%s", c.text, text, c.want)
		}
	}
	if list, over, err := Read("b.csv", []byte("as,who,until\nclientid,over,2020-01-01T00:00:00Z\npeerhost_net,0.0.0.0/0,\n"), noon, "me", true); err != nil || over != 1 || len(list) != 1 {
		t.Errorf("%v, %d, %v", list, over, err)
	}
	if _, _, err := Read("b.csv", []byte("as,who\n"+strings.Repeat("x,y\n", 1000)), noon, "me", false); strings.Count(err.Error(), "\n") != problemsMax {
		t.Errorf("%d lines", strings.Count(err.Error(), "\n"))
	}
}

// What is written is read as the same.
func TestWrittenIsRead(t *testing.T) {
	list := []*Ban{
		ban(t, ClientID, "odd \"one\", with\nlines", within("u,v"), func(b *Ban) { b.Reason, b.Until = "because", noon.Unix()+100 }),
		ban(t, PeerhostNet, "2001:db8::/32"), ban(t, UsernameRe, `^a\d+"$`),
	}
	for _, name := range []string{"x.csv", "x.json"} {
		var out bytes.Buffer
		w, err := NewWriter(&out, name == "x.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			r := b.Row()
			if err := w.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
		got, _, err := Read(name, out.Bytes(), noon, "somebody else", false)
		if err != nil || len(got) != len(list) {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		for i, b := range got {
			if b.Row() != list[i].Row() {
				t.Errorf("%s: %+v, want %+v", name, b.Row(), list[i].Row())
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("b.json", []byte(`{"data": [{"as":"clientid","who":"a"} , {"as":"peerhost","who":"::1"}]}`))
	f.Add("b.csv", []byte("as,who\nclientid,a\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		list, _, err := Read(name, data, noon, "me", true)
		if err != nil && list != nil {
			t.Error("half a file")
		}
		for _, b := range list {
			if got, err := decode(b.encode()); err != nil || got.key() != b.key() {
				t.Errorf("%+v: %v", b, err)
			}
		}
	})
}

// Beyond what a file may have nothing is looked at: a pattern of a few bytes takes a
// hundred kilobytes, and a file has room for a million of them.
func TestAFileWithTooMuchIsReadNoFurther(t *testing.T) {
	for _, c := range []struct {
		name, head, row, end, want string
		rows                       int
	}{
		{"b.csv", "as,who\n", "clientid_re,^x{9}%d\n", "a mistake\n", "b.csv:1002: has more than 1000 patterns, each of which is tried on every client", PatternsMax + 5000},
		{"b.json", "[", "{\"as\":\"username_re\",\"who\":\"^x{9}%d\"},\n", "a mistake", "b.json:1001: has more than 1000 patterns, each of which is tried on every client", PatternsMax + 5000},
		{"b.csv", "as,who\n", "clientid_re,^x{900}%03d\n", "a mistake\n", "b.csv:57: " + tooLarge(56*906), 500},
		{"b.json", "[", "{\"as\":\"username_re\",\"who\":\"^x{900}%03d\"},\n", "a mistake", "b.json:56: " + tooLarge(56*906), 500},
		{"b.csv", "as,who\n", "clientid,%d\n", "a mistake\n", "b.csv:100002: has more than 100000 bans", Max + 10},
	} {
		text := []byte(c.head)
		for i := range c.rows {
			text = fmt.Appendf(text, c.row, i)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Read(c.name, append(text, c.end...), noon, "me", false)
		runtime.ReadMemStats(&after)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 128 {
			t.Errorf("%s of %d rows: %d MiB", c.name, c.rows, used)
		}
	}
}
