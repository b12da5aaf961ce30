// Package cinfo is the authenticator that goes by what is known of a client before anybody
// asks for a secret: names, address, listener and certificate. Its checks are conditions,
// and the first that holds decides. It fails closed: a condition that looks at what is not
// there denies, whatever the check would have said, because it may have been written to keep
// somebody out.
//
// Rules: the names and results of EMQX's cinfo; checklist row P4.1.
package cinfo

import (
	"errors"
	"fmt"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/condition"
	"github.com/redoubtmq/redoubt/mqtt"
)

const (
	// ChecksMax bounds the checks of one authenticator.
	ChecksMax = 100
	// MatchMax bounds the conditions of one check.
	MatchMax = 16
)

// Check is one check as written.
type Check struct {
	Match  []string // conditions that all have to hold
	Result string   // allow | deny | ignore
	// Identity is what an allowed client is, beside allow only: username, which the client
	// has written itself, or cert_common_name, which its certificate says.
	Identity string
}

// The words of Check.
const (
	Allow            = "allow"
	Deny             = "deny"
	Ignore           = "ignore"
	ByUsername       = "username"
	ByCertCommonName = "cert_common_name"
)

type check struct {
	match   []*condition.Program
	outcome auth.Outcome
	byCert  bool
}

// Authenticator implements auth.Authenticator. It answers at once.
type Authenticator struct {
	name   string
	checks []check
}

// New compiles checks. Errors say which and what is wrong with it.
func New(name string, checks []Check) (*Authenticator, error) {
	if len(checks) == 0 {
		return nil, errors.New("has no checks; write some, or leave it out of the chain")
	}
	if len(checks) > ChecksMax {
		return nil, fmt.Errorf("has %d checks; at most %d are allowed", len(checks), ChecksMax)
	}
	a := &Authenticator{name: name}
	for i := range checks {
		c, err := compile(&checks[i])
		if err != nil {
			return nil, fmt.Errorf("checks[%d].%w", i, err)
		}
		a.checks = append(a.checks, c)
	}
	return a, nil
}

func compile(w *Check) (c check, err error) {
	switch w.Result {
	case Allow:
		c.outcome = auth.Allow
	case Deny:
		c.outcome = auth.Deny
	case Ignore:
	default:
		return c, fmt.Errorf("result: %q; write allow, deny or ignore", w.Result)
	}
	switch {
	case w.Identity == "" && c.outcome == auth.Allow:
		return c, errors.New("identity: is missing; an allowed client is somebody: write username or cert_common_name")
	case w.Identity != "" && c.outcome != auth.Allow:
		return c, errors.New("identity: belongs to allow only; remove it")
	case w.Identity != "" && w.Identity != ByUsername && w.Identity != ByCertCommonName:
		return c, fmt.Errorf("identity: %q; write username or cert_common_name", w.Identity)
	}
	c.byCert = w.Identity == ByCertCommonName
	if len(w.Match) == 0 || len(w.Match) > MatchMax {
		return c, fmt.Errorf("is_match: %d conditions; write 1 to %d, true for all clients", len(w.Match), MatchMax)
	}
	for i, text := range w.Match {
		p, err := condition.Compile(text)
		if err != nil {
			return c, fmt.Errorf("is_match[%d]: %w", i, err)
		}
		c.match = append(c.match, p)
	}
	return c, nil
}

// Name implements auth.Authenticator.
func (a *Authenticator) Name() string { return a.name }

// Authenticate implements auth.Authenticator.
func (a *Authenticator) Authenticate(req *auth.Request, done func(auth.Result)) { done(a.judge(req)) }

func (a *Authenticator) judge(req *auth.Request) auth.Result {
	in := condition.OfRequest(req)
	for i := range a.checks {
		c := &a.checks[i]
		holds := true
		for _, p := range c.match {
			ok, err := p.Eval(in)
			if err != nil {
				return a.denied(fmt.Sprintf("check %d cannot be judged for this client: %v", i+1, err))
			}
			if holds = ok; !holds {
				break
			}
		}
		switch {
		case !holds:
		case c.outcome == auth.Allow:
			return a.allowed(req, i, c.byCert)
		case c.outcome == auth.Deny:
			return a.denied(fmt.Sprintf("check %d denies", i+1))
		default:
			return auth.Result{Outcome: auth.Ignore, Detail: fmt.Sprintf("check %d says ignore", i+1)}
		}
	}
	return auth.Result{Outcome: auth.Ignore, Detail: "none of its checks holds for the client"}
}

func (a *Authenticator) allowed(req *auth.Request, i int, byCert bool) auth.Result {
	who := req.Username
	if byCert {
		who = req.Certificate.CommonName
	}
	if err := builtin.CheckName(who); err != nil {
		return a.denied(fmt.Sprintf("check %d allows, but the name is none: %v", i+1, err))
	}
	return auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: who, Username: who}}
}

func (a *Authenticator) denied(detail string) auth.Result {
	return auth.Result{Outcome: auth.Deny, Reason: mqtt.NotAuthorized, Detail: a.name + ": " + detail}
}

var _ auth.Authenticator = (*Authenticator)(nil)
