package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/metrics"
)

// services are the administration socket and the metrics and health pages.
type services struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// stop ends them and waits; the zero services are stopped.
func (s *services) stop() {
	if s.cancel != nil {
		s.cancel()
		s.wait.Wait()
	}
}

// startServices opens their sockets and serves. After an error nothing listens.
func (n *node) startServices() (*services, error) {
	c := n.loaded.Load().Config
	socket, err := admin.Listen(c.Admin.Socket)
	if err != nil {
		return &services{}, fmt.Errorf("admin.socket: %w", err)
	}
	open := []net.Listener{socket}
	for _, bind := range c.Metrics.Bind {
		l, err := net.Listen("tcp", bind)
		if err != nil {
			for _, o := range open {
				_ = o.Close()
			}
			return &services{}, fmt.Errorf("metrics.bind: cannot listen on %s: %w", bind, err)
		}
		open = append(open, l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &services{cancel: cancel}
	api := admin.New(admin.Options{Version: version, Clock: n.clock, Log: n.log, Users: admin.BuiltinUsers(n.users), Policy: n.authz, Status: n, Reloader: n,
		Probes: admin.NewProbes(n.users, n.authz, n, n.clock, n.log).FoldInto(n.audit), Limits: n,
		Clients: n.server, Retained: n.broker.Retained(), LogLevel: n, Settings: n, Bans: n, Tokens: n, Rules: n.rules.Store, RuleReader: n, Listeners: n,
		Explaining: admin.Explaining{Whys: n.server, Refusals: n.audit.Recent(), Logins: n, Chains: n, Candidates: n, Observers: n, Talkers: n}})
	s.run(func() error { return api.Serve(ctx, socket) }, n)
	s.run(func() error { n.keepMemory(ctx); return nil }, n)
	s.run(func() error { n.keepBans(ctx); return nil }, n)
	s.run(func() error { n.keepRules(ctx); return nil }, n)
	s.run(func() error { n.keepSources(ctx); return nil }, n)
	s.run(func() error { n.overseer.run(ctx, n.soon); return nil }, n)
	s.run(func() error { n.manager.keep(ctx, n.server.Turned, n.inALine); return nil }, n)
	s.run(func() error {
		select {
		case <-n.opened: // before that there is nothing to judge
			n.hardening.Run(ctx)
		case <-ctx.Done():
		}
		return nil
	}, n)
	n.fetchLists(ctx, s)
	s.run(func() error { n.keepStaples(ctx); return nil }, n)
	n.startACME(ctx, s)
	if n.enrol.server != nil {
		s.run(func() error { return n.enrol.server.Serve(ctx, n.enrol.entrance.Sockets) }, n)
	}
	for _, l := range open[1:] {
		pages := admin.NewHealth(admin.HealthOptions{Metrics: n.metrics.Handler(), NotReady: n.notReady, Log: n.log})
		s.run(func() error { return pages.Serve(ctx, l) }, n)
	}
	return s, nil
}

func (s *services) run(serve func() error, n *node) {
	s.wait.Add(1)
	go func() {
		defer s.wait.Done()
		if err := serve(); err != nil {
			n.log.Error("an administration service ended", "error", err.Error())
		}
	}()
}

func (n *node) notReady() []string {
	if !n.ready.Load() {
		return []string{"the listeners are not open yet, or no longer"}
	}
	if l := n.doors(); len(l) > 0 && !slices.ContainsFunc(l, func(l *door) bool { return l.halted.Load() == nil }) {
		return []string{"every listener was stopped by an operator (redoubt listeners start)"}
	}
	if err := n.durable.log.Err(); err != nil {
		return []string{"the store acknowledges nothing more until the broker is started again: " + err.Error()}
	}
	if err := n.durable.view.Err(); err != nil {
		return []string{"the index of the store has failed, and with it every acknowledgement that waits for the disk, until the broker is started again: " + err.Error()}
	}
	return nil
}

// Status implements admin.Status.
func (n *node) Status() admin.StatusReport {
	loaded := n.loaded.Load()
	r := admin.StatusReport{
		Name: loaded.Config.Node.Name, Version: version, Status: "running", NotReady: n.notReady(),
		StartedAt: n.started, UptimeSeconds: int64(n.clock.Now().Sub(n.started).Seconds()),
		Connections: n.metrics.Value(metrics.Connections), ConnectionsMax: n.door.ConnectionsMax(), Sessions: int64(n.broker.Sessions()),
		Subscriptions: n.metrics.Value(metrics.Subscriptions), Retained: n.metrics.Value(metrics.RetainedMessages), RetainedOwn: n.metrics.Value(metrics.RetainedOwn),
		ConfigFile: loaded.File, DataDir: loaded.Config.Node.DataDir,
	}
	r.Store = n.storeStatus()
	r.Memory = n.memoryStatus()
	r.PendingRestart, r.NotInForce = n.unsettled()
	r.Certificates = n.certificateStatus()
	for _, a := range n.alarms.Active() {
		r.Alarms = append(r.Alarms, admin.AlarmStatus{Name: a.Kind.Name, Subject: a.Subject, Why: a.Why, Since: a.Since})
	}
	r.Hardening = n.hardeningStatus()
	r.Backends = n.backendStatus()
	r.Bans = banCounts(n.bans)
	r.Traffic = n.traffic()
	for _, a := range n.enrol.addresses() {
		r.Listeners = append(r.Listeners, admin.ListenerStatus{Name: n.enrol.entrance.Name, Address: a, Protocol: n.enrol.entrance.Protocol})
	}
	if len(r.NotReady) > 0 {
		r.Status = "not_ready"
	}
	for _, l := range n.doors() {
		if h := l.halted.Load(); h != nil {
			r.Stopped = append(r.Stopped, admin.StoppedListener{Name: l.Name, Since: h.since, By: h.by, Connections: l.Open.Load()})
		}
		for _, a := range l.Draining() {
			r.Draining = append(r.Draining, admin.DrainingAddress{Name: l.Name, Address: a})
		}
		for _, a := range l.Addresses() {
			s := admin.ListenerStatus{Name: l.Name, Address: a, Protocol: l.Protocol, Connections: l.Open.Load()}
			if l.TLS != nil {
				s.ClientCert = string(l.ClientCert())
			}
			r.Listeners = append(r.Listeners, s)
		}
	}
	return r
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
