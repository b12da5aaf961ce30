package builtin

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// What is spent when another of the chain has refused a client is what a user costs who does
// not exist, and finds out nothing: not even that the password is the right one.
func TestSpendingCostsOneHash(t *testing.T) {
	d := newDesk(t, Options{Workers: 1})
	d.add("ann")
	generated := d.addGenerated("bob")
	spend := func(user, password string) *auth.Result {
		got := make(chan *auth.Result, 1)
		d.auth.Spend(request(user, password), func(r *auth.Result) { got <- r })
		return <-got
	}
	before := d.auth.Stats()
	for _, user := range []string{"ann", "nobody"} {
		for _, password := range []string{canary, "wrong"} {
			if r := spend(user, password); r != nil {
				t.Errorf("%s: %+v", user, r)
			}
		}
	}
	if s := d.auth.Stats(); s.Argon2id != before.Argon2id+4 || s.SHA256 != before.SHA256 || s.CacheHits != 0 {
		t.Errorf("%+v", s)
	}
	if r := spend("bob", generated); r != nil || d.auth.Stats().SHA256 != before.SHA256+1 {
		t.Errorf("%+v, %+v", r, d.auth.Stats())
	}
	if r := spend("ann", ""); r != nil || d.auth.Stats().Argon2id != before.Argon2id+4 {
		t.Errorf("without a password: %+v", r)
	}
	d.auth.Close()
	if r := spend("ann", "wrong"); r == nil || r.Outcome != auth.Unavailable {
		t.Errorf("closed: %+v", r)
	}
}
