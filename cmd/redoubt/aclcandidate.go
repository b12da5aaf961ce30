package main

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/observe"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
)

// trying is a policy that is tried beside the one in force, and who watches what one would
// have to allow.
type trying struct {
	broker.Candidate
	observer observe.Observer
	why      atomic.Pointer[string] // it is not tried though the configuration names one; nil: it is
}

func newTrying() *trying {
	return &trying{Candidate: broker.Candidate{Rules: &auth.Authorizer{}, Differences: &audit.Differences{}}}
}

// ruleFiles are the files of rules as they were read last: what has not changed is not compiled again.
type ruleFiles struct {
	inForce *rules.File
	tried   *rules.File // nil: none
}

// policies are what is in them; nil: there is none.
func (f *ruleFiles) policies() (inForce, tried *auth.Policy) {
	if f.tried != nil {
		tried = f.tried.Policy
	}
	return f.inForce.Policy, tried
}

// candidateRules reads the rules that are tried, again if before is not nil; nil: the configuration names none.
func candidateRules(c *config.Config, before *rules.File, rest func()) (*rules.File, error) {
	if c.Authz.ReportOnly.RulesFile == "" {
		return nil, nil
	}
	f, err := before.Again(c.Authz.ReportOnly.RulesFile, rest)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("authz.report_only.rules_file: there is no file " + c.Authz.ReportOnly.RulesFile)
	}
	return f, err
}

// firstCandidate is that of a start, which does not fail for want of rules that decide
// nothing.
func (n *node) firstCandidate(c *config.Config) *auth.Policy {
	f, err := candidateRules(c, nil, func() {})
	if err != nil {
		n.tried.why.Store(new(err.Error()))
		n.log.Error("the rules of authz.report_only are not tried", "error", err.Error())
	}
	if n.ruled.tried = f; f == nil {
		return nil
	}
	return f.Policy
}

// try has rules judged beside those in force, from now on; nil: none. It is called with the
// rules held.
func (n *node) try(c *config.Config, file *auth.Policy, book *auth.Book) {
	if file == nil {
		if n.tried.Rules.Policy() != nil {
			n.tried.Rules.Clear()
		}
		return
	}
	n.tried.why.Store(nil)
	n.tried.Differences.Clear(n.clock.Now())
	n.tried.Rules.Swap(auth.Compose(sourcesOf(c, file, book)...))
}

// Candidate implements admin.Candidates.
func (n *node) Candidate(most int) (admin.CandidateState, audit.Compared) {
	s := admin.CandidateState{File: n.loaded.Load().Config.Authz.ReportOnly.RulesFile}
	if s.File != "" && n.tried.Rules.Policy() == nil {
		if s.Why = "it has not been read; redoubt reload does"; n.tried.why.Load() != nil {
			s.Why = *n.tried.why.Load()
		}
	}
	return s, n.tried.Differences.List(most)
}

// ForgetDifferences implements admin.Candidates.
func (n *node) ForgetDifferences() { n.tried.Differences.Clear(n.clock.Now()) }

// Observe implements admin.Observers. What was remembered is judged again, and what clients
// have subscribed to already, so that all of it is seen.
func (n *node) Observe(d time.Duration) (started bool) {
	if !n.tried.observer.Start(n.clock.Now(), d) {
		return false
	}
	n.authz.Renew()
	n.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
	return true
}

// Observed implements admin.Observers.
func (n *node) Observed() (observe.Suggestion, bool) { return n.tried.observer.Suggest(n.clock.Now()) }

// EndObservation implements admin.Observers.
func (n *node) EndObservation(forget bool) { n.tried.observer.Stop(n.clock.Now(), forget) }
