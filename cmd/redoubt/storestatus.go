package main

import (
	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/metrics"
)

// storeStatus is how the store is, for whoever asks.
func (n *node) storeStatus() admin.StoreStatus {
	d := n.durable
	u, b, v := d.log.Usage(), d.behind.Load(), d.stats.Load()
	s := admin.StoreStatus{
		Bytes: u.Bytes, MaxBytes: int64(n.loaded.Load().Config.Store.MaxBytes), Segments: u.Segments, First: uint64(u.First), Last: uint64(u.Last),
		Free:   d.tended.Load(),
		Index:  admin.IndexStatus{Postings: v.PostingBytes, Sessions: v.SessionBytes, Retained: v.RetainedBytes, Values: v.ValueBytes, Rescued: v.RescueBytes},
		Writes: n.writeStatus(),
		Behind: b.Connected.Sessions + b.Away.Sessions, Away: b.Away.Sessions, Groups: b.Groups.Sessions, Waiting: b.Connected.Messages + b.Away.Messages + b.Groups.Messages,
		Lag: admin.Lag{
			ConnectedMessages: b.Connected.Messages, ConnectedBytes: b.Connected.Bytes,
			AwayMessages: b.Away.Messages, AwayBytes: b.Away.Bytes,
			SharedMessages: b.Groups.Messages, SharedBytes: b.Groups.Bytes,
		},
		Oldest: uint64(b.Oldest), ClientID: b.Holder.ClientID, Identity: b.Holder.Identity,
	}
	s.Rescued, s.RescuedBytes = d.view.Rescued()
	switch {
	case d.isShort.Load():
		s.Refuses = "the disk is nearly full"
	case d.full.Load():
		s.Refuses = "the store is as large as store.max_bytes"
	}
	if err := d.log.Err(); err != nil {
		s.Failed = err.Error()
	}
	return s
}

// writeStatus is how the disk takes the log.
func (n *node) writeStatus() (w admin.WriteStatus) {
	for i := range 5 {
		w.Commits += n.metrics.Value(metrics.StoreCommits.At(i))
	}
	w.Records = n.metrics.Value(metrics.StoreRecords)
	w.SlowerThanAHundred = n.metrics.Value(metrics.StoreCommits.At(3)) + n.metrics.Value(metrics.StoreCommits.At(4))
	if w.Commits > 0 {
		w.AverageMicros = n.durable.took.Load() / w.Commits / 1000
	}
	return w
}

// reportStore adds what is known of the store to the metrics.
func (n *node) reportStore() {
	d := n.durable
	n.metrics.Gauge(metrics.StoreLogBytes, func() int64 { return d.log.Usage().Bytes })
	n.metrics.Gauge(metrics.StoreLogSegments, func() int64 { return int64(d.log.Usage().Segments) })
	n.metrics.Gauge(metrics.StoreFreeBytes, d.tended.Load)
	n.metrics.Gauge(metrics.StoreOldestWanted, func() int64 { return int64(d.behind.Load().Oldest) }) //nolint:gosec // a number of the log
	n.metrics.Gauge(metrics.RescuedMessages, func() int64 { messages, _ := d.view.Rescued(); return messages })
	n.metrics.Gauge(metrics.RescuedBytes, func() int64 { _, bytes := d.view.Rescued(); return bytes })
	n.metrics.Gauge(metrics.SessionsBehind.At(0), func() int64 { return int64(d.behind.Load().Connected.Sessions) })
	n.metrics.Gauge(metrics.SessionsBehind.At(1), func() int64 { return int64(d.behind.Load().Away.Sessions) })
	n.metrics.Gauge(metrics.BehindMessages.At(0), func() int64 { return d.behind.Load().Connected.Messages })
	n.metrics.Gauge(metrics.BehindMessages.At(1), func() int64 { return d.behind.Load().Away.Messages })
	n.metrics.Gauge(metrics.BehindBytes.At(0), func() int64 { return d.behind.Load().Connected.Bytes })
	n.metrics.Gauge(metrics.BehindBytes.At(1), func() int64 { return d.behind.Load().Away.Bytes })
	for i, of := range []func() int64{
		func() int64 { return d.stats.Load().PostingBytes }, func() int64 { return d.stats.Load().SessionBytes }, func() int64 { return d.stats.Load().RetainedBytes },
		func() int64 { return d.stats.Load().ValueBytes }, func() int64 { return d.stats.Load().RescueBytes },
	} {
		n.metrics.Gauge(metrics.StoreIndex.At(i), of)
	}
}
