package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
	"github.com/redoubtmq/redoubt/store/readers"
	"github.com/redoubtmq/redoubt/store/view"
)

// openStore opens the log and its index, and says what a crash or a bad disk left. Only who
// serves is going to ask for the sessions.
func (n *node) openStore(c *config.Config, serves bool) error {
	logFolder, index := storeFolders(c.Node.DataDir)
	if err := datadir.Init(filepath.Dir(logFolder)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	d := &durable{retention: retention{crowded: make(chan struct{}, 1)}}
	if err := d.space.open(filepath.Dir(logFolder)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, none := os.Stat(index)
	o := opening{n: n, d: d, folder: logFolder, fresh: none != nil, done: make(chan struct{})}
	if o.fresh { // an index that is made although the log cannot be would say that there was one
		if o.log(c); o.err != nil {
			return fmt.Errorf("store: %w", o.err)
		}
	} else {
		go o.log(c)
	}
	applying := n.starting("bringing the index up to the log")
	applying.sum = func(total int64) string { return fmt.Sprintf("%d records", total) }
	alarm := func(what string, err error) { n.storeAlarm(d, what, err) }
	v, err := view.Open(context.Background(), view.Options{
		Await: func() (store.Log, error) {
			err := o.wait()
			applying.began, applying.said = o.ended, o.ended
			return o.l, err
		},
		Folder: index, Alarm: alarm, Progress: applying.at, Sessions: serves,
	})
	applying.end()
	if err != nil {
		if <-o.done; o.l != nil { // whatever the index did
			err = errors.Join(err, o.l.Close())
		}
		return fmt.Errorf("store: %w", err)
	}
	d.log, d.view = o.l, v
	d.readers = readers.New(readersMax, n.caught)
	d.ran = time.UnixMilli(d.view.Alive())
	n.durable = d
	if took := n.clock.Now().Sub(o.ended); took > time.Second {
		n.log.Info("the index has caught up with the log", "last", uint64(o.report.Last), "took", took.Round(time.Millisecond).String())
	}
	return nil
}

// opening is the log while it is opened. That is mostly waiting for the disk, and what the index
// has to be read for in the meantime is work for a processor.
type opening struct {
	n      *node
	d      *durable
	folder string
	fresh  bool // there is no index

	reading *progress
	done    chan struct{} // closed by log, after all below
	l       *local.Log    // nil: it did not open
	report  *local.Report
	err     error
	ended   time.Time
}

// log opens it. openStore waits for it, however it goes.
func (o *opening) log(c *config.Config) {
	defer close(o.done)
	n, d := o.n, o.d
	o.reading = n.starting("reading the log")
	o.l, o.report, o.err = local.Open(o.folder, local.Options{
		Progress:     o.reading.at,
		SegmentBytes: int64(c.Store.SegmentBytes), ReserveBytes: reserve, Clock: n.clock, Observe: func(c local.Commit) { n.observeCommit(d, c) },
		Room: func() {
			if b := d.broker.Load(); b != nil {
				b.Room()
			}
		},
	})
	o.reading.end()
	o.ended = n.clock.Now()
}

// wait waits for it, and says what it found.
func (o *opening) wait() error {
	<-o.done
	if o.err != nil {
		return o.err
	}
	o.n.sayReport(o.report)
	if o.report.Bare && !o.fresh { // without an index it is a first start that was cut short
		return fmt.Errorf("%s has the id of a log and none of its segments: everything that was stored is gone. Put the segments back from a backup, or move the folders log and view away to begin anew (redoubt store check says more)", o.folder)
	}
	return nil
}
