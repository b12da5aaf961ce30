package auth

import (
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Link is one authenticator of a chain.
type Link struct {
	Authenticator
	// When tells whether the authenticator is asked about a client; it does not block.
	// An error denies: what cannot be judged may have been meant to keep somebody out.
	// nil: always.
	When func(*Request) (bool, error)
}

// Chain asks authenticators in order until one does not answer Ignore. It is
// immutable and safe for concurrent use.
type Chain struct {
	links   []Link
	sources []Loader // asked about those who are let in
	clock   clock.Clock
	observe func(by string, r Result, took time.Duration)
	passed  func(by string) // told of links whose condition does not hold; nil: nobody is
	caught  func(fault any) // told of bugs; nil: nobody is
}

// NewChain makes a chain. An empty one denies everybody.
func NewChain(as ...Authenticator) *Chain {
	links := make([]Link, len(as))
	for i, a := range as {
		links[i].Authenticator = a
	}
	return NewChainOf(links...)
}

// NewChainOf makes a chain of links that have conditions.
func NewChainOf(links ...Link) *Chain { return &Chain{links: append([]Link(nil), links...)} }

// Observed is the chain with somebody who is told each answer of each authenticator, as
// the chain acts on it, and how long it took. observe does not block; it is called from
// wherever the answer comes.
func (c *Chain) Observed(clk clock.Clock, observe func(by string, r Result, took time.Duration)) *Chain {
	next := *c
	next.clock, next.observe = clk, observe
	return &next
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
	a := &c.links[i]
	if applies, refusal := a.applies(req); refusal != nil {
		c.saw(a, *refusal, c.start())
		done(*refusal)
		return
	} else if !applies {
		if c.passed != nil {
			c.passed(a.Name())
		}
		c.ask(i+1, req, done)
		return
	}
	began := c.start()
	var answered atomic.Bool // a back end that answers twice must not connect a client twice
	a.Authenticate(req, func(r Result) {
		if answered.CompareAndSwap(false, true) {
			c.after(a.Name(), done, func(done func(Result)) { c.answered(i, req, r, began, done) })
		}
	})
}

// answered goes on with what link i has said.
func (c *Chain) answered(i int, req *Request, r Result, began time.Time, done func(Result)) {
	a := &c.links[i]
	if r.Outcome == Ignore {
		c.saw(a, r, began)
		c.ask(i+1, req, done)
		return
	}
	r = settle(a, req, r)
	c.saw(a, r, began)
	if secretly(a, &r) {
		c.spend(i+1, req, r, done)
		return
	}
	c.enter(r, done)
}

// applies tells whether a link is about this client.
func (a *Link) applies(req *Request) (yes bool, refusal *Result) {
	if a.When == nil {
		return true, nil
	}
	yes, err := a.When(req)
	if err != nil {
		return false, &Result{Outcome: Deny, Reason: mqtt.NotAuthorized, By: a.Name(), Detail: "the condition of authenticator " + a.Name() + " cannot be judged for this client: " + err.Error()}
	}
	return yes, nil
}

func (c *Chain) start() time.Time {
	if c.observe == nil {
		return time.Time{}
	}
	return c.clock.Now()
}

func (c *Chain) saw(a Authenticator, r Result, began time.Time) {
	if c.observe != nil {
		c.observe(a.Name(), r, c.clock.Now().Sub(began))
	}
}

// settle makes an answer fit to act on: whatever is not a complete Allow is a
// refusal with a reason code the client can be told.
func settle(a Authenticator, req *Request, r Result) Result {
	r.Data = nil // only an exchange has something to say beside the reason code
	switch r.Outcome {
	case Allow:
		if r.Principal.Identity == "" {
			return Result{Outcome: Deny, Reason: mqtt.NotAuthorized, By: a.Name(), Detail: "authenticator " + a.Name() + " allowed a client without an identity"}
		}
		r.Reason = mqtt.Success
		r.Principal.ClientID, r.Principal.Listener, r.Principal.Addr = req.ClientID, req.Listener, req.Addr
		r.Principal.Claims = r.Principal.Claims.certified(req.Certificate.CommonName)
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
	r.Principal, r.By = Principal{}, a.Name()
	return r
}
