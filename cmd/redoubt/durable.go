package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/metrics"
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
	behind  atomic.Pointer[broker.Behind] // as of a few seconds ago; nil: nobody has looked yet
	ran     time.Time                     // until then the process before surely ran
	took    atomic.Int64                  // nanoseconds of writing the log and flushing it

	retention
	space
}

// storeFolders are the log and its index in a data directory.
func storeFolders(dataDir string) (log, index string) {
	return filepath.Join(dataDir, "store", "log"), filepath.Join(dataDir, "store", "view")
}

// readersMax is how many sessions read from the disk at the same time.
const readersMax = 4

// starting is the progress of what a start takes long for: a bar on a terminal, elsewhere
// lines of the log.
func (n *node) starting(what string) *progress {
	p := newProgress(os.Stderr, what)
	p.clk = n.clock
	p.began = n.clock.Now()
	p.said = p.began
	p.say = func(text string) { n.log.Info("starting: "+what, "done", text) }
	return p
}

// sayReport tells the operator what the log found of the last run.
func (n *node) sayReport(r *local.Report) {
	if !r.Clean {
		n.log.Warn("the last run did not end cleanly; what was acknowledged is there", "last", uint64(r.Last), "segments", r.Segments)
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
func (n *node) storeAlarm(d *durable, what string, err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		d.space.found.Store(true)
	}
	n.log.Error("store: "+what, "error", fmt.Sprint(err))
}

// observeCommit counts one group commit of the log.
func (n *node) observeCommit(d *durable, c local.Commit) {
	within, size := 0, 0
	for most := time.Millisecond; within < 4 && c.Took > most.Nanoseconds(); most *= 10 {
		within++
	}
	for most := 1; size < 4 && c.Records > most; most *= 10 {
		size++
	}
	n.commits.Inc(metrics.StoreCommits.At(within))
	n.commits.Inc(metrics.StoreCommitSizes.At(size))
	d.took.Add(c.Took)
	n.commits.Add(metrics.StoreRecords, int64(c.Records))
	n.commits.Add(metrics.StoreBytes, int64(c.Bytes))
	if c.Err != nil {
		n.commits.Inc(metrics.StoreCommitsFailed)
	}
	if c.Free >= 0 && c.Free < shortBelow {
		n.short(d, uint64(c.Free))
	}
	if d.broker.Load() != nil {
		n.crowd(d)
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
	back := homecoming{n: n, applied: d.view.Applied(), ended: d.ran.Add(broker.MarkEvery)} // when exactly nobody wrote down
	if back.ended.After(began) {
		back.ended = began
	}
	for more := true; more; {
		var err error
		if more, err = n.retained.Refill(began, refillStep); err != nil {
			return fmt.Errorf("store: read the retained messages: %w", err)
		}
	}
	if err := back.restore(); err != nil {
		return err
	}
	d.broker.Store(n.broker)
	d.view.Run(n.broker)
	if len(back.gone) > 0 {
		n.server.Each(func(now time.Time, h *broker.Home) { h.Revoke(now, back.gone) })
	}
	n.server.Each(func(_ time.Time, h *broker.Home) { h.Begin() })
	messages, _ := d.view.RetainedCount()
	if sessions := len(back.homes); sessions > 0 || messages > 0 {
		_, _, whole := n.retained.InMemory()
		n.log.Info("sessions and retained messages are back", "sessions", sessions, "retained", messages, "retained_in_memory", whole,
			"took", n.clock.Now().Sub(began).Round(time.Millisecond).String())
	}
	return n.restoreDelayed()
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
