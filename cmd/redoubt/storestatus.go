package main

import (
	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store/view"
)

// storeStatus is how the store is, for whoever asks.
func (n *node) storeStatus() admin.StoreStatus {
	d := n.durable
	u := d.log.Usage()
	s := admin.StoreStatus{
		Bytes: u.Bytes, MaxBytes: int64(n.loaded.Load().Config.Store.MaxBytes), Segments: u.Segments, First: uint64(u.First), Last: uint64(u.Last),
		Writes: n.writeStatus(),
	}
	addLooked(&s, d.tended.Load(), d.stats.Load(), d.behind.Load())
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

// addLooked adds what is looked at every few seconds, as far as somebody has: free is of
// the disk, and 0 before the first look, as the others are nil.
func addLooked(s *admin.StoreStatus, free int64, v *view.Stats, b *broker.Behind) {
	if free != 0 {
		s.Free = &free
	}
	if v != nil {
		s.Index = &admin.IndexStatus{Postings: v.PostingBytes, Sessions: v.SessionBytes, Retained: v.RetainedBytes, Values: v.ValueBytes, Rescued: v.RescueBytes}
	}
	if b == nil {
		return
	}
	behind, away, groups := b.Connected.Sessions+b.Away.Sessions, b.Away.Sessions, b.Groups.Sessions
	waiting, oldest := b.Connected.Messages+b.Away.Messages+b.Groups.Messages, uint64(b.Oldest)
	s.Behind, s.Away, s.Groups, s.Waiting, s.Oldest = &behind, &away, &groups, &waiting, &oldest
	s.Lag = &admin.Lag{
		ConnectedMessages: b.Connected.Messages, ConnectedBytes: b.Connected.Bytes,
		AwayMessages: b.Away.Messages, AwayBytes: b.Away.Bytes,
		SharedMessages: b.Groups.Messages, SharedBytes: b.Groups.Bytes,
	}
	s.ClientID, s.Identity = b.Holder.ClientID, b.Holder.Identity
}

// lastBehind and lastStats are what was seen last; of metrics, where nothing can be unknown:
// zeros before the first look.
func (d *durable) lastBehind() *broker.Behind {
	if b := d.behind.Load(); b != nil {
		return b
	}
	return &broker.Behind{}
}

func (d *durable) lastStats() *view.Stats {
	if v := d.stats.Load(); v != nil {
		return v
	}
	return &view.Stats{}
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
	n.metrics.Gauge(metrics.StoreOldestWanted, func() int64 { return int64(d.lastBehind().Oldest) }) //nolint:gosec // a number of the log
	n.metrics.Gauge(metrics.RescuedMessages, func() int64 { messages, _ := d.view.Rescued(); return messages })
	n.metrics.Gauge(metrics.RescuedBytes, func() int64 { _, bytes := d.view.Rescued(); return bytes })
	n.metrics.Gauge(metrics.SessionsBehind.At(0), func() int64 { return int64(d.lastBehind().Connected.Sessions) })
	n.metrics.Gauge(metrics.SessionsBehind.At(1), func() int64 { return int64(d.lastBehind().Away.Sessions) })
	n.metrics.Gauge(metrics.BehindMessages.At(0), func() int64 { return d.lastBehind().Connected.Messages })
	n.metrics.Gauge(metrics.BehindMessages.At(1), func() int64 { return d.lastBehind().Away.Messages })
	n.metrics.Gauge(metrics.BehindBytes.At(0), func() int64 { return d.lastBehind().Connected.Bytes })
	n.metrics.Gauge(metrics.BehindBytes.At(1), func() int64 { return d.lastBehind().Away.Bytes })
	for i, of := range []func() int64{
		func() int64 { return d.lastStats().PostingBytes }, func() int64 { return d.lastStats().SessionBytes }, func() int64 { return d.lastStats().RetainedBytes },
		func() int64 { return d.lastStats().ValueBytes }, func() int64 { return d.lastStats().RescueBytes },
	} {
		n.metrics.Gauge(metrics.StoreIndex.At(i), of)
	}
}
