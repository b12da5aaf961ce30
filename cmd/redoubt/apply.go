package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// Reload implements admin.Reloader in two phases: everything is read and judged,
// then everything is put in force. After one refusal nothing has changed.
func (n *node) Reload(ctx context.Context) (admin.ReloadReport, error) {
	done, err := n.takeTurn(ctx)
	if err != nil {
		return admin.ReloadReport{}, err
	}
	defer done()
	defer n.manager.reloading(n.inALine)()
	apply, changed, err := n.verify(newEase(ctx, n.clock))
	if err != nil {
		n.count.Inc(metrics.ReloadsRefused)
		n.log.Error("reload refused, nothing has changed", "error", err.Error())
		n.hardening.Changed(n.loaded.Load().Config) // what it was refused for may be so now
		return admin.ReloadReport{}, err
	}
	apply()
	n.count.Inc(metrics.ReloadsApplied)
	n.log.Info("reloaded", "changed", changed)
	return admin.ReloadReport{Changed: changed}, nil
}

// verify asks every owner, and answers what to do once all have agreed. What was set at
// run time stays, unless the file has it now.
func (n *node) verify(ease *ease) (apply func(), changed []string, err error) {
	var moving *moving // of sockets, which are open before anything is decided
	var asking *asking
	defer func() {
		if err != nil {
			moving.undo()
			asking.undo()
		}
	}()
	old := n.loaded.Load()
	base, err := n.load()
	if err != nil {
		return nil, nil, err
	}
	ease.rest()
	kept, err := n.kept.Read()
	if err != nil {
		return nil, nil, err
	}
	next, err := n.layer(base, kept)
	if err != nil {
		return nil, nil, err
	}
	if i, found := n.leftOut(next); found {
		return nil, nil, fmt.Errorf("%s is set at run time to %s, which does not go with the file any more: %s. Change the file, or take it back with redoubt config unset %s. Nothing has been reloaded", i.Key, i.Value, i.Why, i.Key)
	}
	ease.rest()
	if err := next.now.Verify(old.Config); err != nil {
		return nil, nil, err
	}
	c := next.now.Config
	ease.rest()
	enforce, changed, err := n.settle(next)
	if err != nil {
		return nil, nil, err
	}
	ease.rest()
	if err := n.refuseUnsafe(next); err != nil {
		return nil, nil, err
	}
	changed = append(append(changed, nowPinned(old, next.now)...), n.stillHalted(old.Config, c)...)
	ease.rest()
	read := readContents(c)
	ruled := ruleFiles{}
	if ruled.inForce, err = n.ruled.inForce.Again(c.Authz.RulesFile, ease.rest); err != nil {
		return nil, nil, err
	}
	if ruled.tried, err = candidateRules(c, n.ruled.tried, ease.rest); err != nil {
		return nil, nil, err
	}
	policy, tried := ruled.policies()
	if tried != nil && ruled.tried != n.ruled.tried {
		changed = append(changed, fmt.Sprintf("rules that are tried: %d from %s", len(tried.Rules())-1, c.Authz.ReportOnly.RulesFile))
	}
	ease.rest()
	filed, err := readBans(c, n.clock.Now())
	if err != nil {
		return nil, nil, err
	}
	if c.Bans.File != "" && read.bans != n.read.bans {
		changed = append(changed, fmt.Sprintf("bans: %d from %s", len(filed), c.Bans.File))
	}
	if ruled.inForce != n.ruled.inForce {
		changed = append(changed, fmt.Sprintf("rules: %d from %s", len(policy.Rules())-1, c.Authz.RulesFile))
	}
	// One time for the responders of all listeners: a denial of a certificate waits for our turn.
	within, cancel := context.WithTimeout(context.Background(), stapleSwap)
	defer cancel()
	certs, clients := map[*door]*pki.Provider{}, map[*door]*pki.Clients{}
	for _, l := range n.doors() {
		if l.certs.Load() == nil || !stays(l, c) {
			continue
		}
		if certs[l], err = n.certificates(l.Name, c.Listeners[l.Name]); err != nil {
			return nil, nil, err
		}
		if clients[l], err = n.clients(l.Name, c); err != nil {
			return nil, nil, err
		}
		if err := n.stapleFor(within, l, c.Listeners[l.Name], certs[l], stapleSwap); err != nil {
			return nil, nil, err
		}
	}
	ease.rest()
	if moving, err = n.prepareMoving(c); err != nil {
		return nil, nil, err
	}
	if asking, err = n.prepareAuthenticators(c); err != nil {
		return nil, nil, err
	}
	if err := tryChains(c, asking.chains(c)); err != nil {
		return nil, nil, err
	}
	judges := make(map[string]*pki.Clients)
	for _, l := range moving.added {
		if clients := l.Clients.Load(); clients != nil {
			judges[l.Name] = clients
		}
	}
	for l, c := range clients {
		if c != nil {
			judges[l.Name] = c
		}
	}
	enrolling, err := n.enrolPolicy(c, judges)
	if err != nil {
		return nil, nil, err
	}
	return func() {
		moving.leave()
		enforce()
		n.read, n.ruled = read, ruled
		n.enrol.apply(enrolling)
		n.govern(c, policy, tried)
		for l, p := range certs {
			l.certs.Store(p)
			l.adopt()
			n.judgeBy(l, clients[l], c)
		}
		chains, leave := asking.enter(c)
		n.broker.SetChains(chains)
		leave()
		n.enforceBans(n.bans.SetFile(filed))
		moving.enter()
		n.server.Recheck()
		n.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
	}, changed, nil
}

