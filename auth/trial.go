package auth

import (
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// StepState is what one link of a chain, or one source of rules, has said.
type StepState uint8

// The states.
const (
	NotAsked StepState = iota // somebody before it has decided
	Skipped                   // its condition does not hold for the client
	Ignored                   // it is not about the client
	Allowed
	Denied
	NotAvailable // it could not tell
	HasRules     // a source of rules has answered
)

var stepStates = [...]string{"not_asked", "skipped", "ignored", "allowed", "denied", "unavailable", "rules"}

// String is the word of the API.
func (s StepState) String() string { return stepStates[s] }

// Step is one link of a chain, or one source of rules, in a trial.
type Step struct {
	Name   string
	State  StepState
	Result Result // of a link that was asked
	Rules  int    // of a source that has answered
	Detail string // for the operator
	Cached bool   // something remembered has spared a question or a hash
	Took   time.Duration
}

// Try asks the chain about a client as Authenticate does, and calls done with the answer and
// with what each link and each source of rules has said, in their order. It is for operators:
// nobody comes in by it, and what counts failures of clients is not told. done is called
// exactly once, from wherever the answer comes.
func (c *Chain) Try(clk clock.Clock, req *Request, done func(Result, []Step)) {
	t := &trial{}
	next := c.Observed(clk, t.saw)
	next.passed = t.passed
	next.sources = make([]Loader, len(c.sources))
	for i, s := range c.sources {
		next.sources[i] = tried{s, clk, t}
	}
	next.Authenticate(req, func(r Result) { done(r, t.steps(c)) })
}

// trial is what was seen so far.
type trial struct {
	mu      sync.Mutex // guards everything below
	links   []Step
	sources map[string]Step
}

func (t *trial) saw(by string, r Result, took time.Duration) {
	s := Step{Name: by, Result: r, Detail: r.Detail, Cached: r.Cached, Took: took, State: map[Outcome]StepState{Ignore: Ignored, Allow: Allowed, Deny: Denied, Unavailable: NotAvailable}[r.Outcome]}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links = append(t.links, s)
}

func (t *trial) passed(by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links = append(t.links, Step{Name: by, State: Skipped, Detail: "its condition does not hold"})
}

// steps are what was seen, and who was not asked.
func (t *trial) steps(c *Chain) []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := append([]Step(nil), t.links...)
	for _, name := range c.Names()[len(t.links):] {
		out = append(out, Step{Name: name})
	}
	for _, s := range c.sources {
		step, asked := t.sources[s.Name()]
		if !asked {
			step = Step{Name: s.Name()}
		}
		out = append(out, step)
	}
	return out
}

// tried is a source of rules that is watched.
type tried struct {
	Loader
	clock clock.Clock
	trial *trial
}

// Load implements Loader.
func (s tried) Load(by *Principal, done func(Own, error)) {
	began := s.clock.Now()
	s.Loader.Load(by, func(own Own, err error) {
		step := Step{Name: s.Name(), State: HasRules, Rules: len(own.Rules), Took: s.clock.Now().Sub(began)}
		step.Cached = err == nil && own.Read == nil
		if err != nil {
			step.State, step.Detail = NotAvailable, err.Error()
		}
		s.trial.mu.Lock()
		if s.trial.sources == nil {
			s.trial.sources = map[string]Step{}
		}
		s.trial.sources[s.Name()] = step
		s.trial.mu.Unlock()
		done(own, err)
	})
}
