// Package x509 is the authenticator that knows clients by their certificates: the listener
// has judged them, and this says who they are.
//
// Rules: checklist row P3.4; attack A117.
package x509

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Name is how configuration and auth.Principal call it.
const Name = "x509"

// Authenticator is the authenticator.
type Authenticator struct{}

// Name implements auth.Authenticator.
func (Authenticator) Name() string { return Name }

// Authenticate implements auth.Authenticator. It ignores who has shown no certificate, and
// refuses one whose name could not be a user's: rules would read it as something else. A
// user name or password that the client sends beside it says nothing.
func (Authenticator) Authenticate(req *auth.Request, done func(auth.Result)) {
	c := req.Certificate
	if c == (auth.Certificate{}) {
		done(auth.Result{Outcome: auth.Ignore, Detail: "the client has shown no certificate"})
		return
	}
	if err := builtin.CheckName(c.Name); err != nil {
		done(auth.Result{Outcome: auth.Deny, Reason: mqtt.NotAuthorized, Detail: "the name in the client's certificate: " + err.Error()})
		return
	}
	done(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: c.Name, Username: c.Name, Proof: proof(c.Fingerprint)}})
}

// proof is the first eight bytes of the fingerprint.
func proof(fingerprint string) uint64 {
	b, err := hex.DecodeString(fingerprint)
	if err != nil || len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
