package main

import (
	"maps"
	"testing"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/view"
)

// Sessions of users who were deleted end at the start, if a crash came before their end was
// in the log; those of other back ends are not known here.
func TestSessionsWithoutAUser(t *testing.T) {
	of := func(identity, method string) *view.Session {
		return &view.Session{Owner: fact.Owner{Identity: identity, Username: identity, Method: method}}
	}
	all := []*view.Session{of("there", builtin.Name), of("gone", builtin.Name), of("gone", builtin.Name), of("elsewhere", "certificate")}
	b := homecoming{gone: make(map[string]bool)}
	for _, s := range all {
		b.withoutUser(s, func(name string) bool { return name == "there" })
	}
	if !maps.Equal(b.gone, map[string]bool{"gone": true}) {
		t.Errorf("%v", b.gone)
	}
}
