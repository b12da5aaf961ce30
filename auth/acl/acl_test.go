package acl

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// kept is a Keeper in memory.
type kept struct {
	lists  map[string][]byte
	writes [][]Kept
	err    error
}

func (k *kept) Rules(fn func(string, []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(k.lists)) {
		if err := fn(name, k.lists[name]); err != nil {
			return err
		}
	}
	return nil
}

func (k *kept) Write(lists ...Kept) error {
	if k.err != nil {
		return k.err
	}
	k.writes = append(k.writes, lists)
	for _, l := range lists {
		if delete(k.lists, l.Name); l.Content != nil {
			k.lists[l.Name] = l.Content
		}
	}
	return nil
}

func open(t *testing.T, k *kept) *Store {
	t.Helper()
	s, err := Open(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(s *Store, who auth.Subject, entries ...Entry) error {
	return s.Change(who, func([]Entry) ([]Entry, error) { return entries, nil }, func() {})
}

func TestRulesAreKeptAsTheyAre(t *testing.T) {
	k := &kept{lists: map[string][]byte{}}
	s := open(t, k)
	entries := []Entry{
		{Permission: "deny", Action: "publish", Topic: "a/+/b", QoS: []int{0, 2}, Retain: "true"},
		{Permission: "allow", Action: "subscribe", Topic: "eq #"},
		{Permission: "allow", Action: "all", Topic: "devices/${clientid}/#"},
	}
	var books int
	s.OnChange(func(b *auth.Book) {
		if books++; b != s.Book() {
			t.Error("another book")
		}
	})
	many := make([]Entry, 250)
	for i := range many {
		many[i] = Entry{Permission: "allow", Action: "publish", Topic: fmt.Sprintf("open/%d", i)}
	}
	for _, err := range []error{put(s, auth.UserNamed("ann"), entries...), put(s, auth.ClientNamed("ann"), entries[0]), put(s, auth.Everybody(), many...)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, k)
	for what, st := range map[string]*Store{"now": s, "after a start": again} {
		if got := st.List(auth.UserNamed("ann")); !reflect.DeepEqual(got, entries) {
			t.Errorf("%s: %v", what, got)
		}
		if got := st.List(auth.Everybody()); !reflect.DeepEqual(got, many) {
			t.Errorf("%s: %d rules for everybody", what, len(got))
		}
		if b := st.Book(); b.Len() != 254 || !slices.Equal(b.Users(), []string{"ann"}) || !slices.Equal(b.Clients(), []string{"ann"}) {
			t.Errorf("%s: %d rules, %v, %v", what, b.Len(), b.Users(), b.Clients())
		}
	}
	if books != 3 {
		t.Errorf("told of %d changes", books)
	}
	many = slices.Delete(many, 120, 121)
	if err := put(s, auth.Everybody(), many...); err != nil {
		t.Fatal(err)
	}
	if w := k.writes[len(k.writes)-1]; len(w) != 2 {
		t.Errorf("%d records for one rule of everybody", len(w))
	}
	if got := open(t, k).List(auth.Everybody()); !reflect.DeepEqual(got, many) {
		t.Error("the rules of everybody after one has gone")
	}
	for _, who := range []auth.Subject{auth.Everybody(), auth.UserNamed("ann"), auth.ClientNamed("ann")} {
		if err := put(s, who); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.lists) != 0 || s.Book().Len() != 0 {
		t.Errorf("%d records, %d rules are left", len(k.lists), s.Book().Len())
	}
}

func TestWhatIsNotKeptIsNotInForce(t *testing.T) {
	k := &kept{lists: map[string][]byte{}}
	s := open(t, k)
	good := Entry{Permission: "allow", Action: "all", Topic: "a"}
	k.err = errors.New("no disk")
	var ke *KeepError
	if err := put(s, auth.UserNamed("u"), good); !errors.As(err, &ke) || s.Book().Len() != 0 {
		t.Errorf("%v, %d rules", err, s.Book().Len())
	}
	k.err = nil
	if err := s.Change(auth.UserNamed("u"), func(l []Entry) ([]Entry, error) { return append(l, good), nil }, func() {
		if len(k.lists) != 1 || s.Book().Len() != 0 {
			t.Error("it is said before it is durable, or after it is in force")
		}
	}); err != nil || s.Book().Len() != 1 {
		t.Error(err)
	}
}

func TestEntriesThatAreRefused(t *testing.T) {
	s := open(t, &kept{lists: map[string][]byte{}})
	many := slices.Repeat([]Entry{{Permission: "allow", Action: "all", Topic: "a"}}, auth.SubjectRulesMax+1)
	for want, entries := range map[string][]Entry{
		"permission":            {{Action: "all", Topic: "a"}},
		"action":                {{Permission: "allow", Action: "pub", Topic: "a"}},
		"not a topic filter":    {{Permission: "allow", Action: "all", Topic: "a/#/b"}},
		"qos 3":                 {{Permission: "allow", Action: "all", Topic: "a", QoS: []int{3}}},
		"qos: 4 values":         {{Permission: "allow", Action: "all", Topic: "a", QoS: []int{1, 1, 1, 1}}},
		"retain":                {{Permission: "allow", Action: "publish", Topic: "a", Retain: "yes"}},
		"publishing only":       {{Permission: "allow", Action: "all", Topic: "a", Retain: "true"}},
		"cannot be granted":     {{Permission: "allow", Action: "all", Topic: "$SYS/#"}},
		"holds the placeholder": {{Permission: "allow", Action: "all", Topic: "a/%u"}, {Permission: "allow", Action: "all", Topic: "${user}"}},
		"at most 100":           many,
	} {
		if err := put(s, auth.UserNamed("u"), entries...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	if s.Book().Len() != 0 {
		t.Error("a refused list is in force")
	}
	for _, name := range []string{"", strings.Repeat("a", NameMax+1), "a\x00b", "\xff"} {
		if CheckName(name) == nil {
			t.Errorf("%.10q", name)
		}
	}
}

func TestRecordsThatCannotBeReadStopTheStart(t *testing.T) {
	good := `{"v":1,"rules":[{"permission":"allow","action":"all","topic":"a"}]}`
	for name, content := range map[string]string{
		"user\x00u": `{"v":2,"rules":[]}`, "user\x00v": `{`, "user\x00w": `{"v":1,"rules":[]}`, "user\x00": good, "other": good, "client\x00a\x00b": good,
		"all\x00000000": `{"v":1,"rules":[{"permission":"allow","action":"all","topic":"a","x":1}]}`,
		"user\x00x":     `{"v":1,"rules":[{"permission":"allow","action":"all","topic":"$SYS/#"}]}`,
	} {
		if _, err := Open(&kept{lists: map[string][]byte{name: []byte(content)}}); err == nil {
			t.Errorf("%q: %s was read", name, content)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"rules":[{"permission":"allow","action":"all","topic":"a/${username}/#","qos":[1],"retain":"all"}]}`))
	f.Add([]byte(`{"v":1,"rules":[{"permission":"deny","action":"publish","topic":"eq #","retain":"true"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		specs, err := decode(b)
		if err != nil {
			return
		}
		book, err := (*auth.Book)(nil).With(auth.UserNamed("u"), specs)
		if err != nil {
			return
		}
		s := &Store{}
		s.book.Store(book)
		again, err := decode(encode(s.List(auth.UserNamed("u"))))
		if err != nil || len(again) != len(specs) {
			t.Fatalf("%d rules became %d: %v", len(specs), len(again), err)
		}
	})
}
