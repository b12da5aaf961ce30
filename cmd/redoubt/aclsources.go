package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
)

// ruleSource is a source of rules in a back end.
type ruleSource struct {
	*lookup.Source
	conf  config.AuthzLookup
	at    uint64 // number of the back end
	share int    // clients that are asked about at once
	fresh bool   // it is asked for the first time: nobody has rules of it
}

// sourcing is the sources of rules in back ends.
type sourcing struct {
	next map[string]*ruleSource // of the configuration that is being prepared; changed in one's turn

	changed chan struct{} // others are in force, or they are to be asked at once

	asking chan struct{} // has a place for who reads rules because somebody says so

	mu    sync.Mutex // guards everything below
	force []*ruleSource
	stop  context.CancelFunc // ends a pass over what is in force; nil: there was none
}

func (s *sourcing) inForce() []*ruleSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.force
}

// prepareSources makes the sources of c that are not in force already, over the back ends
// that are prepared. Clients who are connected get the rules of a source that is new before
// anything is decided by them: without those they would lose what they have subscribed to.
func (n *node) prepareSources(c *config.Config) error {
	s := &n.sourcing
	s.next = make(map[string]*ruleSource)
	if s.changed == nil { // nobody waits yet
		s.changed, s.asking = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	old := make(map[string]*ruleSource)
	for _, o := range s.inForce() {
		old[o.Name()] = o
	}
	var fresh []lookup.Kept
	share := 0
	for _, name := range c.Authz.Order {
		conf, there := c.Authz.Lookup[name]
		if !there {
			continue
		}
		at := n.askable.next[conf.Backend]
		if at == nil {
			return fmt.Errorf("authz.lookup.%s: there is no back end %s", name, conf.Backend)
		}
		if o := old[name]; o != nil && o.at == at.number && reflect.DeepEqual(o.conf, conf) {
			s.next[name] = o
			continue
		}
		query, err := config.RulesQuery(at.conf.Type, conf.Query)
		if err != nil {
			return fmt.Errorf("authz.lookup.%s.query: %w", name, err)
		}
		one := &ruleSource{lookup.NewSource(lookup.SourceOptions{Name: name, Backend: at.Backend, Query: query}, n.clock), conf, at.number, max(1, at.conf.Pool/4), old[name] == nil}
		s.next[name] = one
		if one.fresh { // what a client has from a source of that name long ago is worth nothing
			fresh, share = append(fresh, lookup.Kept{Source: one.Source}), one.share
		}
	}
	if n.server == nil || len(fresh) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstRulesWithin)
	defer cancel()
	r := lookup.NewKeeper(n.server, n.clock, share, fresh...).Pass(ctx, 0, nil)
	n.sayPass("new sources of rules were read for those who are connected", &r)
	return nil
}

// firstRulesWithin is how long a reload waits for the rules that a new source has for those
// who are connected; the others are denied until they have been read.
const firstRulesWithin = 10 * time.Second

// enterSources has clients asked about there from now on.
func (n *node) enterSources(c *config.Config) {
	s := &n.sourcing
	var force []*ruleSource
	for _, name := range c.Authz.Order {
		if one := s.next[name]; one != nil {
			force = append(force, one)
		}
	}
	s.mu.Lock()
	s.force, s.next = force, nil
	if s.stop != nil { // what it would ask next may be closed
		s.stop()
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// loaders are the sources, as a chain asks them.
func (n *node) loaders() (list []auth.Loader) {
	for _, s := range n.sourcing.inForce() {
		list = append(list, s)
	}
	return list
}

// keepSources reads the rules of who is connected again, each source when it is due, until
// ctx is done.
func (n *node) keepSources(ctx context.Context) {
	type kept struct {
		*ruleSource
		keeper *lookup.Keeper
		due    time.Time
	}
	var all []*kept
	for {
		now := n.clock.Now()
		wait, least := time.Hour, time.Duration(0)
		for _, k := range all {
			wait = min(wait, k.due.Sub(now))
			if every := k.conf.Refresh.Std(); least == 0 || every < least {
				least = every
			}
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.sourcing.changed:
			timer.Stop()
			was := all
			all = nil
			for _, s := range n.sourcing.inForce() {
				k := &kept{s, lookup.NewKeeper(n.server, n.clock, s.share, lookup.Kept{Source: s.Source, StaleMax: s.conf.StaleMax.Std()}), now}
				for _, old := range was {
					if old.ruleSource == s { // it knows when rules were read
						k.keeper = old.keeper
					}
				}
				all = append(all, k)
			}
			continue
		case <-timer.C:
		}
		for _, k := range all {
			began := n.clock.Now()
			if k.due.After(began) {
				continue
			}
			k.due = began.Add(k.conf.Refresh.Std())
			pass, stop := context.WithCancel(ctx)
			if !n.sourcing.begin(k.ruleSource, stop) {
				stop()
				break
			}
			r := k.keeper.Pass(pass, min(least/time.Duration(2*len(all)), passWithin), nil)
			stop()
			n.sayPass("rules were read again", &r)
		}
	}
}

// passWithin is the most that a pass is spread over.
const passWithin = 30 * time.Second

// begin tells whether one is still in force; then stop is called when it no longer is.
func (s *sourcing) begin(one *ruleSource, stop context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = stop
	return slices.Contains(s.force, one)
}

// sayPass writes down what was found, if it is anything.
func (n *node) sayPass(what string, r *lookup.Report) {
	switch {
	case r.Failed > 0:
		n.log.Warn(what+", and some cannot be", "asked", r.Asked, "changed", r.Changed, "failed", r.Failed, "denied", r.Stale, "why", r.Why)
	case r.Changed > 0:
		n.log.Info(what, "asked", r.Asked, "changed", r.Changed)
	}
}

// RefreshRules implements admin.RuleReader.
func (n *node) RefreshRules(ctx context.Context, clientID string) (admin.RefreshReport, error) {
	s := &n.sourcing
	out := admin.RefreshReport{}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	for _, one := range s.inForce() {
		// A keeper of its own forgets when rules were read, so it takes none away for
		// being old: that is the business of the other.
		k := lookup.NewKeeper(n.server, n.clock, one.share, lookup.Kept{Source: one.Source, StaleMax: one.conf.StaleMax.Std()})
		var only func(*auth.Principal) bool
		if clientID != "" {
			only = func(by *auth.Principal) bool { return by.ClientID == clientID }
		}
		r := k.Pass(ctx, 0, only)
		out.Sources++
		out.Asked += r.Asked
		out.Changed += r.Changed
		out.Failed += r.Failed
		if r.Why != "" {
			out.Why = r.Why
		}
	}
	if err := ctx.Err(); err != nil {
		return out, err
	}
	n.server.Each(func(time.Time, *broker.Home) {}) // behind it every loop has judged what changed
	return out, nil
}
