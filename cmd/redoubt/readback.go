package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/admin"
)

// What a command has made is asked for again, and that is what it prints: an answer that
// repeats the question is no proof that anything was kept.

// notReadBack says that what was made is not there, or that nobody could look.
func notReadBack(err error) error {
	if err != nil {
		return fmt.Errorf("it was accepted, and could not be read back: %w", err)
	}
	return errors.New("it was accepted, and is not there: somebody else may have changed it meanwhile; look at the list")
}

// errFound ends a walk.
var errFound = errors.New("found")

// readBack finds what was made in a list of the broker.
func readBack[T any](each func(fn func(*T) error) error, is func(*T) bool) (out T, err error) {
	err = each(func(v *T) error {
		if !is(v) {
			return nil
		}
		out = *v
		return errFound
	})
	if errors.Is(err, errFound) {
		return out, nil
	}
	return out, notReadBack(err)
}

// readUser finds a user that was set; the password, which is answered this once, stays.
func readUser(ctx context.Context, users admin.Users, set admin.User) (admin.User, error) {
	like := set.UserID
	if len(like) > 256 { // more than the list takes
		like = ""
	}
	for n := 1; ; n++ {
		page, err := users.List(ctx, admin.UserQuery{Page: n, Limit: 1000, Like: like})
		if err != nil {
			return set, notReadBack(err)
		}
		for _, u := range page.Data {
			if u.UserID == set.UserID {
				u.Password = set.Password
				return u, nil
			}
		}
		if !page.Meta.HasNext {
			return set, notReadBack(nil)
		}
	}
}
