package builtin

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
)

// A temporary user is a user in everything but that nobody keeps it, and ends by itself.
func TestTemporaryUserEndsByItself(t *testing.T) {
	d := newDesk(t, Options{})
	d.add("ann")
	var told []string
	d.OnChange(func(names []string) { told = append(told, names...) })
	v, until, err := d.AddTemporary("tmp", time.Minute)
	if err != nil || !until.Equal(start.Add(time.Minute)) {
		t.Fatalf("until %v, %v", until, err)
	}
	enters := func(password string) bool {
		r, inline := d.login(request("tmp", password))
		if r.Outcome != auth.Allow && (r.Reason != denied("").Reason || r.Outcome != auth.Deny) {
			t.Errorf("refused unlike others: %+v", r)
		}
		return r.Outcome == auth.Allow && inline && r.Principal.Identity == "tmp" && r.Principal.Method == Name
	}
	own := string(v.Reveal())
	if !enters(own) || enters(own[:len(own)-1]+"!") || enters(canary) || !d.Known("tmp") {
		t.Error("it does not enter like a user with a generated secret")
	}
	if d.Len() != 1 || len(d.List()) != 1 {
		t.Errorf("it is listed: %v", d.List())
	}
	d.add("bob")
	if !enters(own) || len(told) > 0 {
		t.Errorf("another user's change touched it, told %v", told)
	}
	if len(d.kept.users) != 2 || d.kept.users["tmp"] != nil {
		t.Error("it is kept")
	}
	d.clock.Advance(time.Minute - 1)
	if names, next := d.ExpireTemporary(); len(names) > 0 || !next.Equal(until) || !enters(own) {
		t.Errorf("a moment early: %v, next %v", names, next)
	}
	d.clock.Advance(1)
	if enters(own) || d.Known("tmp") {
		t.Error("it enters after its time, before anybody swept")
	}
	if names, next := d.ExpireTemporary(); !slices.Equal(names, []string{"tmp"}) || !next.IsZero() || !slices.Equal(told, names) {
		t.Errorf("expired %v, next %v, told %v", names, next, told)
	}
}

func TestTemporaryUserEndsWhenTold(t *testing.T) {
	d := newDesk(t, Options{})
	var told []string
	d.OnChange(func(names []string) { told = append(told, names...) })
	v, _, err := d.AddTemporary("tmp", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.EndTemporary("tmp"); err != nil {
		t.Fatal(err)
	}
	if r, _ := d.login(request("tmp", string(v.Reveal()))); r.Outcome != auth.Deny || !slices.Equal(told, []string{"tmp"}) {
		t.Errorf("%+v, told %v", r, told)
	}
	if err := d.EndTemporary("tmp"); !errors.Is(err, ErrUnknown) || len(told) != 1 {
		t.Errorf("ended twice: %v, told %v", err, told)
	}
}

func TestTemporaryUsersAreFewAndShort(t *testing.T) {
	d := newDesk(t, Options{})
	d.add("ann")
	for _, life := range []time.Duration{-1, 0, TemporaryLifeMax + 1} {
		if _, _, err := d.AddTemporary("tmp", life); err == nil {
			t.Errorf("a life of %v was accepted", life)
		}
	}
	for _, name := range []string{"", "a/b", "#", "$x"} {
		if _, _, err := d.AddTemporary(name, time.Second); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	if _, _, err := d.AddTemporary("ann", time.Second); !errors.Is(err, ErrExists) {
		t.Errorf("in the place of a user: %v", err)
	}
	for i := range TemporaryMax {
		if _, _, err := d.AddTemporary("tmp"+string(rune('a'+i)), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := d.AddTemporary("tmpa", time.Second); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if _, _, err := d.AddTemporary("more", time.Second); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	d.clock.Advance(time.Second)
	if names, _ := d.ExpireTemporary(); len(names) != TemporaryMax {
		t.Errorf("expired %v", names)
	}
	if _, _, err := d.AddTemporary("more", time.Second); err != nil {
		t.Error(err)
	}
}