// refuseUnsafe refuses what a start would refuse: what is in force now, and the next start
// finds. The log, the rules and the keys are where they are in either.
func (n *node) refuseUnsafe(c layers) error {
	if err := harden.RefuseStart(c.next.Config, n.clock); err != nil {
		return fmt.Errorf("the broker would not start with it: %w", err)
	}
	return nil
}

// changedLines says what is different, a line a key. Of what comes by a name, such as a listener
// or a back end, those are left out that have their default, and of what goes all.
func changedLines(from, to *config.Loaded) []string {
	var lines []string
	said := map[string]bool{}
	for _, d := range config.Diff(from.Config, to.Config) {
		if d.Entry == "" {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", d.Key, d.From, d.To))
			continue
		}
		is := d.From == ""
		if !said[d.Entry] {
			said[d.Entry] = true
			lines = append(lines, d.Entry+": "+map[bool]string{true: "added", false: "removed"}[is])
		}
		if is && to.Origin(d.Key).Kind != config.FromDefault {
			lines = append(lines, d.Key+": "+d.To)
		}
	}
	return lines
}

// settle asks the owners of settings, and answers what puts them in force and what will
// be different then.
func (n *node) settle(next layers) (enforce func(), changed []string, err error) {
	c := next.now.Config
	changed = changedLines(n.loaded.Load(), next.now)
	connections, _, err := connectionsMax(c)
	if err != nil {
		return nil, nil, err
	}
	budget, err := n.budget(c)
	if err != nil {
		return nil, nil, err
	}
	if budget != *n.memory.Load() {
		changed = append(changed, "memory: "+budget.Sum)
	}
	limits := doorLimits(c, connections)
	if _, err := listener.NewDoor(limits, n.count); err != nil {
		return nil, nil, err
	}
	deny, err := n.denies(c)
	if err != nil {
		return nil, nil, err
	}
	return func() {
		n.loaded.Store(next.now)
		n.next.Store(next.next)
		n.hardening.Changed(c)
		n.configureLevel(next.now)
		n.limitMemory(budget)
		n.held.SetMax(int64(c.Limits.MqueueBytesTotal))
		n.delayed.SetMax(delayLimits(c))
		n.broker.Apply(brokerSettings(c, n.held))
		_ = n.door.Apply(limits) // NewDoor agreed above
		for _, l := range n.doors() {
			l.Gate.SetLimits(gateLimits(c, l.Name))
		}
		n.guardAll(c)
		deny()
		if n.server != nil { // it is there when the settings of the start are replaced by those of run time, or not yet
			n.server.Each(func(now time.Time, h *broker.Home) { h.SettingsChanged(now) })
		}
	}, changed, nil
}
