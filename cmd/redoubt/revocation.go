package main

import (
	"context"
	"crypto/x509"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/points"
)

// judgeBy has a listener judge certificates of clients by what was read for c, together with
// the lists that it has fetched; nil: it asks for none.
func (n *node) judgeBy(l *door, clients *pki.Clients, c *config.Config) {
	t := c.Listeners[l.Name].TLS
	fetches := clients != nil && t.CRL.DistributionPoints
	l.lists.Configure(points.Options{
		On: fetches, Allowed: t.Networks(), Refresh: t.CRL.Refresh.Std(),
		Trusts: func(ca *x509.Certificate) bool { return clients.Trusts(ca, n.clock.Now()) },
	})
	if fetches {
		clients.FetchRevoked(l.lists, l.lists.Lists())
	}
	l.ask(clients, n.clock.Now)
}

// listFetchers is how many requests for revocation lists a listener makes at the same time:
// with two, one server that does not answer holds up nobody else's list.
const listFetchers = 2

// fetchLists keeps the lists that certificates name, until ctx is done.
func (n *node) fetchLists(ctx context.Context, s *services) {
	for _, l := range n.listeners {
		if l.lists == nil {
			continue
		}
		for range listFetchers {
			s.run(func() error {
				l.lists.Run(ctx, func(f points.Fetched) { n.fetched(ctx, l, f) })
				return nil
			}, n)
		}
	}
}

// fetched puts a list in force that has come. Who is connected is judged again if it says
// something else than the one before.
func (n *node) fetched(ctx context.Context, l *door, f points.Fetched) {
	switch {
	case f.Err != nil:
		n.count.Inc(metrics.ListFetchesFailed)
		n.log.Debug("a revocation list was not fetched", "listener", l.Name, "why", f.Err.Error())
		return
	case !f.New:
		n.count.Inc(metrics.ListFetchesSame)
		return
	}
	n.count.Inc(metrics.ListFetchesNew)
	done, err := n.takeTurn(ctx)
	if err != nil {
		return
	}
	defer done()
	clients := l.Clients.Load()
	if clients == nil || clients.Revoked == nil || clients.Revoked.Points == nil {
		return // or not any more
	}
	l.ask(clients.Relist(l.lists.Lists()), n.clock.Now)
	n.log.Info("a revocation list was fetched", "listener", l.Name, "address", f.Address, "issuer", f.List.Issuer, "revoked", f.List.Revoked, "next_update", f.List.NextUpdate)
	if f.Differs {
		n.server.Recheck()
	}
}

// judgeLists raises and clears the alarms about revocation lists.
func (n *node) judgeLists(now time.Time) {
	say := func(kind *alarm.Kind, l *door, why string) {
		if why == "" {
			n.alarms.Clear(now, kind, l.Name)
		} else {
			n.alarms.Raise(now, kind, l.Name, why)
		}
	}
	for _, l := range n.listeners {
		clients := l.Clients.Load()
		if l.lists == nil {
			continue
		}
		var stale []string
		if clients != nil {
			stale = clients.Stale(now)
		}
		trouble := l.lists.Trouble()
		if trouble.Stale != "" {
			stale = append(stale, trouble.Stale)
		}
		say(alarm.CRLUnavailable, l, trouble.Unreachable)
		say(alarm.CRLForged, l, trouble.Forged)
		say(alarm.CRLStale, l, strings.Join(stale, "; "))
	}
}

// reportLists counts the lists of all listeners.
func (n *node) reportLists() {
	held := func() (lists, addresses int64) {
		for _, l := range n.listeners {
			if l.lists != nil {
				a, b := l.lists.Held()
				lists, addresses = lists+int64(a), addresses+int64(b)
			}
		}
		return lists, addresses
	}
	n.metrics.Gauge(metrics.ListsFetched, func() int64 { lists, _ := held(); return lists })
	n.metrics.Gauge(metrics.ListAddresses, func() int64 { _, addresses := held(); return addresses })
	n.metrics.Gauge(metrics.ListNextUpdate, func() int64 {
		var first time.Time
		for _, l := range n.listeners {
			if clients := l.Clients.Load(); clients != nil {
				if at := clients.NextUpdate(); first.IsZero() || !at.IsZero() && at.Before(first) {
					first = at
				}
			}
		}
		if first.IsZero() {
			return 0
		}
		return first.Unix()
	})
}
