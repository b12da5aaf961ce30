package tokens

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// memory is a Keeper that forgets at the end of the test.
type memory struct {
	kept map[string][]byte
	fail error
}

func (m *memory) Tokens(fn func([]byte) error) error {
	for _, c := range m.kept {
		if err := fn(bytes.Clone(c)); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Write(values ...Kept) error {
	if m.fail != nil {
		return m.fail
	}
	for _, v := range values {
		if m.kept[v.Name] = v.Content; v.Content == nil {
			delete(m.kept, v.Name)
		}
	}
	return nil
}

func nothing() {}

func open(t *testing.T, m *memory) *Revoked {
	t.Helper()
	v, err := Open(m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRevoked(t *testing.T) {
	m := &memory{kept: map[string][]byte{}}
	v := open(t, m)
	before := start.Unix()
	for _, r := range []*Revocation{
		{As: ByID, Who: "bad", By: "uid 0", Reason: "stolen", At: before},
		{As: ByID, Who: "short", At: before, Until: before + 60},
		{As: BySubject, Who: "bob", Before: before, At: before},
	} {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		inForce := false
		if err := v.Add(r, func() { inForce = v.Why(start, r.Who, r.Who, time.Unix(0, 0)) != "" }); err != nil || inForce {
			t.Fatalf("%v, in force before it is said: %v", err, inForce)
		}
	}
	for again, v := range []*Revoked{v, open(t, m)} { // and after a restart
		for _, c := range []struct {
			id, subject string
			issued, now time.Time
			want        string
		}{
			{"bad", "eve", start, start, "revoked, by uid 0 (stolen)"},
			{"good", "eve", start, start, ""},
			{"", "eve", start, start, ""},
			{"short", "eve", start, start.Add(59 * time.Second), "revoked"},
			{"short", "eve", start, start.Add(60 * time.Second), ""},
			{"x", "bob", start.Add(-time.Second), start, "made before 2026-03-01T12:00:00Z"},
			{"x", "bob", time.Unix(0, 0), start, "made before"},
			{"x", "bob", start, start, ""},
			{"bob", "x", time.Unix(0, 0), start, ""},
			{"x", "bad", start, start, ""},
		} {
			if got := v.Why(c.now, c.id, c.subject, c.issued); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("%d: %+v: %q", again, c, got)
			}
		}
		by := &auth.Principal{Identity: "bob", Claims: &auth.Claims{Issued: start.Add(-time.Hour)}}
		if v.Judge(start, by) == "" {
			t.Error("a live client with an old token is not judged")
		}
		by.Claims = &auth.Claims{TokenID: "bad"}
		if v.Judge(start, by) != "" || v.Judge(start, &auth.Principal{Identity: "bob"}) != "" {
			t.Error("who has shown no token is judged")
		}
	}
	if list := v.List(start.Add(time.Minute)); len(list) != 2 || list[0].Who != "bad" || list[1].As != BySubject {
		t.Errorf("%+v", list)
	}
	if n, err := v.Purge(start.Add(time.Minute), 10); n != 1 || err != nil || v.Len() != 2 || len(m.kept) != 2 {
		t.Errorf("purged %d, %v, %d left", n, err, v.Len())
	}
	if err := v.Restore(ByID, "bob", func(*Revocation) {}); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if err := v.Restore(ByID, "bad", func(*Revocation) {}); err != nil || v.Why(start, "bad", "", start) != "" || len(m.kept) != 1 {
		t.Errorf("restored: %v", err)
	}
}

// What could not be kept is not in force, and what cannot be read keeps the broker from starting.
func TestRevocationsThatAreNotKept(t *testing.T) {
	m := &memory{kept: map[string][]byte{}, fail: errors.New("full")}
	v := open(t, m)
	var keep *KeepError
	if err := v.Add(&Revocation{As: ByID, Who: "a"}, nothing); !errors.As(err, &keep) || v.Len() != 0 {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "{}", `{"v":2,"as":"jti","who":"a"}`, `{"v":1,"as":"jti","who":"a","new":1}`, `{"v":1,"as":"x","who":"a"}`} {
		if _, err := Open(&memory{kept: map[string][]byte{"x": []byte(text)}}); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func TestRevocationsThatAreRefused(t *testing.T) {
	for _, r := range []Revocation{
		{}, {As: "iss", Who: "a"}, {As: ByID}, {As: ByID, Who: strings.Repeat("a", WhoBytesMax+1)}, {As: ByID, Who: "a\n"}, {As: ByID, Who: "\xff"},
		{As: ByID, Who: "a", Before: 1}, {As: BySubject, Who: "a"}, {As: ByID, Who: "a", At: 10, Until: 10}, {As: ByID, Who: "a", Reason: strings.Repeat("a", TextBytesMax+1)},
	} {
		if r.Check() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	m := &memory{kept: map[string][]byte{}}
	v := open(t, m)
	v.ledger.max = 3
	for i := range v.ledger.max {
		v.all[key{ByID, fmt.Sprint(i)}] = &Revocation{As: ByID, Who: fmt.Sprint(i)}
	}
	if err := v.Add(&Revocation{As: ByID, Who: "one more"}, nothing); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if err := v.Add(&Revocation{As: ByID, Who: "1", Reason: "again"}, nothing); err != nil {
		t.Errorf("in place of another: %v", err)
	}
}

func FuzzContent(f *testing.F) {
	f.Add((&Revocation{As: BySubject, Who: "a", Before: 7, At: 3, Until: 9}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decode(b); err == nil {
			if again, err := decode(r.encode()); err != nil || *again != *r {
				t.Fatalf("%+v, %+v, %v", r, again, err)
			}
		}
	})
}
