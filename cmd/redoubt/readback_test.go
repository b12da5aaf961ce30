package main

import (
	"context"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
)

// forgetful says of every user that it was added, and has those in has.
type forgetful struct {
	admin.Users
	has []admin.User
}

func (f *forgetful) List(_ context.Context, q admin.UserQuery) (page admin.UserPage, _ error) {
	for _, u := range f.has[q.Page-1:] {
		page.Data = append(page.Data, u)
		page.Meta.HasNext = q.Page < len(f.has)
		return page, nil
	}
	return page, nil
}

// What was accepted and is not there is an error, and what is printed is what is there.
func TestReadBack(t *testing.T) {
	users := &forgetful{has: []admin.User{{UserID: "alice"}, {UserID: "alice2", HashAlgorithm: "kept"}}}
	set := admin.User{UserID: "alice2", HashAlgorithm: "said", Password: new(admin.ShownOnce)}
	got, err := readUser(t.Context(), users, set)
	if err != nil || got.HashAlgorithm != "kept" || got.Password != set.Password {
		t.Errorf("%+v, %v", got, err)
	}
	set.UserID = "bob"
	if _, err := readUser(t.Context(), users, set); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("a user that nobody kept: %v", err)
	}
	each := func(fn func(*int) error) error {
		for i := range 3 {
			if err := fn(&i); err != nil {
				return err
			}
		}
		return nil
	}
	if n, err := readBack(each, func(i *int) bool { return *i == 1 }); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := readBack(each, func(i *int) bool { return *i == 3 }); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("what is not there: %v", err)
	}
}
