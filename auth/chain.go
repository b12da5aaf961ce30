package auth

import (
	"sync/atomic"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Chain asks authenticators in order until one does not answer Ignore. It is
// immutable and safe for concurrent use.
type Chain struct{ links []Authenticator }

// NewChain makes a chain. An empty one denies everybody.
func NewChain(as ...Authenticator) *Chain {
	return &Chain{links: append([]Authenticator(nil), as...)}
}

// Names lists the authenticators in the order they are asked.
func (c *Chain) Names() []string {
	names := make([]string, len(c.links))
	for i, a := range c.links {
		names[i] = a.Name()
	}
	return names
}

// Authenticate calls done exactly once, from this goroutine or from one of an
// authenticator's. Allow is passed on only with an identity; Unavailable stops
// the chain, so that an attacker cannot skip a back end by overloading it.
func (c *Chain) Authenticate(req *Request, done func(Result)) { c.ask(0, req, done) }

func (c *Chain) ask(i int, req *Request, done func(Result)) {
	if i >= len(c.links) {
		done(Result{Outcome: Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "no authenticator of the chain knows this client"})
		return
	}
	a := c.links[i]
	var answered atomic.Bool // a back end that answers twice must not connect a client twice
	a.Authenticate(req, func(r Result) {
		if !answered.CompareAndSwap(false, true) {
			return
		}
		if r.Outcome == Ignore {
			c.ask(i+1, req, done)
			return
		}
		done(settle(a, req, r))
	})
}

// settle makes an answer fit to act on: whatever is not a complete Allow is a
// refusal with a reason code the client can be told.
func settle(a Authenticator, req *Request, r Result) Result {
	r.Data = nil // only an exchange has something to say beside the reason code
	switch r.Outcome {
	case Allow:
		if r.Principal.Identity == "" {
			return Result{Outcome: Deny, Reason: mqtt.NotAuthorized, Detail: "authenticator " + a.Name() + " allowed a client without an identity"}
		}
		r.Reason = mqtt.Success
		r.Principal.ClientID, r.Principal.Listener, r.Principal.Addr = req.ClientID, req.Listener, req.Addr
		if r.Principal.Method == "" {
			r.Principal.Method = a.Name()
		}
		return r
	case Unavailable:
		if r.Reason < mqtt.UnspecifiedError {
			r.Reason = mqtt.ServerUnavailable
		}
	case Deny:
		if r.Reason < mqtt.UnspecifiedError {
			r.Reason = mqtt.NotAuthorized
		}
	default:
		r = Result{Reason: mqtt.NotAuthorized, Detail: "authenticator " + a.Name() + " gave an answer that does not exist"}
		r.Outcome = Deny
	}
	r.Principal = Principal{}
	return r
}
