package auth

import (
	"sync/atomic"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Caught is the chain with somebody who is told of bugs in it, from wherever they are.
func (c *Chain) Caught(caught func(fault any)) *Chain {
	next := *c
	next.caught = caught
	return &next
}

// after does what follows an answer: the links behind it, the sources of rules. That may be on
// a goroutine of an authenticator that has said what it has to say, and nobody there knows of
// the client any more. A bug in what follows must neither end that one nor leave the client
// without an answer until its deadline: it is refused, and may try again.
func (c *Chain) after(by string, done func(Result), follow func(done func(Result))) {
	var answered atomic.Bool
	once := func(r Result) {
		if answered.CompareAndSwap(false, true) {
			done(r)
		}
	}
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if c.caught != nil {
			c.caught(fault)
		}
		once(Result{Outcome: Unavailable, Reason: mqtt.ServerUnavailable, Detail: "BUG: a bug was caught in what follows the answer of authenticator " + by})
	}()
	follow(once)
}
