package main

import (
	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
)

// Listeners implements admin.Listeners.
func (n *node) Listeners() []admin.ListenerInfo {
	list := []admin.ListenerInfo{}
	for _, l := range n.doors() {
		list = append(list, n.listenerInfo(l))
	}
	return list
}

// Listener implements admin.Listeners.
func (n *node) Listener(id string) (admin.ListenerInfo, error) {
	l, err := n.entrance(id)
	if err != nil {
		return admin.ListenerInfo{}, err
	}
	return n.listenerInfo(l), nil
}

func (n *node) listenerInfo(l *door) admin.ListenerInfo {
	c := n.loaded.Load().Config.Listeners[l.Name]
	i := admin.ListenerInfo{
		ID: l.Protocol + ":" + l.Name, Type: l.Protocol, Name: l.Name, Bind: noNull(c.Bind), Addresses: noNull(l.Addresses()), Advertised: noNull(c.Advertised),
		Draining: l.Draining(), State: admin.ListenerRunning,
		Status: admin.ListenerState{CurrentConnections: l.Open.Load(), MaxConnections: int64(c.Limits.Connections)},
		ListenerCounts: admin.ListenerCounts{
			Unauthenticated: l.Gate.Waiting(), Accepted: l.Tally.Accepted(), RateRefused: l.Tally.OverRate(), HandshakesFailed: l.Tally.HandshakesFailed(),
		},
	}
	if granted, known := l.Backlog(); known {
		i.Backlog = &granted
	}
	for r, count := range l.Tally.Refused() {
		if count > 0 {
			i.Refused = append(i.Refused, admin.ListenerRefusal{Reason: listener.RefusalReasons[r], Count: count})
		}
	}
	if h := l.halted.Load(); h != nil {
		i.State, i.StoppedAt, i.StoppedBy = admin.ListenerStopped, &h.since, h.by
	} else if len(i.Addresses) == 0 {
		i.State = admin.ListenerWaiting
	}
	i.Status.Running = i.State == admin.ListenerRunning
	return i
}

// noNull is a list that JSON does not show as null.
func noNull(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// reportListeners gives the series of each listener.
func (n *node) reportListeners() {
	each := func(v metrics.Vector, of func(*door) int64) {
		n.metrics.GaugeVector(v, func(set func(int64, ...string)) {
			for _, l := range n.doors() {
				set(of(l), l.Name)
			}
		})
	}
	each(metrics.ListenerRunning, func(l *door) int64 { return int64(min(len(l.Addresses()), 1)) })
	each(metrics.ListenerConnections, func(l *door) int64 { return l.Open.Load() })
	each(metrics.ListenerUnauthenticated, func(l *door) int64 { return l.Gate.Waiting() })
	each(metrics.ListenerAccepted, func(l *door) int64 { return l.Tally.Accepted() })
	each(metrics.ListenerHandshakesFailed, func(l *door) int64 { return l.Tally.HandshakesFailed() })
	n.metrics.GaugeVector(metrics.ListenerRefused, func(set func(int64, ...string)) {
		for _, l := range n.doors() {
			for i, count := range l.Tally.Refused() {
				set(count, l.Name, listener.RefusalReasons[i])
			}
		}
	})
}
