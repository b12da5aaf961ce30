package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
)

// Reload implements admin.Reloader in two phases: everything is read and judged,
// then everything is put in force. After one refusal nothing has changed.
func (n *node) Reload(context.Context) (admin.ReloadReport, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	apply, changed, err := n.verify()
	if err != nil {
		n.count.Inc(metrics.ReloadsRefused)
		return admin.ReloadReport{}, err
	}
	apply()
	n.count.Inc(metrics.ReloadsApplied)
	n.log.Info("reloaded", "changed", changed)
	return admin.ReloadReport{Changed: changed}, nil
}

// verify asks every owner, and answers what to do once all have agreed.
func (n *node) verify() (apply func(), changed []string, err error) {
	old := n.loaded.Load()
	loaded, err := n.load()
	if err != nil {
		return nil, nil, err
	}
	if err := loaded.Verify(old.Config); err != nil {
		return nil, nil, err
	}
	c := loaded.Config
	for _, d := range config.Diff(old.Config, c) {
		changed = append(changed, fmt.Sprintf("%s: %s -> %s", d.Key, d.From, d.To))
	}
	policy, err := rules.Load(c.Authz.RulesFile)
	if err != nil {
		return nil, nil, err
	}
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
	certs := map[*door]*pki.Provider{}
	for _, l := range n.listeners {
		if l.certs.Load() == nil {
			continue
		}
		if certs[l], err = n.certificates(l.Name, c.Listeners[l.Name]); err != nil {
			return nil, nil, err
		}
	}
	return func() {
		n.loaded.Store(loaded)
		n.configureLevel(loaded)
		n.limitMemory(budget)
		n.held.SetMax(int64(c.Limits.MqueueBytesTotal))
		n.delayed.SetMax(delayLimits(c))
		n.broker.Apply(brokerSettings(c, n.held))
		_ = n.door.Apply(limits) // NewDoor agreed above
		n.authz.Swap(policy)
		for l, p := range certs {
			l.certs.Store(p)
		}
		n.server.Each(func(now time.Time, h *broker.Home) { h.PolicyChanged(now) })
	}, append(changed, fmt.Sprintf("rules: %d from %s", len(policy.Rules())-1, c.Authz.RulesFile), fmt.Sprintf("users: %d", n.users.Len())), nil
}
