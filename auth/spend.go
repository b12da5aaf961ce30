package auth

import "github.com/redoubtmq/redoubt/mqtt"

// Spender is an Authenticator that takes care that time does not tell whom it knows: what a
// refusal costs is the same for everybody. In a chain that is not enough. A client whom one
// of them knows is refused there, and one whom it does not know costs what the ones behind
// it cost, too; so these spend it for both.
type Spender interface {
	Authenticator
	// Spend does what Authenticate costs about a client that it does not know, judges
	// nothing, and calls done once: with nil, or with the refusal that Authenticate would
	// have had for anybody now. It never blocks.
	Spend(req *Request, done func(refusal *Result))
}

// secretly tells whether a refusal may be one that the others of the chain must make as dear
// as any: that of a password, by somebody who knows users.
func secretly(a *Link, r *Result) bool {
	_, spends := a.Authenticator.(Spender)
	return spends && r.Outcome != Allow && r.Reason == mqtt.BadUserNameOrPassword
}

// spend has the links from i on do what they would have done for a client that nobody knows,
// and then answers r. Where one would have refused anybody, busy as it is, that is the answer.
func (c *Chain) spend(i int, req *Request, r Result, done func(Result)) {
	for ; i < len(c.links); i++ {
		a := &c.links[i]
		applies, refusal := a.applies(req)
		if refusal != nil {
			done(*refusal)
			return
		}
		s, ok := a.Authenticator.(Spender)
		if !applies || !ok {
			continue
		}
		s.Spend(req, func(refusal *Result) {
			c.after(a.Name(), done, func(done func(Result)) {
				if refusal != nil {
					done(settle(a, req, *refusal))
					return
				}
				c.spend(i+1, req, r, done)
			})
		})
		return
	}
	done(r)
}
