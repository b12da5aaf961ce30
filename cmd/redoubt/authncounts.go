package main

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
)

// answers counts what one authenticator has answered. Anybody adds to it.
type answers struct {
	outcomes [4]atomic.Uint64 // by auth.Outcome, up to Unavailable
	took     [len(backend.TookBounds) + 1]atomic.Uint64
}

func (a *answers) add(o auth.Outcome, took time.Duration) {
	if int(o) >= len(a.outcomes) { // a step of an exchange is no answer yet
		return
	}
	a.outcomes[o].Add(1)
	at := len(backend.TookBounds)
	for i, most := range backend.TookBounds {
		if took <= most {
			at = i
			break
		}
	}
	a.took[at].Add(1)
}

// authnCounting are the counts of who is asked now, by name; nobody changes the map.
type authnCounting struct {
	counts atomic.Pointer[map[string]*answers]
}

// countAnswers begins with who the chains of listeners name, and answers what adds to it. Names that
// stay have the counts that they had.
func (n *node) countAnswers(c *config.Config) func(by string, r auth.Result, took time.Duration) {
	old, next := n.counting.counts.Load(), map[string]*answers{}
	for _, ln := range c.Listeners {
		for _, name := range c.Authn.Chains[ln.Authn] {
			if next[name] != nil {
				continue
			}
			if next[name] = (&answers{}); old != nil && (*old)[name] != nil {
				next[name] = (*old)[name]
			}
		}
	}
	n.counting.counts.Store(&next)
	return func(by string, r auth.Result, took time.Duration) {
		if a := next[by]; a != nil {
			a.add(r.Outcome, took)
		}
	}
}

// reportAnswers gives the series of authenticators to the registry.
func (n *node) reportAnswers() {
	each := func(fn func(name string, a *answers)) {
		if now := n.counting.counts.Load(); now != nil {
			for _, name := range sortedKeys(*now) {
				fn(name, (*now)[name])
			}
		}
	}
	n.metrics.GaugeVector(metrics.AuthnAnswers, func(set func(value int64, labels ...string)) {
		each(func(name string, a *answers) {
			for o := range a.outcomes {
				set(int64(a.outcomes[o].Load()), name, auth.Outcome(o).String())
			}
		})
	})
	n.metrics.GaugeVector(metrics.AuthnTook, func(set func(value int64, labels ...string)) {
		each(func(name string, a *answers) {
			sum := uint64(0)
			for i := range a.took {
				sum += a.took[i].Load()
				le := "+Inf"
				if i < len(backend.TookBounds) {
					le = strconv.FormatFloat(backend.TookBounds[i].Seconds(), 'g', -1, 64)
				}
				set(int64(sum), name, le)
			}
		})
	})
}
