package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
	"github.com/redoubtmq/redoubt/store/readers"
	"github.com/redoubtmq/redoubt/store/view"
)

// durable is what survives this process.
type durable struct {
	log     *local.Log
	view    *view.View
	readers *readers.Pool
	broker  atomic.Pointer[broker.Broker] // whom the log tells that it has room
	behind  atomic.Pointer[broker.Behind] // as of a few seconds ago
	ran     time.Time                     // until then the process before surely ran
}

// storeFolders are the log and its index in a data directory.
func storeFolders(dataDir string) (log, index string) {
	return filepath.Join(dataDir, "store", "log"), filepath.Join(dataDir, "store", "view")
}

// readersMax is how many sessions read from the disk at the same time.
const readersMax = 4

// openStore opens the log and its index, and says what a crash or a bad disk left.
func (n *node) openStore(c *config.Config) error {
	logFolder, index := storeFolders(c.Node.DataDir)
	if err := datadir.Init(filepath.Dir(logFolder)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	d := &durable{}
	d.behind.Store(&broker.Behind{})
	l, report, err := local.Open(logFolder, local.Options{
		SegmentBytes: int64(c.Store.SegmentBytes), Clock: n.clock, Observe: n.observeCommit,
		Room: func() {
			if b := d.broker.Load(); b != nil {
				b.Room()
			}
		},
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	n.sayReport(report)
	if _, gone := os.Stat(index); report.Bare && gone == nil { // without an index it is a first start that was cut short
		return errors.Join(fmt.Errorf("store: %s has the id of a log and none of its segments: everything that was stored is gone. Put the segments back from a backup, or move the folders log and view away to begin anew (redoubt store check says more)", logFolder), l.Close())
	}
	began := n.clock.Now()
	d.log = l
	if d.view, err = view.Open(context.Background(), view.Options{Log: l, Folder: index, Alarm: n.storeAlarm}); err != nil {
		return errors.Join(fmt.Errorf("store: %w", err), l.Close())
	}
	d.readers = readers.New(readersMax)
	d.ran = time.UnixMilli(d.view.Alive())
	n.durable = d
	if took := n.clock.Now().Sub(began); took > time.Second {
		n.log.Info("the index has caught up with the log", "records", uint64(report.Last), "took", took.Round(time.Millisecond).String())
	}
	return nil
}

// sayReport tells the operator what the log found of the last run.
func (n *node) sayReport(r *local.Report) {
	if !r.Clean {
		n.log.Warn("the last run did not end cleanly; what was acknowledged is there", "records", uint64(r.Last), "segments", r.Segments)
	}
	if r.CutBytes > 0 {
		n.log.Warn("the end of the log held a write that was not finished and never acknowledged; it was cut", "segment", r.CutSegment, "bytes", r.CutBytes)
	}
	for _, q := range r.Quarantined {
		n.log.Error("a segment of the log is damaged; what can be read of it was saved, the damaged file was put aside", "segment", q.Segment, "aside", q.Aside)
	}
	for _, m := range r.Missing {
		n.log.Error("records of the log are lost to damage", "records", m.Range.String(), "segment", m.Where)
	}
}

// storeAlarm tells the operator what is wrong with the index.
func (n *node) storeAlarm(what string, err error) {
	n.log.Error("store: "+what, "error", fmt.Sprint(err))
}

// observeCommit counts one group commit of the log.
func (n *node) observeCommit(c local.Commit) {
	within := 0
	for most := time.Millisecond; within < 4 && c.Took > most.Nanoseconds(); most *= 10 {
		within++
	}
	n.commits.Inc(metrics.StoreCommits.At(within))
	n.commits.Add(metrics.StoreRecords, int64(c.Records))
	n.commits.Add(metrics.StoreBytes, int64(c.Bytes))
	if c.Err != nil {
		n.commits.Inc(metrics.StoreCommitsFailed)
	}
}

// backing is what the broker is told of the store.
func (n *node) backing() *broker.Durable {
	d := n.durable
	return &broker.Durable{Log: d.log, Index: d.view, Key: d.view.Key(), Node: n.loaded.Load().Config.Node.Name, Do: d.readers.Do}
}

// restore gives the homes their sessions back, and the retained store its messages,
// and begins to apply what comes. Nobody is let in yet.
func (n *node) restore() error {
	d := n.durable
	began := n.clock.Now()
	var all []*view.Session
	if err := d.view.Sessions(func(s *view.Session) error {
		all = append(all, s)
		return nil
	}); err != nil {
		return fmt.Errorf("store: read the sessions: %w", err)
	}
	lags, err := broker.Lags(all, d.view.Postings)
	if err != nil {
		return fmt.Errorf("store: read what waits for the sessions: %w", err)
	}
	for more := true; more; {
		if more, err = n.retained.Refill(began, refillStep); err != nil {
			return fmt.Errorf("store: read the retained messages: %w", err)
		}
	}
	homes := make(map[int]*broker.Stored)
	for _, s := range all {
		home := n.broker.HomeFor(s)
		if homes[home] == nil {
			homes[home] = &broker.Stored{}
		}
		homes[home].Sessions = append(homes[home].Sessions, s)
	}
	ended := d.ran.Add(broker.MarkEvery) // when exactly nobody wrote down
	if ended.After(began) {
		ended = began
	}
	n.server.Each(func(now time.Time, h *broker.Home) {
		stored := broker.Stored{Applied: d.view.Applied(), Ended: ended, Lags: lags}
		if mine := homes[h.ID()]; mine != nil {
			stored.Sessions = mine.Sessions
		}
		h.Restore(now, &stored)
	})
	d.broker.Store(n.broker)
	d.view.Run(n.broker)
	messages, _ := d.view.RetainedCount()
	if len(all) > 0 || messages > 0 {
		_, _, whole := n.retained.InMemory()
		n.log.Info("sessions and retained messages are back", "sessions", len(all), "retained", messages, "retained_in_memory", whole,
			"took", n.clock.Now().Sub(began).Round(time.Millisecond).String())
	}
	return nil
}

// refillStep is how many retained messages are loaded in one go, and refillSteps how often
// that is done each time somebody looks.
const (
	refillStep  = 10_000
	refillSteps = 20
)

// tidyRetained lets go of what has expired, and loads what is only on disk once all of it
// fits again.
func (n *node) tidyRetained(now time.Time) {
	n.retained.Sweep(now, 10_000)
	for range refillSteps {
		more, err := n.retained.Refill(now, refillStep)
		if err != nil {
			n.log.Error("retained messages could not be read", "error", err.Error())
		}
		if !more || err != nil {
			return
		}
	}
}

// closeStore ends it after the last loop: the index first, because it reads the log.
func (n *node) closeStore() {
	d := n.durable
	if d == nil {
		return
	}
	d.readers.Close()
	if err := d.view.Close(); err != nil {
		n.log.Error("the index of the store did not close", "error", err.Error())
	}
	if err := d.log.Close(); err != nil {
		n.log.Error("the log did not close cleanly", "error", err.Error())
	}
}

// tidyStore gives back what no session wants any more, and above four fifths of
// store.max_bytes the oldest of what is still wanted.
func (n *node) tidyStore(ctx context.Context) {
	d := n.durable
	most := int64(n.loaded.Load().Config.Store.MaxBytes)
	told := n.broker.Told() // the homes hear of it before they are asked
	if told == 0 {
		n.broker.SetFull(d.log.Usage().Bytes >= most)
		return
	}
	below := told + 1
	if b := n.lookBehind(); b.Oldest != 0 {
		below = min(below, b.Oldest)
	}
	if room := d.log.Within(most - most/5); room > below {
		below = min(room, told)
		n.cut(below)
	}
	if _, err := d.view.Trim(ctx, below); err != nil && ctx.Err() == nil {
		n.log.Error("what nobody wants any more could not be removed from the store", "error", err.Error())
	}
	full := d.log.Usage().Bytes >= most
	n.broker.SetFull(full)
	if full {
		n.log.Error("the log is as large as store.max_bytes; publishes that must be stored are refused with 0x97. Raise it, or find who does not come for its messages: redoubt sessions list",
			"bytes", d.log.Usage().Bytes, "store.max_bytes", most)
	}
}

// lookBehind asks the homes what waits in the log, and remembers it for metrics and
// status.
func (n *node) lookBehind() broker.Behind {
	found := make(chan broker.Behind, n.loops)
	n.server.Each(func(_ time.Time, h *broker.Home) { found <- h.Behind() })
	close(found)
	sum := broker.Behind{}
	for one := range found {
		sum = sum.Plus(one)
	}
	sum = sum.Plus(n.broker.LineBehind()) // after the homes: what they give up for a group is there before
	n.durable.behind.Store(&sum)
	return sum
}

// storeStatus is how the log is, for whoever asks.
func (n *node) storeStatus() admin.StoreStatus {
	u, b := n.durable.log.Usage(), n.durable.behind.Load()
	s := admin.StoreStatus{
		Bytes: u.Bytes, MaxBytes: int64(n.loaded.Load().Config.Store.MaxBytes), Segments: u.Segments, First: uint64(u.First), Last: uint64(u.Last),
		Behind: b.Connected + b.Away, Away: b.Away, Groups: b.Groups, Waiting: b.Messages,
		Oldest: uint64(b.Oldest), ClientID: b.Holder.ClientID, Identity: b.Holder.Identity,
	}
	if err := n.durable.log.Err(); err != nil {
		s.Failed = err.Error()
	}
	return s
}

// cut takes the oldest messages away from the sessions that still want them.
func (n *node) cut(below store.Seq) {
	found := make(chan int, n.loops)
	n.server.Each(func(_ time.Time, h *broker.Home) { found <- h.Cut(below) })
	close(found)
	sessions := 0
	for one := range found {
		sessions += one
	}
	if groups := n.broker.CutLines(below); groups > 0 {
		n.log.Warn("the log is above four fifths of store.max_bytes; shared subscriptions lost the oldest of what waited for them", "shares", groups)
	}
	if sessions > 0 {
		n.commits.Add(metrics.StoreCutSessions, int64(sessions))
		n.log.Warn("the log is above four fifths of store.max_bytes; sessions lost the oldest of what waited for them", "sessions", sessions)
	}
}
