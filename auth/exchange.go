package auth

import (
	"sync/atomic"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Mechanism is an authenticator that proves an identity in several steps
// [§4.12 enhanced authentication]. A chain gives a CONNECT with an Authentication
// Method to the first mechanism of that name, and to nobody else.
type Mechanism interface {
	Authenticator
	// Method is the name clients use, such as SCRAM-SHA-256.
	Method() string
	// Begin starts an exchange with one client. It does no work and keeps no
	// state beyond what it answers; req is not changed afterwards.
	Begin(req *Request) Exchange
}

// Exchange is one conversation of a mechanism with one client.
type Exchange interface {
	// Step takes the Authentication Data the client sent, nil if it sent none, and
	// calls done exactly once, possibly before it returns, possibly later from a
	// goroutine of its own. It never blocks, and the next Step comes after done.
	// The outcome is Continue with data for the client, Allow with data or none,
	// Deny or Unavailable; how many steps there are is the mechanism's to bound.
	Step(data []byte, done func(Result))
}

// Begin starts an exchange with the chain's mechanism of that method. ok is false
// if it has none; the client is then refused [MQTT-4.12.0-1].
func (c *Chain) Begin(method string, req *Request) (e Exchange, ok bool) {
	for i := range c.links {
		a := &c.links[i]
		for _, m := range mechanismsOf(a.Authenticator) {
			if m.Method() != method {
				continue
			}
			applies, refusal := a.applies(req)
			if refusal != nil {
				c.saw(a, *refusal, c.start())
				return refused(*refusal), true
			}
			if applies {
				return settled{c, m, req, m.Begin(req)}, true
			}
		}
	}
	return nil, false
}

// Mechanisms is an authenticator that has several, such as SCRAM with SHA-256 and with
// SHA-512.
type Mechanisms interface {
	Authenticator
	Mechanisms() []Mechanism
}

func mechanismsOf(a Authenticator) []Mechanism {
	switch a := a.(type) {
	case Mechanisms:
		return a.Mechanisms()
	case Mechanism:
		return []Mechanism{a}
	}
	return nil
}

// refused is the exchange with a client whose link's condition cannot be judged.
type refused Result

// Step implements Exchange.
func (r refused) Step(_ []byte, done func(Result)) { done(Result(r)) }

// settled is an exchange whose answers are fit to act on.
type settled struct {
	chain *Chain
	by    Mechanism
	req   *Request
	e     Exchange
}

// Step implements Exchange.
func (s settled) Step(data []byte, done func(Result)) {
	began := s.chain.start()
	var answered atomic.Bool
	s.e.Step(data, func(r Result) {
		if !answered.CompareAndSwap(false, true) {
			return
		}
		if r.Outcome == Continue {
			done(Result{Outcome: Continue, Reason: mqtt.ContinueAuthentication, Data: r.Data})
			return
		}
		s.chain.after(s.by.Name(), done, func(done func(Result)) {
			given := r.Data
			if r = settle(s.by, s.req, r); r.Outcome == Allow {
				r.Data = given
			}
			s.chain.saw(s.by, r, began)
			s.chain.enter(r, done)
		})
	})
}
