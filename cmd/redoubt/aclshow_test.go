package main

import (
	"testing"

	"github.com/redoubtmq/redoubt/admin"
)

// What a list of the rules for all leaves out is said below it.
func TestAclShowSaysWhatItLeavesOut(t *testing.T) {
	for want, list := range map[string]admin.RuleList{
		"": {},
		"and 3 built-in rules for single users and clients (redoubt acl list); for each client: claims, rights (redoubt acl show CLIENT)\n": {Own: 3, Sources: []string{"claims", "rights"}},
	} {
		if got := besides(&list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
