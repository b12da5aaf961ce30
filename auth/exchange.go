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
	for _, a := range c.links {
		if m, is := a.(Mechanism); is && m.Method() == method {
			return settled{m, req, m.Begin(req)}, true
		}
	}
	return nil, false
}

// settled is an exchange whose answers are fit to act on.
type settled struct {
	by  Mechanism
	req *Request
	e   Exchange
}

// Step implements Exchange.
func (s settled) Step(data []byte, done func(Result)) {
	var answered atomic.Bool
	s.e.Step(data, func(r Result) {
		if !answered.CompareAndSwap(false, true) {
			return
		}
		if r.Outcome == Continue {
			done(Result{Outcome: Continue, Reason: mqtt.ContinueAuthentication, Data: r.Data})
			return
		}
		given := r.Data
		if r = settle(s.by, s.req, r); r.Outcome == Allow {
			r.Data = given
		}
		done(r)
	})
}
