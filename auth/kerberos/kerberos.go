// Package kerberos knows clients by Kerberos 5: by tickets for this service, over the SASL
// mechanism GSSAPI in AUTH packets. It is an acceptor and nothing else: it asks no KDC, has
// no credentials but the keys of its service, and takes AES only.
//
// Whatever a stranger sends is bounded before it is read, and read without allocating more
// than there is of it. Nothing here waits, and nothing outlives an exchange but the hashes of
// the authenticators that were shown.
//
// Rules: RFC 4120, RFC 4121, RFC 4752, RFC 3961, RFC 3962, RFC 8009; docs/adr/0017-kerberos.md.
package kerberos

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Method is the name of the authentication method, as EMQX has it.
const Method = "GSSAPI-KERBEROS"

// Skew is how far a client's clock may be from ours [RFC 4120 §10].
const Skew = 5 * time.Minute

// TokenBytesMax bounds a message of a client. A ticket with the groups of a large directory
// has some 12 KB; limits.connect_packet_bytes bounds the first one, too.
const TokenBytesMax = 15 << 10

// RealmsMax is how many realms may be let in.
const RealmsMax = 32

// Options are what cmd puts together.
type Options struct {
	Name      string // of the authenticator
	Principal Principal
	Keys      *Keytab
	// Realms are those whose clients are let in. One of them may be Bare: its clients are
	// called by their name alone, all others by name@REALM.
	Realms []string
	Bare   string
	Now    func() time.Time
	Random io.Reader // nil: the system's
}

// ParsePrincipal reads service/host@REALM.
func ParsePrincipal(s string) (p Principal, err error) {
	name, realm, ok := strings.Cut(s, "@")
	p = Principal{Realm: realm, Parts: strings.Split(name, "/")}
	if !ok || len(p.Parts) != 2 {
		return p, errors.New("is not of the form service/host@REALM")
	}
	for _, part := range append(p.Parts, realm) {
		if part == "" || len(part) > nameMax || strings.ContainsFunc(part, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`/@\`, c) }) {
			return p, errors.New("is not of the form service/host@REALM")
		}
	}
	return p, nil
}

// Authenticator implements auth.Authenticator and auth.Mechanism. It is safe for concurrent
// use.
type Authenticator struct {
	o       Options
	began   time.Time // what was made before may have been shown to a process of before
	replays replays
}

// Check tells what is wrong with the realms.
func (o *Options) Check() error {
	switch {
	case len(o.Realms) == 0 || len(o.Realms) > RealmsMax:
		return fmt.Errorf("there are %d realms; there must be 1 to %d", len(o.Realms), RealmsMax)
	case o.Bare != "" && !slices.Contains(o.Realms, o.Bare):
		return errors.New("bare_realm is not one of realms")
	}
	return nil
}

// New makes one.
func New(o Options) (*Authenticator, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return &Authenticator{o: o, began: o.Now().Add(-time.Second), replays: replays{keep: 2*Skew + time.Second}}, nil
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return a.o.Name }

// Authenticate implements auth.Authenticator: a password is not its business.
func (a *Authenticator) Authenticate(_ *auth.Request, done func(auth.Result)) {
	done(auth.Result{Outcome: auth.Ignore, Detail: "the client names no Authentication Method of Kerberos; a trial cannot show one"})
}

// Method implements auth.Mechanism.
func (a *Authenticator) Method() string { return Method }

// Begin implements auth.Mechanism.
func (a *Authenticator) Begin(req *auth.Request) auth.Exchange { return &exchange{a: a, req: req} }

// identity is what a client is called here.
func (a *Authenticator) identity(p Principal) (string, error) {
	if !slices.Contains(a.o.Realms, p.Realm) {
		return "", wrongf("is of realm %s, which is not one of realms", p.Realm)
	}
	if len(p.Parts) != 1 {
		return "", wrongf("is of %v, and a name of several parts cannot be part of a topic", p)
	}
	if p.Realm == a.o.Bare {
		return p.Parts[0], nil
	}
	return p.String(), nil
}

func deny(reason mqtt.ReasonCode, detail string) auth.Result {
	return auth.Result{Outcome: auth.Deny, Reason: reason, Detail: detail}
}
