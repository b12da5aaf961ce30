package main

import (
	"context"
	"crypto/x509"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/points"
	"github.com/redoubtmq/redoubt/pki/verdicts"
)

// online is what a listener asks of others about certificates of clients; the zero online is
// that of a listener without TLS.
type online struct {
	lists    *points.Lists
	verdicts *verdicts.Verdicts
	revoked  atomic.Bool // a responder has said so of somebody; not yet acted on
}

func (n *node) openOnline(l *door, c *config.Config) {
	l.lists, l.verdicts = points.New(pki.ListsFolder(c.Node.DataDir, l.Name), n.clock.Now, n.log), verdicts.New(n.clock.Now)
}

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
	asks := clients != nil && t.OCSP.Check != config.OCSPOff
	l.verdicts.Configure(verdicts.Options{On: asks, Allowed: t.Networks(), Refresh: t.OCSP.Refresh.Std()})
	if asks {
		clients.AskResponders(l.verdicts, t.OCSP.Check == config.OCSPHard)
	}
	l.ask(clients, n.clock.Now)
}

// listFetchers is how many requests for revocation lists a listener makes at the same time:
// with two, one server that does not answer holds up nobody else's list.
const listFetchers = 2

// askers is how many questions to OCSP responders a listener has under way at most.
const askers = 4

// fetchLists keeps the lists that certificates name, and what responders say, until ctx is
// done.
func (n *node) fetchLists(ctx context.Context, s *services) {
	n.tending = tending{ctx, s}
	for _, l := range n.doors() {
		n.tend(l)
	}
}

// tending is where what listeners have to do beside their connections runs.
type tending struct {
	until context.Context
	in    *services
}

// tend does it for l, until l is closed or the services end.
func (n *node) tend(l *door) {
	if l.lists == nil {
		return
	}
	ctx, cancel := context.WithCancel(n.tending.until)
	l.untend = cancel
	for range listFetchers {
		n.tending.in.run(func() error {
			l.lists.Run(ctx, func(f points.Fetched) { n.fetched(ctx, l, f) })
			return nil
		}, n)
	}
	for range askers {
		n.tending.in.run(func() error {
			l.verdicts.Run(ctx, func(a verdicts.Answered) { n.answered(l, a) })
			return nil
		}, n)
	}
}

// answered notes what came of a question to a responder.
func (n *node) answered(l *door, a verdicts.Answered) {
	if a.Err != nil {
		n.count.Inc(metrics.OCSPFailed)
		n.log.Debug("an OCSP responder was asked in vain", "listener", l.Name, "why", a.Err.Error())
		return
	}
	n.count.Inc(metrics.OCSPAnswered)
	if a.Revoked {
		l.revoked.Store(true)
	}
}

// withdrawRevoked judges connections again after responders have said of certificates that
// they were revoked: once for all of a second.
func (n *node) withdrawRevoked(ctx context.Context) {
	found := false
	for _, l := range n.doors() {
		found = found || l.revoked.Load()
	}
	if !found {
		return
	}
	done, err := n.takeTurn(ctx)
	if err != nil {
		return
	}
	defer done()
	for _, l := range n.doors() {
		if clients := l.Clients.Load(); l.revoked.Swap(false) && clients != nil {
			l.ask(clients.Again(), n.clock.Now) // also whoever is between handshake and session
		}
	}
	n.server.Recheck()
}

// markInUse asks about everybody who is connected, so that responders are asked about those
// who have been for long.
func (n *node) markInUse() {
	for _, ln := range n.loaded.Load().Config.Listeners {
		if ln.TLS.OCSP.Check == config.OCSPSoft || ln.TLS.OCSP.Check == config.OCSPHard {
			n.server.Recheck()
			return
		}
	}
}

// fetched puts a list in force that has come. Who is connected is judged again if it says
// something else than the one before.
func (n *node) fetched(ctx context.Context, l *door, f points.Fetched) {
	defer func() { n.judgeLists(n.clock.Now()) }()
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
	for _, l := range n.doors() {
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
		silent := l.verdicts.Trouble()
		say(alarm.OCSPUnavailable, l, silent.Unavailable)
		say(alarm.OCSPForged, l, silent.Forged)
		say(alarm.CRLStale, l, strings.Join(stale, "; "))
	}
}

// reportLists counts the lists of all listeners.
func (n *node) reportLists() {
	held := func() (lists, addresses int64) {
		for _, l := range n.doors() {
			if l.lists != nil {
				a, b := l.lists.Held()
				lists, addresses = lists+int64(a), addresses+int64(b)
			}
		}
		return lists, addresses
	}
	n.metrics.Gauge(metrics.ListsFetched, func() int64 { lists, _ := held(); return lists })
	n.metrics.Gauge(metrics.ListAddresses, func() int64 { _, addresses := held(); return addresses })
	n.metrics.Gauge(metrics.OCSPKnown, func() (known int64) {
		for _, l := range n.doors() {
			if l.verdicts != nil {
				k, _ := l.verdicts.Held()
				known += int64(k)
			}
		}
		return known
	})
	n.metrics.Gauge(metrics.OCSPRevoked, func() (revoked int64) {
		for _, l := range n.doors() {
			if l.verdicts != nil {
				_, r := l.verdicts.Held()
				revoked += int64(r)
			}
		}
		return revoked
	})
	n.metrics.Gauge(metrics.ListNextUpdate, func() int64 {
		var first time.Time
		for _, l := range n.doors() {
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
