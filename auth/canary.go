package auth

import (
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Canary is what a chain did with a client that does not exist, and with stand-ins in the
// places of its authenticators.
type Canary struct {
	// Down is the authenticator that could not tell, those before it knew nothing of the
	// client and those behind it would have let him in; empty: there is none.
	Down string
	// Knows is the authenticator that let him in, the last of the chain: the positive control
	// of the others. With neither, nobody of the chain knew him.
	Knows string
	// Forced says that the conditions of all links were taken as met, so that each was asked;
	// else they were judged as they are.
	Forced  bool
	Asked   []string // who was asked, in that order
	Outcome Outcome  // what the client would have been answered; Ignore: nothing
	Reason  mqtt.ReasonCode
	Answers int // how often
}

// Reached tells whether the fault came to pass: where the condition of the one that is down
// does not hold for the client, nobody asked it.
func (c *Canary) Reached() bool { return c.Down == "" || slices.Contains(c.Asked, c.Down) }

// Canary asks the chain, as it is in force and with its conditions, about somebody who has
// been made up, while its authenticators are replaced: once by such as know nothing of him,
// for each of them once by one that cannot tell now, and the last by one that knows him. Nothing but the chain itself is
// tried. Neither an authenticator nor a source of rules is asked, nobody is told, and nobody
// comes in. It does not block; a stand-in answers at once.
func (c *Chain) Canary(req *Request) []Canary {
	return canaries(c.links, req, func(links []Link) asker {
		next := *c
		next.links, next.sources, next.observe, next.passed = links, nil, nil, nil
		return &next
	})
}

// asker is a chain, or what a test has in its place.
type asker interface {
	Authenticate(req *Request, done func(Result))
}

func canaries(links []Link, req *Request, chain func([]Link) asker) (all []Canary) {
	modes := []bool{false}
	if slices.ContainsFunc(links, func(l Link) bool { return l.When != nil }) {
		modes = append(modes, true)
	}
	for _, forced := range modes {
		for at := range len(links) + 1 {
			all = append(all, canary(links, at, Unavailable, forced, req, chain))
		}
	}
	if len(links) > 0 {
		all = append(all, canary(links, len(links)-1, Allow, modes[len(modes)-1], req, chain))
	}
	return all
}

// canary is one of them: the links before at do not know the client, that one says what is
// given, and those behind it would let him in.
func canary(links []Link, at int, answer Outcome, forced bool, req *Request, chain func([]Link) asker) Canary {
	c := Canary{Forced: forced}
	var mu sync.Mutex // guards c: a chain may answer from anywhere
	asked := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		c.Asked = append(c.Asked, name)
	}
	in := make([]Link, len(links))
	for i := range links {
		in[i] = links[i]
		if forced {
			in[i].When = nil
		}
		s := standIn{name: links[i].Name(), asked: asked}
		switch {
		case i == at:
			s.answer = answer
		case i > at:
			s.answer = Allow
		}
		in[i].Authenticator = s
	}
	if at < len(links) {
		if c.Down = links[at].Name(); answer == Allow {
			c.Down, c.Knows = "", c.Down
		}
	}
	chain(in).Authenticate(req, func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		if c.Answers++; c.Answers == 1 || r.Outcome == Allow {
			c.Outcome, c.Reason = r.Outcome, r.Reason
		}
	})
	mu.Lock()
	defer mu.Unlock()
	c.Asked = slices.Clone(c.Asked)
	return c
}

// standIn is in the place of an authenticator, and says what it was told to say.
type standIn struct {
	name   string
	answer Outcome
	asked  func(name string)
}

// Name implements Authenticator.
func (s standIn) Name() string { return s.name }

// Authenticate implements Authenticator.
func (s standIn) Authenticate(_ *Request, done func(Result)) {
	s.asked(s.name)
	r := Result{Outcome: s.answer, Detail: "a stand-in of redoubt doctor"}
	if s.answer == Allow {
		r.Principal = Principal{Identity: "canary"}
	}
	done(r)
}
