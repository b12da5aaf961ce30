package auth

import (
	"sync"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Loader is a source of rules that has to be asked about each client (a database, say).
// Implementations are safe for concurrent use and never block.
type Loader interface {
	// Name is its place in authz.order.
	Name() string
	// Load calls done exactly once, perhaps before it returns: with the rules of the
	// client, which may be none, or with why they cannot be known.
	Load(by *Principal, done func(Own, error))
}

// Sourced is the chain for clients who are let in with the rules that these sources have for
// them, in Claims.Rules. A source that cannot be asked refuses the client: what it would have
// denied is not known.
func (c *Chain) Sourced(sources ...Loader) *Chain {
	next := *c
	next.sources = sources
	return &next
}

// enter asks the sources about a client who is allowed, all at the same time, and calls done
// with the answer.
func (c *Chain) enter(r Result, done func(Result)) {
	if r.Outcome != Allow || len(c.sources) == 0 {
		done(r)
		return
	}
	g := &gathering{left: len(c.sources), own: make([]Own, len(c.sources)), result: r, done: done}
	by := r.Principal // the copy that sources look at
	for i, s := range c.sources {
		s.Load(&by, func(own Own, err error) { g.got(i, s.Name(), own, err) })
	}
}

// gathering is one client whose rules are on their way.
type gathering struct {
	result Result
	done   func(Result)

	mu      sync.Mutex // guards everything below
	left    int
	own     []Own
	refusal string // of the first that cannot be asked
	by      string // who that is
}

func (g *gathering) got(i int, name string, own Own, err error) {
	g.mu.Lock()
	g.own[i] = own
	if err != nil && g.refusal == "" {
		g.by = name
		g.refusal = "the rules of this client in " + name + " cannot be known: " + err.Error()
	}
	g.left--
	over := g.left == 0
	g.mu.Unlock()
	if !over {
		return
	}
	if g.refusal != "" {
		g.done(Result{Outcome: Unavailable, Reason: mqtt.ServerUnavailable, Detail: g.refusal, By: g.by, Proven: &g.result.Principal})
		return
	}
	claims := Claims{}
	if had := g.result.Principal.Claims; had != nil {
		claims = *had
	}
	claims.Rules = append(append([]Own(nil), claims.Rules...), g.own...)
	g.result.Principal.Claims = &claims
	g.done(g.result)
}
