package jwt

import (
	"crypto/ed25519"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// A bug that a token finds refuses that token; the worker goes on.
func TestABugEndsNoWorker(t *testing.T) {
	d := newDesk(t, byES(t))
	good := d.s.static
	d.s.algs = append(d.s.algs, "EdDSA")
	d.s.static = []key{{value: ed25519.PublicKey{1}}} // the library does not expect that
	token := sign(t, "EdDSA", ed, with(nil))
	for range 4 {
		d.wants("the bug", token, auth.Deny, "a bug was caught")
	}
	d.s.static = good
	d.wants("after it", sign(t, "ES256", ecKey, with(nil)), auth.Allow, "")
}
